package resp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// SPACE.*: spaces of any shape, for clients in every language.
//
//	SPACE.WRITE space [KEY key] [LEASE ms] [NX|XX] [VERSION v] [IF condition] FIELDS f v [f v …] | JSON object | VALUE bytes
//	SPACE.READ  space KEY key | filter [LIMIT n] [WAIT ms] [ALLOWSCAN]
//	SPACE.TAKE  space KEY key [VERSION v] [IF condition] | filter [LIMIT n] [ALLOWSCAN], each [WAIT ms]
//	SPACE.QUERY space filter [LIMIT n] [ALLOWSCAN]
//	SPACE.COUNT space [filter] [ALLOWSCAN]
//	SPACE.CHANGE space KEY key [CREATE] [VERSION v] [IF condition] | filter [LIMIT n] [ALLOWSCAN], each with mutations
//	SPACE.CLAIM space KEY key | filter [LIMIT n] [ALLOWSCAN], each [LEASE ms] [WAIT ms]
//	SPACE.ACK space key token
//	SPACE.NACK space key token [DELAY ms] [UNCOUNTED]
//	SPACE.EXTEND space key token [LEASE ms]
//	SPACE.AGGREGATE space [filter] [BY path] … [COLUMN text] … [HAVING condition] [ORDER name] … [LIMIT n] [LOCAL]
//	SPACE.EXPLAIN space [filter] [LIMIT n] [ALLOWSCAN]
//	SPACE.CREATE, SPACE.ALTER, SPACE.DROP, SPACE.LIST, SPACE.DESCRIBE: see parseDefinition
//
// A filter is MATCH object, WHERE condition, or both. The object of MATCH names
// fields that an entry must have with equal values; conditions are texts such as
// "price < 20 and section = 'A'". ARGS array behind either WHERE or IF fills in
// what stands for ? in it.
//
// An entry is a map of key, version, lease (milliseconds left, -1 if it does not
// end) and either json, the fields as JSON text, or value, the bytes; one that is
// claimed has its token, attempts and claim (milliseconds) too. By KEY the reply is
// one entry or null, otherwise an array of entries. In RESP2 maps are flat arrays.
// SPACE.WRITE replies with the version made, or null if NX or XX did not hold or no
// entry is there to meet IF; another version than asked for is a CONFLICT error, a
// condition that does not hold UNMET, a number beyond its bounds OUTOFRANGE.
//
// FIELDS are text; JSON has types. An entry of a space with a key field has its
// key from there if KEY is not given. WAIT holds up this connection only and ends
// with it.

func spaceActions() map[string]action {
	return map[string]action{
		"space.ack":       {alone: spaceAck},
		"space.aggregate": {alone: spaceAggregate},
		"space.alter":     {alone: spaceAlter},
		"space.change":    {alone: spaceChange},
		"space.claim":     {alone: spaceClaim},
		"space.count":     {alone: spaceCount},
		"space.create":    {alone: spaceCreate},
		"space.explain":   {alone: spaceExplain},
		"space.extend":    {alone: spaceExtend},
		"space.nack":      {alone: spaceNack},
		"space.describe":  {alone: spaceDescribe},
		"space.drop":      {alone: spaceDrop},
		"space.list":      {alone: spaceList},
		"space.query":     {alone: spaceQuery},
		"space.read":      {alone: spaceRead},
		"space.take":      {alone: spaceTake},
		"space.write":     {alone: spaceWrite},
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
	where     string
	condition string // IF
	args      []any  // of where or condition
	filter    grid.Filter
	matching  bool // there is a filter
	wait      time.Duration
	create    bool
	local     bool
	uncounted bool
	delay     time.Duration
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
		case "CREATE":
			a.create = true
			continue
		case "LOCAL":
			a.local = true
			continue
		case "UNCOUNTED":
			a.uncounted = true
			continue
		case "FIELDS":
			if refusal := a.fields(args); refusal != "" {
				return refusal
			}
			return a.conditions()
		}
		if len(args) == 0 {
			return textSyntax
		}
		if refusal := a.option(word, args[0]); refusal != "" {
			return refusal
		}
		args = args[1:]
	}
	return a.conditions()
}

// conditions reads the texts of WHERE and IF, once their arguments are known.
func (a *spaceArgs) conditions() (refusal string) {
	f := form.Filter{Template: a.match, Where: a.where}
	switch {
	case len(a.args) > 0 && (a.where == "") == (a.condition == ""):
		return "ERR ARGS belong to one condition, of WHERE or of IF"
	case a.where != "":
		f.Args = a.args
	}
	if a.condition != "" {
		var args []any
		if a.where == "" {
			args = a.args
		}
		if _, err := form.ParseCondition(a.condition, args); err != nil {
			return errorText(err)
		}
	}
	filter, err := f.Parse()
	if err != nil {
		return errorText(err)
	}
	a.filter = filter
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
		t, err := form.ParseTemplate(arg)
		if err != nil {
			return errorText(err)
		}
		a.match, a.matching = t, true
	case "WHERE":
		a.where, a.matching = string(arg), true
	case "IF":
		a.condition = string(arg)
	case "ARGS":
		args, err := form.ParseArgs(arg)
		if err != nil {
			return errorText(err)
		}
		a.args = args
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
	if n < 1 && word != "DELAY" || n < 0 {
		return "ERR " + word + " is at least 1"
	}
	switch word {
	case "LIMIT":
		a.limit = int(min(n, spaceMost))
	case "VERSION":
		a.version = space.Seq(n)
	case "LEASE":
		a.lease = milliseconds(n)
	case "WAIT":
		a.wait = milliseconds(n)
	case "DELAY":
		a.delay = milliseconds(n)
	}
	return ""
}

// milliseconds returns a duration; what is too long is the longest.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(n, int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
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
	def, a, ok := d.open(c, "KEY", "LEASE", "NX", "XX", "VERSION", "IF", "ARGS", "FIELDS", "JSON", "VALUE")
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
	op := space.Op{
		Code: space.OpWrite, Space: def.ID, Key: a.key, Value: a.value, Kind: a.kind,
		Mode: a.mode, Match: a.version, Lease: a.lease,
	}
	if err := form.Require(&op, &def, a.condition, a.args); err != nil {
		d.fail(err)
		return
	}
	r, err := d.carryOut(op)
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
	def, a, ok := d.open(c, "KEY", "MATCH", "WHERE", "ARGS", "LIMIT", "WAIT", "ALLOWSCAN")
	switch {
	case !ok:
	case (a.key != nil) == a.matching:
		d.error(textSyntax)
	case a.key != nil && a.wait > 0:
		d.error("ERR WAIT is for reads by MATCH or WHERE")
	case a.key != nil:
		d.byKey(space.Op{Code: space.OpRead, Space: def.ID, Key: a.key})
	case a.wait > 0:
		d.waiting(a.wait, true, func(ctx context.Context) ([]grid.Entry, error) {
			return d.commands.grid.ReadMatch(ctx, def.Name, a.filter, grid.ReadOptions{Limit: a.limit, Wait: a.wait, AllowScan: a.allowScan})
		})
	default:
		d.query(def.Name, a, max(a.limit, 1))
	}
}

func spaceTake(d *dialog, c Command) {
	def, a, ok := d.open(c, "KEY", "MATCH", "WHERE", "IF", "ARGS", "LIMIT", "VERSION", "WAIT", "ALLOWSCAN")
	switch {
	case !ok:
	case (a.key != nil) == a.matching, a.key == nil && (a.condition != "" || a.version != 0):
		d.error(textSyntax)
	case a.key != nil && a.wait > 0 && (a.condition != "" || a.version != 0):
		d.error("ERR a take that waits has no condition")
	case a.key != nil && a.wait > 0:
		d.waiting(a.wait, false, func(ctx context.Context) ([]grid.Entry, error) {
			e, err := d.commands.grid.Take(ctx, def.Name, a.key, grid.TakeOptions{Wait: a.wait})
			return []grid.Entry{e}, err
		})
	case a.key != nil:
		op := space.Op{Code: space.OpTake, Space: def.ID, Key: a.key, Match: a.version, Flags: space.FlagReturn}
		if err := form.Require(&op, &def, a.condition, a.args); err != nil {
			d.fail(err)
			return
		}
		d.byKey(op)
	default:
		d.waiting(a.wait, true, func(ctx context.Context) ([]grid.Entry, error) {
			return d.commands.grid.TakeMatch(ctx, def.Name, a.filter, grid.TakeOptions{Limit: a.limit, Wait: a.wait, AllowScan: a.allowScan})
		})
	}
}

// patience returns the context of a request that waits so long, if at all.
func (d *dialog) patience(wait time.Duration) (context.Context, func()) {
	if wait == 0 {
		return d.ctx, func() {}
	}
	return d.session.Waiting(d.ctx)
}

// waiting replies with what a request brings that may wait, which ends with the
// connection: an array, or one entry or null.
func (d *dialog) waiting(wait time.Duration, array bool, request func(context.Context) ([]grid.Entry, error)) {
	ctx, done := d.patience(wait)
	found, err := request(ctx)
	gone := ctx.Err() != nil
	done()
	switch {
	case err == nil:
		d.entries(found, array)
	case isNotFound(err) && array:
		d.out.Array(0)
	case isNotFound(err):
		d.out.Null()
	case gone && !errors.Is(err, grid.ErrIndeterminate):
		d.error(textUnblocked)
	default:
		d.fail(err)
	}
}

func spaceQuery(d *dialog, c Command) {
	def, a, ok := d.open(c, "MATCH", "WHERE", "ARGS", "LIMIT", "ALLOWSCAN")
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
	for e, err := range d.commands.grid.Query(d.ctx, name, a.filter, grid.QueryOptions{Limit: limit, AllowScan: a.allowScan}) {
		if err != nil {
			d.fail(err)
			return
		}
		found = append(found, e)
	}
	d.entries(found, true)
}

func spaceCount(d *dialog, c Command) {
	def, a, ok := d.open(c, "MATCH", "WHERE", "ARGS", "ALLOWSCAN")
	if !ok {
		return
	}
	// ALLOWSCAN is understood and not needed: no write waits for a count.
	n, err := d.commands.grid.Count(d.ctx, def.Name, a.filter)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Int(n)
}
