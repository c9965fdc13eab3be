package resp

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Commands about the member, its settings and its users.

func serverActions() map[string]action {
	none := action{local: func(d *dialog, _ Command) { d.out.Array(0) }}
	zero := action{local: func(d *dialog, _ Command) { d.out.Int(0) }}
	ok := action{local: func(d *dialog, _ Command) { d.out.OK() }}
	return map[string]action{
		"acl|cat":           {local: aclCat},
		"acl|getuser":       {local: aclGetUser},
		"acl|help":          {local: help},
		"acl|list":          {local: aclList},
		"acl|users":         {local: aclUsers},
		"acl|whoami":        {local: func(d *dialog, _ Command) { d.out.BulkString(d.user()) }},
		"config|get":        {local: configGet},
		"config|help":       {local: help},
		"config|resetstat":  {local: func(d *dialog, _ Command) { d.commands.errors.reset(); d.out.OK() }},
		"config|set":        {local: configSet},
		"info":              {local: info},
		"latency|help":      {local: help},
		"latency|histogram": {local: func(d *dialog, _ Command) { d.out.Map(0) }},
		"latency|history":   none,
		"latency|latest":    none,
		"latency|reset":     zero,
		"lolwut":            {local: func(d *dialog, _ Command) { d.out.Verbatim("txt", "Spacegrid "+d.commands.config.Version+"\n") }},
		"memory|help":       {local: help},
		"module|help":       {local: help},
		"module|list":       none,
		"object|help":       {local: help},
		"role":              {local: role},
		"slowlog|get":       none,
		"slowlog|help":      {local: help},
		"slowlog|len":       zero,
		"slowlog|reset":     ok,
		"time":              {local: tellTime},
		"wait":              {local: wait},
	}
}

func tellTime(d *dialog, _ Command) {
	now := d.commands.grid.Wall()
	d.out.Array(2)
	d.out.BulkString(strconv.FormatInt(now.Unix(), 10))
	d.out.BulkString(strconv.Itoa(now.Nanosecond() / 1000))
}

// role always is master: every member takes writes for every key.
func role(d *dialog, _ Command) {
	d.out.Array(3)
	d.out.BulkString("master")
	d.out.Int(0)
	d.out.Array(0)
}

// wait answers how many members beside the leader certainly hold what was
// written: a majority of the replicas, from the moment of the reply on. Nothing
// is known of the others, so it does not wait for them.
func wait(d *dialog, c Command) {
	_, ok1 := integer(c.Args[1])
	timeout, ok2 := integer(c.Args[2])
	switch {
	case !ok1:
		d.error(textNotInteger)
		return
	case !ok2:
		d.error("ERR timeout is not an integer or out of range")
		return
	case timeout < 0:
		d.error("ERR timeout is negative")
		return
	}
	least := -1
	groups := d.commands.grid.Router().State().Groups
	for i := range groups {
		if n := len(groups[i].Replicas) / 2; least < 0 || n < least {
			least = n
		}
	}
	d.out.Int(int64(max(least, 0)))
}

// user returns who the session is.
func (d *dialog) user() string {
	if user := d.session.User(); user != "" {
		return user
	}
	return DefaultUser
}

// in reports whether a command is in an ACL category, given with its @.
func (s *Spec) in(category string) bool { return slices.Contains(s.categories(), category) }

func aclCat(d *dialog, c Command) {
	if len(c.Args) > 3 {
		d.error(textSyntax)
		return
	}
	var names []string
	table := d.commands.table
	for i := range table.specs {
		spec := &table.specs[i]
		if len(c.Args) == 3 {
			if spec.in("@" + strings.ToLower(string(c.Args[2]))) {
				names = append(names, spec.Name)
			}
			continue
		}
		for _, category := range spec.categories() {
			names = append(names, category[1:])
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(c.Args) == 3 && len(names) == 0 {
		d.error("ERR Unknown category '" + quotable(c.Args[2], refusalQuote) + "'")
		return
	}
	d.out.Array(len(names))
	for _, name := range names {
		d.out.BulkString(name)
	}
}

// Everybody may do everything: what a user may do is not told apart yet by
// commands and keys.
const userRules = "on ~* &* +@all"

func aclGetUser(d *dialog, c Command) {
	if string(c.Args[2]) != d.user() {
		d.out.Null()
		return
	}
	d.out.Map(6)
	d.out.BulkString("flags")
	flags := []string{"on"}
	if d.commands.config.Authenticate == nil {
		flags = append(flags, "nopass")
	}
	d.out.Set(len(flags))
	for _, flag := range flags {
		d.out.BulkString(flag)
	}
	d.out.BulkString("passwords")
	d.out.Array(0)
	d.pair("commands", "+@all")
	d.pair("keys", "~*")
	d.pair("channels", "&*")
	d.out.BulkString("selectors")
	d.out.Array(0)
}

func aclUsers(d *dialog, _ Command) {
	d.out.Array(1)
	d.out.BulkString(d.user())
}

func aclList(d *dialog, _ Command) {
	d.out.Array(1)
	d.out.BulkString("user " + d.user() + " " + userRules)
}

// settings are what CONFIG GET answers. Some are facts; the others may be set,
// which changes what is answered and nothing else.
type settings struct {
	mu  sync.Mutex
	set map[string]string
}

// facts are the settings that tools ask for and that follow from what the grid
// is. They cannot be set to another value.
func (h *Commands) facts() map[string]string {
	clusterEnabled := "no"
	if h.config.ClusterMode {
		clusterEnabled = "yes"
	}
	return map[string]string{
		"appendonly": "no", "save": "", "databases": strconv.Itoa(Databases),
		"maxmemory": "0", "maxmemory-policy": "noeviction", "maxclients": strconv.Itoa(h.maxClients()),
		"cluster-enabled": clusterEnabled, "port": strconv.Itoa(h.config.Port),
		"proto-max-bulk-len": strconv.Itoa(1 << 20), "dir": "", "dbfilename": "",
		"slaveof": "", "replicaof": "", "requirepass": "", "io-threads": "1",
	}
}

// harmless are the settings that test harnesses and tools set, with their first
// values. They change nothing here.
func harmless() map[string]string {
	return map[string]string{
		"appendfsync": "everysec", "notify-keyspace-events": "", "slowlog-log-slower-than": "-1", "slowlog-max-len": "0",
		"latency-monitor-threshold": "0", "timeout": "0", "tcp-keepalive": "300", "lazyfree-lazy-user-del": "no",
		"lazyfree-lazy-user-flush": "no", "lazyfree-lazy-expire": "no", "lazyfree-lazy-eviction": "no", "lazyfree-lazy-server-del": "no",
		"hash-max-listpack-entries": "128", "hash-max-listpack-value": "64", "hash-max-ziplist-entries": "128", "hash-max-ziplist-value": "64",
		"list-max-listpack-size": "-2", "set-max-intset-entries": "512", "zset-max-listpack-entries": "128", "zset-max-listpack-value": "64",
		"maxmemory-samples": "5", "activedefrag": "no", "hz": "10", "loglevel": "notice", "client-output-buffer-limit": "",
		"repl-diskless-sync": "no", "stream-node-max-entries": "100", "min-replicas-to-write": "0", "rdbcompression": "yes",
	}
}

func (h *Commands) maxClients() int {
	if server := h.server.Load(); server != nil {
		return server.config.MaxConns
	}
	return 0
}

// allSettings returns every setting by name.
func (h *Commands) allSettings() map[string]string {
	all := harmless()
	h.setting.mu.Lock()
	defer h.setting.mu.Unlock()
	maps.Copy(all, h.setting.set)
	maps.Copy(all, h.facts())
	return all
}

func configGet(d *dialog, c Command) {
	all := d.commands.allSettings()
	var names []string
	for _, pattern := range c.Args[2:] {
		glob := CompileGlob([]byte(strings.ToLower(string(pattern))))
		for name := range all {
			if glob.Match([]byte(name)) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	d.out.Map(len(names))
	for _, name := range names {
		d.pair(name, all[name])
	}
}

func configSet(d *dialog, c Command) {
	args := c.Args[2:]
	if len(args)%2 != 0 {
		d.error("ERR wrong number of arguments for 'config|set' command")
		return
	}
	facts, known := d.commands.facts(), harmless()
	for i := 0; i < len(args); i += 2 {
		name := strings.ToLower(string(args[i]))
		if value, fixed := facts[name]; fixed && value != string(args[i+1]) {
			d.error("ERR CONFIG SET failed (possibly related to argument '" + quotable(args[i], refusalQuote) + "') - can't set immutable config")
			return
		} else if _, ok := known[name]; !ok && !fixed {
			d.error("ERR Unknown option or number of arguments for CONFIG SET - '" + quotable(args[i], refusalQuote) + "'")
			return
		}
	}
	s := &d.commands.setting
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[string]string{}
	}
	for i := 0; i < len(args); i += 2 {
		s.set[strings.ToLower(string(args[i]))] = string(args[i+1])
	}
	d.out.OK()
}
