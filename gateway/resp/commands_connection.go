package resp

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Commands on the connection itself.

func connectionActions() map[string]action {
	return map[string]action{
		"auth":                {local: auth},
		"client|caching":      {local: noTracking},
		"client|getname":      {local: clientGetName},
		"client|help":         {local: help},
		"client|id":           {local: func(d *dialog, _ Command) { d.out.Int(int64(d.session.ID())) }},
		"client|info":         {local: clientInfo},
		"client|kill":         {local: clientKill},
		"client|list":         {local: clientList},
		"client|no-evict":     {local: onOff},
		"client|no-touch":     {local: onOff},
		"client|pause":        {local: noPause},
		"client|reply":        {local: clientReply},
		"client|setinfo":      {local: clientSetInfo},
		"client|setname":      {local: clientSetName},
		"client|tracking":     {local: clientTracking},
		"client|trackinginfo": {local: clientTrackingInfo},
		"client|unpause":      {local: func(d *dialog, _ Command) { d.out.OK() }},
		"echo":                {local: func(d *dialog, c Command) { d.out.Bulk(c.Args[1]) }},
		"hello":               {local: hello},
		"ping":                {local: ping},
		"quit":                {local: func(d *dialog, _ Command) { d.out.OK(); d.session.Close() }, direct: true},
		"readonly":            {local: func(d *dialog, _ Command) { d.out.OK() }},
		"readwrite":           {local: func(d *dialog, _ Command) { d.out.OK() }},
		"reset":               {local: reset, direct: true},
		"select":              {local: selectDB},
		"command":             {local: func(d *dialog, _ Command) { d.commands.table.WriteAll(d.out) }},
		"command|count":       {local: func(d *dialog, _ Command) { d.commands.table.WriteCount(d.out) }},
		"command|docs":        {local: func(d *dialog, c Command) { d.commands.table.WriteDocs(d.out, c.Args[2:]) }},
		"command|getkeys":     {local: func(d *dialog, c Command) { d.commands.table.WriteGetKeys(d.out, Command{Args: c.Args[2:]}) }},
		"command|help":        {local: help},
		"command|info":        {local: func(d *dialog, c Command) { d.commands.table.WriteInfo(d.out, c.Args[2:]) }},
		"command|list":        {local: commandList},
	}
}

func ping(d *dialog, c Command) {
	switch len(c.Args) {
	case 1:
		d.out.Status("PONG")
	case 2:
		d.out.Bulk(c.Args[1])
	default:
		d.error("ERR wrong number of arguments for 'ping' command")
	}
}

const (
	textAuthUnset = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	textWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
)

func auth(d *dialog, c Command) {
	switch len(c.Args) {
	case 2:
		if d.commands.config.Authenticate == nil {
			d.error(textAuthUnset)
			return
		}
		d.authenticate(DefaultUser, string(c.Args[1]), d.out.OK)
	case 3:
		d.authenticate(string(c.Args[1]), string(c.Args[2]), d.out.OK)
	default:
		d.error(textSyntax)
	}
}

// authenticate shows who the session is, and calls welcome if it is. Without
// users everybody is the default user, as in Redis.
func (d *dialog) authenticate(user, password string, welcome func()) {
	check := d.commands.config.Authenticate
	if check == nil && user != DefaultUser || check != nil && !check(user, password) {
		d.error(textWrongPass)
		return
	}
	d.session.Authenticate(user)
	welcome()
}

// hello answers HELLO, whose options take effect only if all of them can.
func hello(d *dialog, c Command) {
	proto := d.out.Proto()
	args := c.Args[1:]
	if len(args) > 0 {
		n, ok := integer(args[0])
		if !ok {
			d.error("ERR Protocol version is not an integer or out of range")
			return
		}
		if n != 2 && n != 3 {
			d.error("NOPROTO unsupported protocol version")
			return
		}
		proto, args = int(n), args[1:]
	}
	var credentials [][]byte
	var name []byte
	for len(args) > 0 {
		switch {
		case isWord(args[0], "AUTH") && len(args) > 2:
			credentials, args = args[1:3], args[3:]
		case isWord(args[0], "SETNAME") && len(args) > 1:
			if !validName(args[1]) {
				d.error(textBadName)
				return
			}
			name, args = args[1], args[2:]
		default:
			d.error("ERR Syntax error in HELLO option '" + quotable(args[0], refusalQuote) + "'")
			return
		}
	}
	greet := func() {
		if name != nil {
			d.session.Describe(func(x *Client) { x.Name = string(name) })
		}
		d.session.SetProto(proto)
		d.greet()
	}
	switch {
	case credentials != nil:
		d.authenticate(string(credentials[0]), string(credentials[1]), greet)
	case !d.session.Authenticated():
		d.error("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	default:
		greet()
	}
}

func (d *dialog) greet() {
	d.out.Map(7)
	d.pair("server", "spacegrid")
	d.pair("version", redisVersion)
	d.out.BulkString("proto")
	d.out.Int(int64(d.out.Proto()))
	d.out.BulkString("id")
	d.out.Int(int64(d.session.ID()))
	d.pair("mode", d.commands.mode())
	d.pair("role", "master")
	d.out.BulkString("modules")
	d.out.Array(0)
}

// pair writes two texts, a key and its value.
func (d *dialog) pair(key, value string) {
	d.out.BulkString(key)
	d.out.BulkString(value)
}

func reset(d *dialog, _ Command) {
	d.session.Queue, d.watched = nil, nil
	d.session.Select(0)
	d.session.SetProto(2)
	d.session.Describe(func(x *Client) { x.Name = "" })
	if d.commands.config.Authenticate != nil {
		d.session.Deauthenticate()
	}
	d.out.Status("RESET")
}

// parseDB reads the number of a database.
func parseDB(b []byte) (int, bool) {
	n, ok := integer(b)
	return int(n), ok && n >= 0 && n < Databases
}

func selectDB(d *dialog, c Command) {
	db, ok := parseDB(c.Args[1])
	if !ok {
		if _, isNumber := integer(c.Args[1]); !isNumber {
			d.error(textNotInteger)
			return
		}
		d.error("ERR DB index is out of range")
		return
	}
	d.session.Select(db)
	d.out.OK()
}

const textBadName = "ERR Client names cannot contain spaces, newlines or special characters."

// validName reports whether a text may stand in a line of CLIENT LIST.
func validName(name []byte) bool {
	for _, c := range name {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func clientSetName(d *dialog, c Command) {
	if !validName(c.Args[2]) {
		d.error(textBadName)
		return
	}
	d.session.Describe(func(x *Client) { x.Name = string(c.Args[2]) })
	d.out.OK()
}

func clientGetName(d *dialog, _ Command) {
	if name := d.session.Client().Name; name != "" {
		d.out.BulkString(name)
		return
	}
	d.out.Null()
}

func clientSetInfo(d *dialog, c Command) {
	attribute := strings.ToLower(quotable(c.Args[2], refusalQuote))
	if attribute != "lib-name" && attribute != "lib-ver" {
		d.error("ERR Unrecognized option '" + quotable(c.Args[2], refusalQuote) + "'")
		return
	}
	if !validName(c.Args[3]) {
		d.error("ERR " + attribute + " cannot contain spaces, newlines or special characters.")
		return
	}
	d.session.Describe(func(x *Client) {
		if attribute == "lib-name" {
			x.LibName = string(c.Args[3])
		} else {
			x.LibVer = string(c.Args[3])
		}
	})
	d.out.OK()
}

// line describes a client in the form of CLIENT LIST. Columns about what the
// door does not count are left out.
func (c *Client) line(now time.Time) string {
	user := c.User
	if user == "" {
		user = DefaultUser
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=0 flags=N db=%d sub=0 psub=0 ssub=0 multi=-1 cmd=NULL user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s",
		c.ID, address(c.Remote), address(c.Local), c.Name, int64(now.Sub(c.Since)/time.Second), c.DB, user, c.Proto, c.LibName, c.LibVer)
}

func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func clientInfo(d *dialog, _ Command) {
	c := d.session.Client()
	d.out.Verbatim("txt", c.line(time.Now())+"\n")
}

func (d *dialog) clients() []Client {
	server := d.commands.server.Load()
	if server == nil {
		return []Client{d.session.Client()}
	}
	return server.Clients()
}

func clientList(d *dialog, c Command) {
	wanted := func(*Client) bool { return true }
	switch args := c.Args[2:]; {
	case len(args) == 0:
	case len(args) == 2 && isWord(args[0], "TYPE"):
		normal := isWord(args[1], "NORMAL")
		if !normal && !isWord(args[1], "MASTER") && !isWord(args[1], "REPLICA") && !isWord(args[1], "PUBSUB") {
			d.error("ERR Unknown client type '" + quotable(args[1], refusalQuote) + "'")
			return
		}
		wanted = func(*Client) bool { return normal }
	case len(args) > 1 && isWord(args[0], "ID"):
		ids := map[uint64]bool{}
		for _, arg := range args[1:] {
			id, ok := integer(arg)
			if !ok || id < 1 {
				d.error("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
		wanted = func(x *Client) bool { return ids[x.ID] }
	default:
		d.error(textSyntax)
		return
	}
	var list strings.Builder
	now := time.Now()
	for _, x := range d.clients() {
		if wanted(&x) {
			list.WriteString(x.line(now))
			list.WriteByte('\n')
		}
	}
	d.out.Verbatim("txt", list.String())
}

// clientKill ends connections. The old form names an address and answers OK, the
// new one has filters, all of which must hold, and answers how many.
func clientKill(d *dialog, c Command) {
	args := c.Args[2:]
	if len(args) == 1 {
		if d.kill(func(x *Client) bool { return address(x.Remote) == string(args[0]) }, false) == 0 {
			d.error("ERR No such client")
			return
		}
		d.out.OK()
		return
	}
	if len(args)%2 != 0 {
		d.error(textSyntax)
		return
	}
	filters := []func(*Client) bool{}
	skipMe := true
	for i := 0; i < len(args); i += 2 {
		value := string(args[i+1])
		switch {
		case isWord(args[i], "ID"):
			id, ok := integer(args[i+1])
			if !ok || id < 1 {
				d.error("ERR client-id should be greater than 0")
				return
			}
			filters = append(filters, func(x *Client) bool { return x.ID == uint64(id) })
		case isWord(args[i], "ADDR"):
			filters = append(filters, func(x *Client) bool { return address(x.Remote) == value })
		case isWord(args[i], "LADDR"):
			filters = append(filters, func(x *Client) bool { return address(x.Local) == value })
		case isWord(args[i], "USER"):
			filters = append(filters, func(x *Client) bool { return x.User == value || x.User == "" && value == DefaultUser })
		case isWord(args[i], "TYPE"):
			normal := isWord(args[i+1], "NORMAL")
			filters = append(filters, func(*Client) bool { return normal })
		case isWord(args[i], "SKIPME") && (isWord(args[i+1], "YES") || isWord(args[i+1], "NO")):
			skipMe = isWord(args[i+1], "YES")
		default:
			d.error(textSyntax)
			return
		}
	}
	d.out.Int(int64(d.kill(func(x *Client) bool {
		for _, holds := range filters {
			if !holds(x) {
				return false
			}
		}
		return true
	}, skipMe)))
}

// kill ends the connections that are chosen; its own once the reply is written.
func (d *dialog) kill(chosen func(*Client) bool, skipMe bool) int {
	server := d.commands.server.Load()
	n := 0
	for _, x := range d.clients() {
		switch {
		case !chosen(&x):
		case x.ID == d.session.ID():
			if !skipMe {
				d.session.Close()
				n++
			}
		case server != nil && server.Kill(x.ID):
			n++
		}
	}
	return n
}

func onOff(d *dialog, c Command) {
	if !isWord(c.Args[2], "ON") && !isWord(c.Args[2], "OFF") {
		d.error(textSyntax)
		return
	}
	d.out.OK()
}

func clientReply(d *dialog, c Command) {
	if isWord(c.Args[2], "ON") {
		d.out.OK()
		return
	}
	d.error("ERR replies cannot be turned off: read and drop them")
}

func noPause(d *dialog, _ Command) {
	d.error("ERR CLIENT PAUSE is not supported: other members would go on serving")
}

func clientTracking(d *dialog, c Command) {
	if isWord(c.Args[2], "OFF") {
		d.out.OK()
		return
	}
	noTracking(d, c)
}

func noTracking(d *dialog, _ Command) {
	d.error("ERR client tracking is not supported: turn client-side caching off")
}

func clientTrackingInfo(d *dialog, _ Command) {
	d.out.Map(3)
	d.out.BulkString("flags")
	d.out.Set(1)
	d.out.BulkString("off")
	d.out.BulkString("redirect")
	d.out.Int(-1)
	d.out.BulkString("prefixes")
	d.out.Array(0)
}

func commandList(d *dialog, c Command) {
	args := c.Args[2:]
	switch {
	case len(args) == 0:
		d.commands.table.WriteList(d.out, nil)
	case len(args) == 3 && isWord(args[0], "FILTERBY") && isWord(args[1], "PATTERN"):
		glob := CompileGlob(args[2])
		d.commands.table.WriteList(d.out, func(s *Spec) bool { return glob.Match([]byte(s.Name)) })
	case len(args) == 3 && isWord(args[0], "FILTERBY") && isWord(args[1], "ACLCAT"):
		category := "@" + strings.ToLower(string(args[2]))
		d.commands.table.WriteList(d.out, func(s *Spec) bool { return s.in(category) })
	case len(args) == 3 && isWord(args[0], "FILTERBY") && isWord(args[1], "MODULE"):
		d.out.Array(0)
	default:
		d.error(textSyntax)
	}
}

// help lists the subcommands of a container, from the table.
func help(d *dialog, c Command) {
	top, _ := d.commands.table.lookup(Command{Args: c.Args[:1]})
	d.out.Array(1 + 2*len(top.Subcommands))
	d.out.Status(strings.ToUpper(top.Name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for i := range top.Subcommands {
		sub := &top.Subcommands[i]
		_, name, _ := strings.Cut(sub.Name, "|")
		d.out.Status(strings.ToUpper(name) + arityHint(sub.Arity))
		d.out.Status("    " + sub.Summary)
	}
}

// arityHint says that a subcommand takes arguments.
func arityHint(arity int) string {
	switch {
	case arity < 0:
		return " [<arg> ...]"
	case arity == 3:
		return " <arg>"
	case arity > 3:
		return " <" + strconv.Itoa(arity-2) + " args>"
	}
	return ""
}
