package resp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// notOffered is what SPACE.* has no way to say over either protocol: a request is
// not sent twice as one, and a nack does not change the entry.
var notOffered = []string{
	"entries/a request that is repeated takes effect once",
	"claims/a nack shows the entry again, in its place, with its attempts",
	"claims/a nack that is refused keeps the claim",
}

// Over RESP spaces are what they are in the library, in either version of the
// protocol. In RESP2 groups lose their types: true comes as 1.
func TestConforms(t *testing.T) {
	for proto, lacks := range map[int][]string{2: {"aggregates/sums and groups"}, 3: nil} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			t.Parallel()
			_, address := startCommands(t, CommandsConfig{})
			c := redis.NewClient(&redis.Options{
				Addr: address, Protocol: proto,
				MaxRetries:            -1, // a request is sent once
				ContextTimeoutEnabled: true, ReadTimeout: -1,
			})
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			spacetest.Run(t, front{c, proto}, slices.Concat(notOffered, lacks)...)
		})
	}
}

// front is the door as the suite uses it: SPACE commands over real connections.
// In RESP3 the numbers of conditions are sent as their ARGS.
type front struct {
	c     *redis.Client
	proto int
}

func (f front) Define(ctx context.Context, def space.Definition, deadLetter string) error {
	r := request{"SPACE.CREATE", def.Name, "SHAPE", def.Shape.String(), "SCANLIMIT", def.ScanLimit}
	r.add(def.Key != "", "KEY", def.Key)
	r.add(def.Group != "", "GROUP", def.Group)
	r.add(def.Routing != "", "ROUTING", def.Routing)
	r.add(def.Lease > 0, "LEASE", def.Lease.Milliseconds())
	r.add(def.ClaimLease > 0, "CLAIMLEASE", def.ClaimLease.Milliseconds())
	r.add(def.MaxAttempts > 0, "ATTEMPTS", def.MaxAttempts)
	r.add(deadLetter != "", "DEADLETTER", deadLetter)
	for _, x := range def.Fields {
		r.add(true, "FIELD", x.Path, x.Type.String())
	}
	for _, x := range def.Indexes {
		word := "INDEX"
		if x.Ordered {
			word = "ORDERED"
		}
		r.add(true, word, x.Name)
		for _, field := range x.Fields {
			r.add(true, field)
		}
	}
	_, err := f.send(ctx, r)
	return err
}

// request is a command: words, texts, bytes and integers.
type request []any

func (r *request) add(there bool, args ...any) {
	if there {
		*r = append(*r, args...)
	}
}

func (f front) Do(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	switch r.Verb {
	case spacetest.Write:
		return f.write(ctx, r)
	case spacetest.Ack, spacetest.Nack, spacetest.Extend:
		return out, f.settle(ctx, r)
	case spacetest.Count:
		c := request{"SPACE.COUNT", r.Space}
		f.filter(&c, r)
		n, err := f.send(ctx, c)
		if err == nil {
			out.Count = n.(int64)
		}
		return out, err
	case spacetest.Aggregate:
		return f.aggregate(ctx, r)
	}
	word := string(r.Verb)
	if r.Verb == spacetest.Read && r.Limit > 1 {
		word = "query"
	}
	c := request{"SPACE." + strings.ToUpper(word), r.Space}
	switch {
	case r.Key != "":
		c.add(true, "KEY", r.Key)
		f.condition(&c, "IF", r.Where)
	case r.Template == nil && r.Where == "":
		c.add(true, "MATCH", "{}")
	default:
		f.filter(&c, r)
	}
	c.add(r.Limit != 0, "LIMIT", r.Limit)
	c.add(r.Version != 0, "VERSION", uint64(r.Version))
	c.add(r.Create, "CREATE")
	c.add(r.Lease != 0, "LEASE", r.Lease.Milliseconds())
	c.add(r.Wait != 0, "WAIT", r.Wait.Milliseconds())
	for _, m := range r.Mutations {
		c.mutation(m)
	}
	return f.entries(ctx, c, r.Key != "")
}

// filter says what entries have to pass.
func (f front) filter(c *request, r spacetest.Request) {
	c.add(r.Template != nil, "MATCH", encoded(r.Template))
	f.condition(c, "WHERE", r.Where)
}

var constant = regexp.MustCompile(`\b\d+(\.\d+)?\b`)

// condition says a condition, its numbers apart from it or in their places.
func (f front) condition(c *request, word, text string) {
	var args []string
	if f.proto == 3 {
		text = constant.ReplaceAllStringFunc(text, func(number string) string {
			args = append(args, number)
			return "?"
		})
	}
	c.add(text != "", word, text)
	c.add(len(args) > 0, "ARGS", "["+strings.Join(args, ",")+"]")
}

func (f front) write(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	c := request{"SPACE.WRITE", r.Space, "KEY", r.Key}
	c.add(r.Lease != 0, "LEASE", r.Lease.Milliseconds())
	c.add(r.IfAbsent, "NX")
	c.add(r.IfPresent, "XX")
	c.add(r.Version != 0, "VERSION", uint64(r.Version))
	f.condition(&c, "IF", r.Where)
	switch {
	case r.Fields == nil:
		c.add(true, "VALUE", r.Bytes)
	case allText(r.Fields):
		c.add(true, "FIELDS")
		for name, text := range r.Fields {
			c.add(true, name, text)
		}
	default:
		c.add(true, "JSON", encoded(r.Fields))
	}
	version, err := f.send(ctx, c)
	if errors.Is(err, redis.Nil) && r.IfAbsent {
		return out, space.ErrExists
	}
	if err != nil {
		return out, found(err)
	}
	out.Version = space.Seq(version.(int64))
	return out, nil
}

// allText reports whether FIELDS can say these.
func allText(fields map[string]any) bool {
	for _, v := range fields {
		if _, ok := v.(string); !ok {
			return false
		}
	}
	return len(fields) > 0
}

// found turns no reply into no entry.
func found(err error) error {
	if errors.Is(err, redis.Nil) {
		return space.ErrNotFound
	}
	return err
}

func (f front) settle(ctx context.Context, r spacetest.Request) error {
	if len(r.Mutations) > 0 {
		return spacetest.ErrNotOffered
	}
	c := request{"SPACE." + strings.ToUpper(string(r.Verb)), r.Space, r.Key, r.Token}
	c.add(r.Verb == spacetest.Nack && r.Lease != 0, "DELAY", r.Lease.Milliseconds())
	c.add(r.Verb == spacetest.Extend && r.Lease != 0, "LEASE", r.Lease.Milliseconds())
	c.add(r.Uncounted, "UNCOUNTED")
	_, err := f.send(ctx, c)
	return err
}

func (f front) aggregate(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	if r.GroupBy != "" && f.proto == 2 {
		return out, spacetest.ErrNotOffered
	}
	c := request{"SPACE.AGGREGATE", r.Space}
	f.filter(&c, r)
	c.add(r.GroupBy != "", "BY", r.GroupBy)
	for _, text := range r.Columns {
		c.add(true, "COLUMN", text)
	}
	rows, err := f.send(ctx, c)
	if err != nil {
		return out, err
	}
	for _, row := range rows.([]any) {
		out.Rows = append(out.Rows, pairs(row))
	}
	return out, nil
}

// entries sends a request that is answered by one entry or null, or by an array.
func (f front) entries(ctx context.Context, c request, one bool) (out spacetest.Response, err error) {
	reply, err := f.send(ctx, c)
	if err != nil {
		return out, found(err)
	}
	all := []any{reply}
	if !one {
		all = reply.([]any)
	}
	if len(all) == 0 {
		return out, space.ErrNotFound
	}
	for _, x := range all {
		e, err := entry(pairs(x))
		if err != nil {
			return out, err
		}
		out.Entries = append(out.Entries, e)
	}
	if one {
		out.Version = out.Entries[0].Version
	}
	return out, nil
}

func entry(x map[string]any) (spacetest.Entry, error) {
	e := spacetest.Entry{Key: x["key"].(string), Version: space.Seq(x["version"].(int64))}
	if token, claimed := x["token"]; claimed {
		e.Token, e.Attempts = token.(string), int(x["attempts"].(int64))
	}
	text, ok := x["json"].(string)
	if !ok {
		e.Bytes = []byte(x["value"].(string))
		return e, nil
	}
	value, err := msgp.FromJSON(nil, []byte(text))
	if err != nil {
		return e, fmt.Errorf("%w in %s", err, text)
	}
	fields, err := msgp.Decode(value)
	if err != nil {
		return e, fmt.Errorf("%w in %s", err, text)
	}
	e.Fields = fields.(map[string]any)
	return e, nil
}

// pairs returns a map, which in RESP2 is a flat array.
func pairs(v any) map[string]any {
	m := map[string]any{}
	switch v := v.(type) {
	case map[any]any:
		for name, x := range v {
			m[name.(string)] = x
		}
	case []any:
		for pair := range slices.Chunk(v, 2) {
			m[pair[0].(string)] = pair[1]
		}
	}
	return m
}

// mutation says a mutation in words where they can, otherwise as JSON.
func (r *request) mutation(m spacetest.Mutation) {
	text, isText := m.Value.(string)
	switch {
	case m.Op == "unset":
		r.add(true, "UNSET", m.Path)
	case m.Op == "add":
		r.add(true, "ADD", m.Path, m.Value)
		r.add(m.Min != nil, "MIN", m.Min)
		r.add(m.Max != nil, "MAX", m.Max)
	case isText && m.Op != "lowest" && m.Op != "highest":
		r.add(true, strings.ToUpper(m.Op), m.Path, text)
	default:
		r.add(true, "JSON", encoded([]any{map[string]any{"op": m.Op, "path": m.Path, "value": m.Value}}))
	}
}

// encoded returns a value as JSON of the grid's dialect; what the grid would not
// take is written all the same, for the door to refuse.
func encoded(v any) string {
	if value, err := msgp.AppendValue(nil, v); err == nil {
		if text, err := msgp.AppendJSON(nil, value); err == nil {
			return string(text)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, strconv.Quote(name)+":"+encoded(v[name]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, encoded(x))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(v)
}

// refusals are the words that errors begin with.
var refusals = map[string]error{
	"CONFLICT": grid.ErrConflict, "WRONGTYPE": grid.ErrWrongKind, "NOSPACE": grid.ErrNoSpace, "OUTOFRANGE": grid.ErrRange,
	"UNMET": grid.ErrUnmet, "FENCED": grid.ErrFenced, "CLAIMED": grid.ErrClaimed, "SCANREFUSED": grid.ErrScanRefused, "ERR": grid.ErrInvalid,
}

// tooLong is ERR as well, which is what clients know of Redis.
const tooLong = "ERR a key has at most "

// send makes a request and turns an error reply into the error that it stands for.
func (f front) send(ctx context.Context, c request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	reply, err := f.c.Do(ctx, c...).Result()
	if _, replied := errors.AsType[redis.Error](err); !replied || errors.Is(err, redis.Nil) {
		return reply, err
	}
	if strings.HasPrefix(err.Error(), tooLong) {
		return nil, fmt.Errorf("%w: %w", grid.ErrTooLarge, err)
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	if refused, ok := refusals[word]; ok {
		return nil, fmt.Errorf("%w: %w", refused, err)
	}
	return nil, err
}
