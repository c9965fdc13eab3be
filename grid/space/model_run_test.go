package space_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

var testHistory = space.History{7}

// TestPartitionEqualsModel: whatever is asked, a partition answers and changes
// like the model; its changelog rebuilds its content; a second partition that
// goes through exports on the way has the same digest.
func TestPartitionEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			r.step(drawCommand(t, r))
		}
		r.compareContent()
	})
}

// run drives a partition, its shadow and the model with the same commands.
type run struct {
	t      *rapid.T
	p      *space.Partition
	shadow *space.Partition
	model  *model
	now    space.Time
	next   uint64
	sent   []space.Command // of the session, for repeats
	fold   map[modelKey]space.Entry
	folded space.Seq
	tokens []space.Token // that claims were answered with
}

func newRun(t *rapid.T) *run {
	r := &run{
		t: t, p: space.New(5, testHistory), shadow: space.New(5, testHistory),
		model: newModel(testHistory), next: 1, fold: map[modelKey]space.Entry{},
	}
	shapes := []space.Shape{space.ShapeAny, space.ShapeFields, space.ShapeBytes, space.ShapeAny}
	for i, shape := range shapes {
		def := space.Definition{ID: space.ID(i + 1), Name: fmt.Sprint("s", i+1), Shape: shape, ScanLimit: -1}
		// Of the dead-letter spaces one is right, one has another shape and one
		// is not there.
		if def.DeadLetter = []space.ID{4, 9, 4, 0}[i]; def.DeadLetter != 0 {
			def.MaxAttempts = rapid.IntRange(0, 2).Draw(t, "attempts")
		}
		if shape != space.ShapeBytes && rapid.Bool().Draw(t, "grouped") {
			def.Group = "b"
		}
		def.ClaimLease = time.Duration(rapid.SampledFrom([]int{0, 6}).Draw(t, "claims"))
		if shape != space.ShapeBytes && rapid.Bool().Draw(t, "indexed") {
			def.Indexes = []space.Index{{Name: "a", Fields: []string{"a"}}, {Name: "ab", Fields: []string{"a", "b"}}}
		}
		if rapid.Bool().Draw(t, "lease") {
			def.Lease = 5 * time.Nanosecond
		}
		c := space.DefineCommand(&def)
		for _, p := range []*space.Partition{r.p, r.shadow} {
			if reply, _ := space.DecodeReply(p.Apply(0, &c)); reply.Code != space.OK {
				t.Fatalf("define: %v", reply.Code)
			}
		}
		r.model.spaces[def.ID] = &modelSpace{def: def, entries: map[string]space.Entry{}, nextOrder: 1, claims: map[space.Seq]modelClaim{}}
		r.model.seq++
	}
	return r
}

// step applies one command everywhere and compares the answers.
func (r *run) step(c space.Command) {
	r.now += space.Time(rapid.IntRange(0, 3).Draw(r.t, "time"))
	b := c.Append(nil)
	got, err := space.DecodeReply(r.p.ApplyBytes(r.now, b))
	if err != nil {
		r.t.Fatal(err)
	}
	want := r.model.apply(r.now, &c)
	answers := append(r.compareGranted(), &got)
	// Past its deadline an answer may still be kept, or be gone already.
	late := c.Session != 0 && c.Deadline <= r.now && (got.Code == space.CodeLate || got.Code == space.CodeForgotten)
	if g, w := show(&got), show(&want); g != w && !late && !r.tooLate(&c, got) {
		r.t.Fatalf("command %+v\n got %s\nwant %s", c, g, w)
	}
	if other := r.shadow.ApplyBytes(r.now, b); !bytes.Equal(other, got.Append(nil)) {
		r.t.Fatalf("command %+v: the shadow answers differently", c)
	}
	if rapid.IntRange(0, 9).Draw(r.t, "export") == 0 {
		var out bytes.Buffer
		if err := r.shadow.Image().Export(&out); err != nil {
			r.t.Fatal(err)
		}
		if r.shadow, err = space.Restore(&out); err != nil {
			r.t.Fatal(err)
		}
	}
	if a, b := r.p.Image().Digest(), r.shadow.Image().Digest(); a != b {
		r.t.Fatalf("after %+v: digests %v and %v", c, a, b)
	}
	r.noteTokens(answers...)
	r.follow()
}

// follow reads the changes made since the last call and folds them.
func (r *run) follow() {
	changes, err := r.p.Changelog().Read(nil, r.folded, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range changes {
		if c.Seq != r.folded+1 {
			r.t.Fatalf("change %d follows %d", c.Seq, r.folded)
		}
		r.folded = c.Seq
		if c.Txn != r.model.txns.tags[c.Seq] {
			r.t.Fatalf("change %+v is of transaction %v", c, r.model.txns.tags[c.Seq])
		}
		k := modelKey{c.Space, string(c.Key)}
		old, existed := r.fold[k]
		if c.Op <= space.Removed && (existed != (c.Op != space.Written) || old.Version != c.Previous) {
			r.t.Fatalf("change %+v over %+v", c, old)
		}
		switch c.Op {
		case space.Written, space.Updated:
			r.fold[k] = space.Entry{Key: c.Key, Value: c.Value, Kind: c.Kind, Version: c.Seq, Order: c.Order, Deadline: c.Deadline, Attempts: c.Attempts}
		case space.Removed:
			delete(r.fold, k)
		case space.Claimed, space.Released:
			r.foldClaim(&c, k)
		}
	}
}

// compareContent compares what can be read with the model and with the fold of
// the changelog.
func (r *run) compareContent() {
	want := map[modelKey]space.Entry{}
	for id, s := range r.model.spaces {
		for k, e := range s.entries {
			want[modelKey{id, k}] = e
		}
	}
	seen := map[modelKey]space.Entry{}
	for id := range r.model.spaces {
		last := uint64(0)
		r.p.Scan(id, 0, func(e space.Entry) bool {
			if e.Order <= last {
				r.t.Fatalf("order %d after %d", e.Order, last)
			}
			last = e.Order
			seen[modelKey{id, string(e.Key)}] = e
			return true
		})
	}
	for k, e := range want {
		got, code := r.p.Get(k.space, []byte(k.key))
		if e.Claimed {
			if code != space.CodeNotFound {
				r.t.Fatalf("claimed entry %v can be read", k)
			}
			got, code = seen[k], space.OK
		}
		if code != space.OK || showEntry(got) != showEntry(e) || showEntry(r.fold[k]) != showEntry(e) {
			r.t.Fatalf("entry %v: have %s (%v), fold %s, want %s", k, showEntry(got), code, showEntry(r.fold[k]), showEntry(e))
		}
	}
	if len(r.fold) != len(want) {
		r.t.Fatalf("%d entries in the fold, want %d", len(r.fold), len(want))
	}
}

func show(r *space.Reply) string {
	s := fmt.Sprint(r.Code, " failed ", r.Failed, " clock ", r.Clock, " seq ", r.Seq, " epoch ", r.Epoch)
	for i := range r.Results {
		x := &r.Results[i]
		s += fmt.Sprintf(" [%v v%d n%d", x.Code, x.Version, x.Count)
		for _, e := range x.Entries {
			s += " " + showEntry(e)
		}
		s += "]"
	}
	return s
}

func showEntry(e space.Entry) string {
	return fmt.Sprintf("{%s=%x k%d v%d o%d d%d a%d %v %v}", e.Key, e.Value, e.Kind, e.Version, e.Order, e.Deadline, e.Attempts, e.Claimed, e.Token)
}

// drawCommand draws a command, now and then a repeat of an earlier one.
func drawCommand(t *rapid.T, r *run) space.Command {
	switch rapid.IntRange(0, 19).Draw(t, "sort") {
	case 0:
		return space.TickCommand()
	case 1:
		if len(r.sent) > 0 {
			c := r.sent[rapid.IntRange(0, len(r.sent)-1).Draw(t, "repeat")]
			c.Attempt = uint8(rapid.IntRange(0, 1).Draw(t, "attempt"))
			return c
		}
	case 3:
		return drawDefinition(t, r)
	case 2:
		if rapid.IntRange(0, 3).Draw(t, "epoch") == 0 {
			return space.EpochCommand(0)
		}
		// A search stands alone: in company its order is another matter.
		return r.identify(space.Command{Ops: []space.Op{drawSearch(t)}})
	case 4, 5, 6:
		return drawWait(t, r)
	case 7, 8, 9, 10:
		return drawTxn(t, r)
	}
	c := space.Command{Independent: rapid.Bool().Draw(t, "independent")}
	for range rapid.IntRange(1, 12).Draw(t, "ops") {
		c.Ops = append(c.Ops, drawOp(t, r))
	}
	return r.identify(c)
}

func (r *run) identify(c space.Command) space.Command {
	if rapid.Bool().Draw(r.t, "session") {
		c = r.sign(c)
	}
	return c
}

// sign makes a command one of a client.
func (r *run) sign(c space.Command) space.Command {
	c.History, c.Session, c.Sequence, c.Acked = testHistory, space.SessionID(rapid.IntRange(1, 2).Draw(r.t, "client")), r.next, 1
	c.Deadline = r.now + space.Time(rapid.IntRange(1, 40).Draw(r.t, "deadline"))
	if rapid.IntRange(0, 20).Draw(r.t, "foreign") == 0 {
		c.History = space.History{8}
	}
	r.next++
	r.sent = append(r.sent, c)
	return c
}

func drawSearch(t *rapid.T) space.Op {
	o := space.Op{
		Code:  rapid.SampledFrom([]space.OpCode{space.OpTakeMatch, space.OpReadMatch, space.OpClear, space.OpChangeMatch, space.OpClaimMatch}).Draw(t, "search"),
		Space: space.ID(rapid.IntRange(1, 5).Draw(t, "space")),
		Limit: rapid.IntRange(0, 5).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "template") {
		o.Template = encode(drawFields(t))
	}
	if o.Code == space.OpChangeMatch {
		o.Flags = rapid.SampledFrom([]space.OpFlags{0, space.FlagReturn}).Draw(t, "return")
		o.Mutations = drawMutations(t, rapid.SampledFrom([]space.Kind{space.KindBytes, space.KindFields}).Draw(t, "kind"))
	}
	o.Predicate = drawPredicate(t)
	return o
}

func drawFields(t *rapid.T) map[string]any {
	m := map[string]any{}
	for _, f := range []string{"a", "b", "c"} {
		if rapid.Bool().Draw(t, f) {
			m[f] = int64(rapid.IntRange(0, 2).Draw(t, "value"))
		}
	}
	return m
}

func drawOp(t *rapid.T, r *run) space.Op {
	o := space.Op{
		Code: rapid.SampledFrom([]space.OpCode{
			space.OpWrite, space.OpWrite, space.OpWrite, space.OpTake, space.OpChange, space.OpChange,
			space.OpRenew, space.OpCheck, space.OpRead, space.OpRespond,
		}).Draw(t, "op"),
		Space: space.ID(rapid.IntRange(1, 5).Draw(t, "space")),
		Key:   []byte(strconv.Itoa(rapid.IntRange(0, 12).Draw(t, "key"))),
		Mode:  space.Mode(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "mode")),
		Flags: space.OpFlags(rapid.IntRange(0, 15).Draw(t, "flags")) &^ space.FlagAllowScan,
		Lease: time.Duration(rapid.SampledFrom([]int{0, 0, -1, 4, 9}).Draw(t, "lease")),
	}
	if rapid.IntRange(0, 4).Draw(t, "matched") == 0 {
		o.Match = space.Seq(rapid.IntRange(1, int(r.model.seq)+1).Draw(t, "match"))
		if e, ok := r.model.entry(o.Space, o.Key); ok && rapid.Bool().Draw(t, "right") {
			o.Match = e.Version
		}
	}
	if rapid.Bool().Draw(t, "fields") {
		o.Kind = space.KindFields
	}
	if rapid.IntRange(0, 2).Draw(t, "on claims") == 0 {
		return drawClaims(t, r, o)
	}
	if o.Code != space.OpCheck && o.Code != space.OpRespond && rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
		o.Predicate = drawPredicate(t)
	}
	switch o.Code {
	case space.OpWrite, space.OpRespond:
		o.Value = []byte(strconv.Itoa(rapid.IntRange(-5, 5).Draw(t, "text")))
		if o.Kind == space.KindFields {
			o.Value = encode(drawFields(t))
		}
	case space.OpChange:
		o.Mutations = drawMutations(t, o.Kind)
	}
	return o
}

func drawMutations(t *rapid.T, kind space.Kind) (ms []space.Mutation) {
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		if rapid.IntRange(0, 3).Draw(t, "any") == 0 {
			ms = append(ms, drawAnyMutation(t, kind == space.KindFields))
			continue
		}
		m := space.Mutation{Code: space.MutAdd, Arg: encode(int64(rapid.IntRange(-3, 3).Draw(t, "arg")))}
		if kind == space.KindFields {
			m.Code = rapid.SampledFrom([]space.MutationCode{space.MutSet, space.MutUnset, space.MutAdd}).Draw(t, "mutation")
			m.Field = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "field")
		}
		ms = append(ms, m)
	}
	return ms
}

func (m *model) entry(id space.ID, key []byte) (space.Entry, bool) {
	s := m.spaces[id]
	if s == nil {
		return space.Entry{}, false
	}
	e, ok := s.entries[string(key)]
	return e, ok
}

// TestDefinitionsAreListedInOrder keeps listings stable.
func TestDefinitionsAreListedInOrder(t *testing.T) {
	p := space.New(0, testHistory)
	for _, id := range []space.ID{3, 1, 2} {
		c := space.DefineCommand(&space.Definition{ID: id, Name: fmt.Sprint("s", id)})
		p.Apply(0, &c)
	}
	var ids []space.ID
	for _, d := range p.Definitions() {
		ids = append(ids, d.ID)
	}
	if !slices.Equal(ids, []space.ID{1, 2, 3}) {
		t.Fatal(ids)
	}
}
