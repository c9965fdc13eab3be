package spacetest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Commands draws commands for a [Comparison]: of clients and of the grid, right
// and wrong ones, repeats of earlier ones, and with versions, tokens and
// sequences from what the comparison has answered, so that they often hit.
type Commands struct {
	c    *Comparison
	t    *rapid.T
	now  space.Time
	next uint64
	sent []space.Command // of clients, for repeats
	// snapshots is how many steps there are for each snapshot, about.
	snapshots int
}

// Keys and spaces are few, so that commands meet. The fifth space is never
// defined.
const (
	drawnSpaces = 4
	drawnKeys   = 12
)

// NewCommands returns a source of commands for a comparison that has just begun,
// and the steps that define its spaces.
func NewCommands(t *rapid.T, c *Comparison) (*Commands, []Step) {
	g := &Commands{c: c, t: t, next: 1, snapshots: 10}
	var steps []Step
	for i, shape := range []space.Shape{space.ShapeAny, space.ShapeFields, space.ShapeBytes, space.ShapeAny} {
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
		steps = append(steps, Step{Command: space.DefineCommand(&def)})
	}
	return g, steps
}

// Next draws the next step.
func (g *Commands) Next() Step {
	c := g.command()
	g.now += space.Time(rapid.IntRange(0, 3).Draw(g.t, "time"))
	return Step{Now: g.now, Command: c, Snapshot: rapid.IntRange(0, g.snapshots-1).Draw(g.t, "snapshot") == 0}
}

// command draws a command, now and then a repeat of an earlier one.
func (g *Commands) command() space.Command {
	t := g.t
	switch rapid.IntRange(0, 19).Draw(t, "sort") {
	case 0:
		return space.TickCommand()
	case 1:
		if len(g.sent) > 0 {
			// Mostly a late one: it is more likely to be kept.
			i := rapid.IntRange(0, len(g.sent)-1).Draw(t, "repeat")
			if rapid.Bool().Draw(t, "late") {
				i = len(g.sent) - 1 - min(i, 5)
			}
			c := g.sent[i]
			c.Attempt = uint8(rapid.IntRange(0, 1).Draw(t, "attempt"))
			return c
		}
	case 2:
		if rapid.IntRange(0, 3).Draw(t, "epoch") == 0 {
			return space.EpochCommand(0)
		}
		// A search stands alone: in company its order is another matter.
		return g.identify(space.Command{Ops: []space.Op{g.search()}})
	case 3:
		return g.definition()
	case 4, 5, 6:
		return g.wait()
	case 7, 8, 9, 10:
		return g.txn()
	}
	c := space.Command{Independent: rapid.Bool().Draw(t, "independent")}
	// Of many operations one is likely to fail, and with it all.
	most := rapid.SampledFrom([]int{1, 2, 12}).Draw(t, "most")
	for range rapid.IntRange(1, most).Draw(t, "ops") {
		c.Ops = append(c.Ops, g.op())
	}
	return g.identify(c)
}

func (g *Commands) identify(c space.Command) space.Command {
	if rapid.Bool().Draw(g.t, "session") {
		c = g.sign(c)
	}
	return c
}

// sign makes a command one of a client.
func (g *Commands) sign(c space.Command) space.Command {
	c.History, c.Session, c.Sequence, c.Acked = g.c.history, space.SessionID(rapid.IntRange(1, 2).Draw(g.t, "client")), g.next, 1
	c.Deadline = g.now + space.Time(rapid.IntRange(1, 40).Draw(g.t, "deadline"))
	if rapid.IntRange(0, 20).Draw(g.t, "foreign") == 0 {
		c.History[0]++
	}
	g.next++
	g.sent = append(g.sent, c)
	return c
}

func (g *Commands) space() space.ID {
	if rapid.IntRange(0, 15).Draw(g.t, "nowhere") == 0 {
		return drawnSpaces + 1
	}
	return space.ID(rapid.IntRange(1, drawnSpaces).Draw(g.t, "space"))
}

func (g *Commands) key() []byte {
	return strconv.AppendInt(nil, int64(rapid.IntRange(0, drawnKeys).Draw(g.t, "key")), 10)
}

// definition draws a definition of a space with other indexes.
func (g *Commands) definition() space.Command {
	def, _ := g.c.Model.Definition(space.ID(rapid.IntRange(1, 2).Draw(g.t, "defined")))
	def.Indexes = nil
	for _, x := range []space.Index{
		{Name: "a", Fields: []string{"a"}}, {Name: "cb", Fields: []string{"c", "b"}},
		{Name: "by-b", Fields: []string{"b"}, Ordered: true}, {Name: "a-by-c", Fields: []string{"a", "c"}, Ordered: true},
	} {
		if rapid.Bool().Draw(g.t, x.Name) {
			def.Indexes = append(def.Indexes, x)
		}
	}
	return space.DefineCommand(&def)
}

func (g *Commands) search() space.Op {
	t := g.t
	o := space.Op{
		Code:  rapid.SampledFrom([]space.OpCode{space.OpTakeMatch, space.OpReadMatch, space.OpClear, space.OpChangeMatch, space.OpClaimMatch}).Draw(t, "search"),
		Space: g.space(),
		Limit: rapid.IntRange(0, 5).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "template") {
		o.Template = encode(DrawFields(t))
	}
	if o.Code == space.OpChangeMatch {
		o.Flags = rapid.SampledFrom([]space.OpFlags{0, space.FlagReturn}).Draw(t, "return")
		o.Mutations = drawMutations(t, rapid.SampledFrom([]space.Kind{space.KindBytes, space.KindFields}).Draw(t, "kind"))
	}
	o.Predicate = DrawPredicate(t)
	return o
}

func (g *Commands) op() space.Op {
	t := g.t
	o := space.Op{
		Code: rapid.SampledFrom([]space.OpCode{
			space.OpWrite, space.OpWrite, space.OpWrite, space.OpTake, space.OpChange, space.OpChange,
			space.OpRenew, space.OpCheck, space.OpRead, space.OpRespond,
		}).Draw(t, "op"),
		Space: g.space(),
		Key:   g.key(),
		Mode:  space.Mode(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "mode")),
		Flags: space.OpFlags(rapid.IntRange(0, 15).Draw(t, "flags")) &^ space.FlagAllowScan,
		Lease: time.Duration(rapid.SampledFrom([]int{0, 0, -1, 4, 9}).Draw(t, "lease")),
	}
	if rapid.IntRange(0, 4).Draw(t, "matched") == 0 {
		o.Match = space.Seq(rapid.IntRange(1, int(g.c.Model.Seq())+1).Draw(t, "match"))
		if e, ok := g.c.Model.Entry(o.Space, o.Key); ok && rapid.Bool().Draw(t, "right") {
			o.Match = e.Version
		}
	}
	if rapid.Bool().Draw(t, "fields") {
		o.Kind = space.KindFields
	}
	if rapid.IntRange(0, 2).Draw(t, "on claims") == 0 {
		return g.onClaims(o)
	}
	if o.Code != space.OpCheck && o.Code != space.OpRespond && rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
		o.Predicate = DrawPredicate(t)
	}
	switch o.Code {
	case space.OpWrite, space.OpRespond:
		o.Value = []byte(strconv.Itoa(rapid.IntRange(-5, 5).Draw(t, "text")))
		if o.Kind == space.KindFields {
			o.Value = encode(DrawFields(t))
		}
	case space.OpChange:
		o.Mutations = drawMutations(t, o.Kind)
	}
	return o
}

// onClaims turns a drawn operation on a key into one on claims.
func (g *Commands) onClaims(o space.Op) space.Op {
	t := g.t
	c := space.Op{
		Code: rapid.SampledFrom([]space.OpCode{space.OpClaim, space.OpAck, space.OpNack, space.OpNack, space.OpExtend}).Draw(t, "claim"),
		// Beyond the longest claim it is refused.
		Lease: time.Duration(rapid.SampledFrom([]int{0, 0, 3, 8, int(space.MaxClaimLease) + 1}).Draw(t, "claim lease")),
	}
	if c.Code == space.OpClaim {
		c.Space, c.Key, c.Match = o.Space, o.Key, o.Match
		return c
	}
	c.Token = space.Token{Epoch: 1, Number: 1}
	if tokens := g.c.Tokens(); len(tokens) > 0 {
		// Mostly a late one: it is more likely to be good.
		c.Token = tokens[len(tokens)-1-rapid.IntRange(0, min(len(tokens)-1, 6)).Draw(t, "token")]
	}
	if rapid.IntRange(0, 9).Draw(t, "forged") == 0 {
		c.Token.Epoch++
	}
	if c.Code == space.OpNack {
		c.Flags = space.OpFlags(rapid.SampledFrom([]int{0, 0, int(space.FlagUncounted)}).Draw(t, "uncounted"))
		if rapid.IntRange(0, 2).Draw(t, "changed") == 0 {
			c.Mutations = []space.Mutation{DrawMutation(t, o.Kind == space.KindFields)}
		}
	}
	return c
}

// txn draws a step of one of a few transactions, or a command that checks a
// template before it writes.
func (g *Commands) txn() space.Command {
	t := g.t
	o := space.Op{
		Txn:    space.TxnID{Session: 9, Number: uint64(rapid.IntRange(1, 3).Draw(t, "txn"))},
		Home:   4,
		Target: uint64(g.now) + uint64(rapid.IntRange(1, 20).Draw(t, "until")),
	}
	sort := rapid.IntRange(0, 7).Draw(t, "step")
	if sort <= 4 {
		o.Code, o.Lease = space.OpPrepare, time.Duration(rapid.IntRange(1, 9).Draw(t, "asks"))
		ops := g.prepared()
		if sort > 0 {
			ops = append([]space.Op{o}, ops...)
		}
		if len(ops) > 1 {
			return g.identify(space.Command{Ops: ops})
		}
	}
	if sort > 5 {
		o.Code = space.OpDecide
		switch rapid.IntRange(0, 3).Draw(t, "decision") {
		case 0:
			o.Flags, o.Lease = space.FlagSettled, time.Duration(rapid.IntRange(0, 9).Draw(t, "stays"))
		case 1, 2:
			o.Flags, o.Value = space.FlagCommit, space.AppendPartitions(nil, []space.PartitionID{4, 5})
		}
		return g.identify(space.Command{Ops: []space.Op{o}})
	}
	o.Code = space.OpFinish
	if rapid.Bool().Draw(t, "commit") {
		o.Flags = space.FlagCommit
	}
	return g.identify(space.Command{Ops: []space.Op{o}})
}

// prepared draws what a transaction checks and does.
func (g *Commands) prepared() (ops []space.Op) {
	t := g.t
	for range rapid.IntRange(0, 2).Draw(t, "templates") {
		ops = append(ops, space.Op{
			Code: space.OpCheckMatch, Space: space.ID(rapid.IntRange(1, 3).Draw(t, "space")),
			Match: g.c.Model.Seq() - min(g.c.Model.Seq(), space.Seq(rapid.IntRange(0, 5).Draw(t, "back"))), Template: encode(DrawFields(t)),
		})
	}
	for range rapid.IntRange(1, 4).Draw(t, "ops") {
		if x := g.op(); x.Code != space.OpRespond {
			ops = append(ops, x)
		}
	}
	return ops
}

// wait draws a command that waits, or one that ends a wait.
func (g *Commands) wait() space.Command {
	t := g.t
	o := space.Op{Code: space.OpCancel}
	if rapid.IntRange(0, 3).Draw(t, "wait") > 0 {
		o = g.waitingTake()
	}
	c := space.Command{Ops: []space.Op{o}, Independent: rapid.IntRange(0, 20).Draw(t, "independent") == 0}
	if rapid.IntRange(0, 20).Draw(t, "company") == 0 {
		c.Ops = append(c.Ops, g.op())
	}
	c = g.sign(c)
	if o.Code == space.OpCancel {
		g.aim(&c)
		g.sent[len(g.sent)-1] = c
	}
	return c
}

func (g *Commands) waitingTake() space.Op {
	t := g.t
	o := space.Op{
		Code:  rapid.SampledFrom([]space.OpCode{space.OpTake, space.OpTakeMatch, space.OpTakeMatch, space.OpClaim, space.OpClaimMatch}).Draw(t, "take"),
		Space: space.ID(rapid.IntRange(1, drawnSpaces).Draw(t, "space")),
		Wait:  time.Duration(rapid.IntRange(1, 40).Draw(t, "long")),
	}
	if o.Code == space.OpClaim || o.Code == space.OpClaimMatch {
		o.Lease = time.Duration(rapid.SampledFrom([]int{0, 0, 3, 8}).Draw(t, "claim lease"))
	}
	if o.Code == space.OpTake || o.Code == space.OpClaim {
		o.Key, o.Flags = g.key(), space.FlagReturn
		return o
	}
	o.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
	if o.Code == space.OpTakeMatch && rapid.Bool().Draw(t, "reserve") {
		o.Txn = space.TxnID{Session: 9, Number: uint64(rapid.IntRange(1, 3).Draw(t, "txn"))}
		o.Lease = time.Duration(rapid.IntRange(0, 9).Draw(t, "reserved"))
	}
	if rapid.Bool().Draw(t, "template") {
		o.Template = encode(DrawFields(t))
	}
	return o
}

// aim gives a cancel its target: often a command that was sent, not long ago.
func (g *Commands) aim(c *space.Command) {
	target := uint64(rapid.IntRange(0, int(c.Sequence)).Draw(g.t, "target"))
	if rapid.Bool().Draw(g.t, "recent") {
		target = c.Sequence - min(target, 6)
	}
	c.Ops[0].Target = target
	sent := func(s space.Command) bool { return s.Session == c.Session && s.Sequence == target }
	if i := slices.IndexFunc(g.sent, sent); i >= 0 {
		c.Deadline = g.sent[i].Deadline
	}
}
