package resp

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// SPACE.*: spaces of any shape, for clients in every language.
//
//	SPACE.WRITE space [KEY key] [LEASE ms] [NX|XX] [VERSION v] FIELDS f v [f v …] | JSON object | VALUE bytes
//	SPACE.READ  space KEY key | MATCH object [LIMIT n]
//	SPACE.TAKE  space KEY key | MATCH object [LIMIT n]
//	SPACE.QUERY space MATCH object [LIMIT n] [ALLOWSCAN]
//	SPACE.COUNT space [MATCH object] [ALLOWSCAN]
//	SPACE.CREATE space [SHAPE any|fields|bytes] [KEY field] [LEASE ms] [INDEX name field [field …]] …
//	SPACE.DROP space YES
//	SPACE.LIST
//	SPACE.DESCRIBE space
//
// An entry is a map of key, version, lease (milliseconds left, -1 if it does not
// end) and either json, the fields as JSON text, or value, the bytes. By KEY the
// reply is one entry or null, by MATCH an array of entries. In RESP2 maps are
// flat arrays. SPACE.WRITE replies with the version made, or null if NX or XX did
// not hold; another version than asked for is a CONFLICT error.
//
// The objects of MATCH are those whose fields an entry must have with equal
// values. FIELDS are text; JSON has types. An entry of a space with a key field
// has its key from there if KEY is not given.

func spaceActions() map[string]action {
	return map[string]action{
		"space.count":    {alone: spaceCount},
		"space.create":   {alone: spaceCreate},
		"space.describe": {alone: spaceDescribe},
		"space.drop":     {alone: spaceDrop},
		"space.list":     {alone: spaceList},
		"space.query":    {alone: spaceQuery},
		"space.read":     {alone: spaceRead},
		"space.take":     {alone: spaceTake},
		"space.write":    {alone: spaceWrite},
	}
}

// spaceLimit is LIMIT of a query that gives none, and spaceMost the most of it.
const (
	spaceLimit = 100
	spaceMost  = 10_000
)

// spaceArgs are the arguments of a SPACE command behind the name of the space.
type spaceArgs struct {
	key       []byte
	match     grid.Template
	matching  bool
	limit     int
	allowScan bool
	lease     time.Duration
	mode      space.Mode
	version   space.Seq
	value     []byte // canonical map for fields
	kind      space.Kind
	valued    bool
}

// parse reads the words that a command allows.
func (a *spaceArgs) parse(args [][]byte, allowed ...string) (refusal string) {
	for len(args) > 0 {
		word := strings.ToUpper(quotable(args[0], refusalQuote))
		if !slices.Contains(allowed, word) {
			return textSyntax
		}
		args = args[1:]
		switch word {
		case "NX":
			a.mode = space.ModeInsert
			continue
		case "XX":
			a.mode = space.ModeUpdate
			continue
		case "ALLOWSCAN":
			a.allowScan = true
			continue
		case "FIELDS":
			return a.fields(args)
		}
		if len(args) == 0 {
			return textSyntax
		}
		if refusal := a.option(word, args[0]); refusal != "" {
			return refusal
		}
		args = args[1:]
	}
	return ""
}

func (a *spaceArgs) option(word string, arg []byte) (refusal string) {
	switch word {
	case "KEY":
		if err := checkKey(arg); err != nil {
			return errorText(err)
		}
		a.key = arg
	case "VALUE":
		a.value, a.kind, a.valued = arg, space.KindBytes, true
	case "JSON":
		value, err := msgp.FromJSON(nil, arg)
		if err == nil && msgp.KindOf(value) != msgp.Map {
			return "ERR the JSON of an entry is an object"
		}
		if err != nil {
			return "ERR " + err.Error()
		}
		a.value, a.kind, a.valued = value, space.KindFields, true
	case "MATCH":
		value, err := msgp.FromJSON(nil, arg)
		if err != nil {
			return "ERR " + err.Error()
		}
		decoded, err := msgp.Decode(value)
		fields, ok := decoded.(map[string]any)
		if err != nil || !ok {
			return "ERR a template is a JSON object"
		}
		a.match, a.matching = fields, true
	default:
		return a.number(word, arg)
	}
	return ""
}

func (a *spaceArgs) number(word string, arg []byte) (refusal string) {
	n, ok := integer(arg)
	if !ok {
		return textNotInteger
	}
	if n < 1 {
		return "ERR " + word + " is at least 1"
	}
	switch word {
	case "LIMIT":
		a.limit = int(min(n, spaceMost))
	case "VERSION":
		a.version = space.Seq(n)
	case "LEASE":
		a.lease = time.Duration(min(n, int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
	}
	return ""
}

// fields reads the rest of the arguments as pairs of text.
func (a *spaceArgs) fields(args [][]byte) (refusal string) {
	if len(args) == 0 || len(args)%2 != 0 {
		return textSyntax
	}
	for i := 0; i < len(args); i += 2 {
		if refusal := checkField(args[i]); refusal != "" {
			return refusal
		}
		value, err := msgp.SetField(nil, a.value, string(args[i]), fieldValue(args[i+1]))
		if err != nil {
			return "ERR " + err.Error()
		}
		a.value = value
	}
	a.kind, a.valued = space.KindFields, true
	return ""
}

// open reads the arguments of a command on a space that exists.
func (d *dialog) open(c Command, allowed ...string) (def space.Definition, a spaceArgs, ok bool) {
	refusal := a.parse(c.Args[2:], allowed...)
	if refusal != "" {
		d.error(refusal)
		return def, a, false
	}
	def, err := d.commands.grid.Describe(d.ctx, string(c.Args[1]))
	if err != nil {
		d.fail(err)
		return def, a, false
	}
	return def, a, true
}

func spaceWrite(d *dialog, c Command) {
	def, a, ok := d.open(c, "KEY", "LEASE", "NX", "XX", "VERSION", "FIELDS", "JSON", "VALUE")
	if !ok {
		return
	}
	if !a.valued {
		d.error(textSyntax)
		return
	}
	if a.key == nil && def.Key != "" && a.kind == space.KindFields {
		if field, ok := msgp.Field(a.value, def.Key); ok {
			key, err := grid.KeyOf(field)
			if err == nil {
				err = checkKey(key)
			}
			if err != nil {
				d.fail(err)
				return
			}
			a.key = key
		}
	}
	if a.key == nil {
		d.error("ERR no KEY is given, and the value has no key field")
		return
	}
	r, err := d.carryOut(space.Op{
		Code: space.OpWrite, Space: def.ID, Key: a.key, Value: a.value, Kind: a.kind,
		Mode: a.mode, Match: a.version, Lease: a.lease,
	})
	switch {
	case err == nil:
		d.out.Int(int64(r.Version))
	case r.Code == space.CodeExists, r.Code == space.CodeNotFound:
		d.out.Null()
	default:
		d.fail(err)
	}
}

// carryOut carries out one operation of any space by itself.
func (d *dialog) carryOut(op space.Op) (space.Result, error) {
	b := d.commands.grid.NewBatch()
	at := b.Do(op)
	if op.Code == space.OpRead {
		b.Reset()
		at = b.Get(op.Space, op.Key)
	}
	if err := d.commands.grid.Run(d.ctx, b); err != nil {
		return space.Result{}, err
	}
	return b.Result(at)
}

// byKey replies with the entry that an operation returned, or null.
func (d *dialog) byKey(op space.Op) {
	r, err := d.carryOut(op)
	switch {
	case err == nil:
		e := r.Entries[0]
		d.entries([]grid.Entry{{Key: e.Key, Value: e.Value, Kind: e.Kind, Version: e.Version, Deadline: e.Deadline}}, false)
	case r.Code == space.CodeNotFound:
		d.out.Null()
	default:
		d.fail(err)
	}
}

func spaceRead(d *dialog, c Command) {
	def, a, ok := d.open(c, "KEY", "MATCH", "LIMIT", "ALLOWSCAN")
	switch {
	case !ok:
	case (a.key != nil) == a.matching:
		d.error(textSyntax)
	case a.key != nil:
		d.byKey(space.Op{Code: space.OpRead, Space: def.ID, Key: a.key})
	default:
		d.query(def.Name, a, max(a.limit, 1))
	}
}

func spaceTake(d *dialog, c Command) {
	def, a, ok := d.open(c, "KEY", "MATCH", "LIMIT", "VERSION", "ALLOWSCAN")
	switch {
	case !ok:
	case (a.key != nil) == a.matching:
		d.error(textSyntax)
	case a.key != nil:
		d.byKey(space.Op{Code: space.OpTake, Space: def.ID, Key: a.key, Match: a.version, Flags: space.FlagReturn})
	default:
		taken, err := d.commands.grid.TakeMatch(d.ctx, def.Name, a.match, grid.TakeOptions{Limit: a.limit, AllowScan: a.allowScan})
		if err != nil && !isNotFound(err) {
			d.fail(err)
			return
		}
		d.entries(taken, true)
	}
}

func spaceQuery(d *dialog, c Command) {
	def, a, ok := d.open(c, "MATCH", "LIMIT", "ALLOWSCAN")
	if !ok {
		return
	}
	if a.limit == 0 {
		a.limit = spaceLimit
	}
	d.query(def.Name, a, a.limit)
}

func (d *dialog) query(name string, a spaceArgs, limit int) {
	var found []grid.Entry
	for e, err := range d.commands.grid.Query(d.ctx, name, a.match, grid.QueryOptions{Limit: limit, AllowScan: a.allowScan}) {
		if err != nil {
			d.fail(err)
			return
		}
		found = append(found, e)
	}
	d.entries(found, true)
}

func spaceCount(d *dialog, c Command) {
	def, a, ok := d.open(c, "MATCH", "ALLOWSCAN")
	if !ok {
		return
	}
	// ALLOWSCAN is understood and not needed: no write waits for a count.
	n, err := d.commands.grid.Count(d.ctx, def.Name, a.match)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Int(n)
}

// shown is an entry ready to be written.
type shown struct {
	entry grid.Entry
	lease int64  // milliseconds, -1
	json  []byte // nil for bytes
}

// entries writes one entry, or an array of them.
func (d *dialog) entries(found []grid.Entry, array bool) {
	all := make([]shown, len(found))
	for i, e := range found {
		all[i] = shown{entry: e, lease: -1}
		if e.Deadline != space.Never {
			left, err := d.left(&space.Entry{Key: e.Key, Deadline: e.Deadline})
			if err != nil {
				d.fail(err)
				return
			}
			all[i].lease = int64(left / time.Millisecond)
		}
		if e.Kind == grid.Fields {
			text, err := msgp.AppendJSON([]byte{}, e.Value)
			if err != nil {
				d.fail(err)
				return
			}
			all[i].json = text
		}
	}
	if array {
		d.out.Array(len(all))
	}
	for _, x := range all {
		d.out.Map(4)
		d.out.BulkString("key")
		d.out.Bulk(x.entry.Key)
		d.out.BulkString("version")
		d.out.Int(int64(x.entry.Version))
		d.out.BulkString("lease")
		d.out.Int(x.lease)
		if x.json != nil {
			d.out.BulkString("json")
			d.out.Bulk(x.json)
		} else {
			d.out.BulkString("value")
			d.out.Bulk(x.entry.Value)
		}
	}
}

func spaceList(d *dialog, _ Command) {
	defs, err := d.commands.grid.Spaces(d.ctx)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Array(len(defs))
	for _, def := range defs {
		d.out.BulkString(def.Name)
	}
}

func spaceDescribe(d *dialog, c Command) {
	def, err := d.commands.grid.Describe(d.ctx, string(c.Args[1]))
	if err != nil {
		d.fail(err)
		return
	}
	d.describe(&def)
}

func (d *dialog) describe(def *space.Definition) {
	d.out.Map(6)
	d.pair("name", def.Name)
	d.pair("shape", def.Shape.String())
	d.pair("key", def.Key)
	d.out.BulkString("lease")
	d.out.Int(int64(def.Lease / time.Millisecond))
	d.out.BulkString("scanlimit")
	d.out.Int(int64(def.ScanLimit))
	d.out.BulkString("indexes")
	d.out.Map(len(def.Indexes))
	for _, x := range def.Indexes {
		d.out.BulkString(x.Name)
		d.out.Array(len(x.Fields))
		for _, field := range x.Fields {
			d.out.BulkString(field)
		}
	}
}

func spaceDrop(d *dialog, c Command) {
	if len(c.Args) != 3 || !isWord(c.Args[2], "YES") {
		d.error("ERR say YES to drop the space with all its entries")
		return
	}
	if err := d.commands.grid.DropSpace(d.ctx, string(c.Args[1])); err != nil {
		d.fail(err)
		return
	}
	d.out.OK()
}

func spaceCreate(d *dialog, c Command) {
	def, refusal := parseDefinition(c.Args[1:])
	if refusal != "" {
		d.error(refusal)
		return
	}
	made, err := d.commands.grid.CreateSpace(d.ctx, def)
	if err != nil {
		d.fail(err)
		return
	}
	d.describe(&made)
}

// definitionWords begin the options of SPACE.CREATE, so no field of an index can
// have such a name here.
var definitionWords = []string{"SHAPE", "KEY", "LEASE", "SCANLIMIT", "INDEX"}

func isDefinitionWord(arg []byte) bool {
	return slices.ContainsFunc(definitionWords, func(w string) bool { return isWord(arg, w) })
}

func parseDefinition(args [][]byte) (def space.Definition, refusal string) {
	def.Name = string(args[0])
	args = args[1:]
	for len(args) > 0 {
		if !isDefinitionWord(args[0]) || len(args) < 2 {
			return def, textSyntax
		}
		word, arg := strings.ToUpper(string(args[0])), args[1]
		args = args[2:]
		switch word {
		case "SHAPE":
			shape, err := space.ParseShape(strings.ToLower(string(arg)))
			if err != nil {
				return def, errorText(err)
			}
			def.Shape = shape
		case "KEY":
			def.Key = string(arg)
		case "LEASE", "SCANLIMIT":
			n, err := strconv.Atoi(string(arg))
			if err != nil {
				return def, textNotInteger
			}
			if word == "LEASE" {
				def.Lease = time.Duration(min(int64(n), int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
			} else {
				def.ScanLimit = n
			}
		case "INDEX":
			index := space.Index{Name: string(arg)}
			for len(args) > 0 && !isDefinitionWord(args[0]) {
				index.Fields = append(index.Fields, string(args[0]))
				args = args[1:]
			}
			def.Indexes = append(def.Indexes, index)
		}
	}
	return def, ""
}
