package spacetest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Step is one command of a comparison.
type Step struct {
	Now     space.Time // the partition clock when it is applied
	Command space.Command
	// Snapshot sends the second partition through an export and back afterwards.
	Snapshot bool
}

// Comparison feeds the same commands to a partition, to a second one that goes
// through snapshots on the way, and to the [Model], and holds their answers,
// their changes and their content against each other. The first difference is the
// end of it.
type Comparison struct {
	// DigestEvery is after how many steps the digests of the two partitions are
	// compared, each of which goes over everything in them; 0 is 1.
	DigestEvery int

	Model    *Model
	Coverage Coverage

	first, second *space.Partition
	history       space.History
	steps         int
	asked         map[commandID]bool
	tokens        []space.Token // that claims were answered with, ascending
	content       map[place]space.Entry
	read          space.Seq // changes up to it are in content
}

// Coverage counts what a comparison has met.
type Coverage struct {
	Commands int
	Ops      map[space.OpCode]int // operations that were asked for
	Codes    map[space.Code]int   // of replies, and of the results of operations
	Waited   map[space.Code]int   // of the answers to commands that waited
}

// Add adds other to c.
func (c *Coverage) Add(other Coverage) {
	c.Commands += other.Commands
	c.Ops = added(c.Ops, other.Ops)
	c.Codes = added(c.Codes, other.Codes)
	c.Waited = added(c.Waited, other.Waited)
}

func added[K comparable](to, counts map[K]int) map[K]int {
	if to == nil {
		to = map[K]int{}
	}
	for k, n := range counts {
		to[k] += n
	}
	return to
}

// Operations returns how many operations were asked for.
func (c *Coverage) Operations() (n int) {
	for _, times := range c.Ops {
		n += times
	}
	return n
}

// NewComparison returns a comparison of empty partitions.
func NewComparison(id space.PartitionID, h space.History) *Comparison {
	return &Comparison{
		Model: NewModel(h), first: space.New(id, h), second: space.New(id, h), history: h,
		asked: map[commandID]bool{}, content: map[place]space.Entry{},
		Coverage: Coverage{Ops: map[space.OpCode]int{}, Codes: map[space.Code]int{}, Waited: map[space.Code]int{}},
	}
}

// Tokens returns the tokens that claims were answered with, ascending. The slice
// is the comparison's own.
func (c *Comparison) Tokens() []space.Token { return c.tokens }

// Step applies a command everywhere and returns the first difference that shows.
func (c *Comparison) Step(s Step) error {
	x := &s.Command
	for i := range x.Ops {
		c.Coverage.Ops[x.Ops[i].Code]++
	}
	c.Coverage.Commands++
	b := x.Append(nil)
	got, err := space.DecodeReply(c.first.ApplyBytes(s.Now, b))
	if err != nil {
		return err
	}
	c.Coverage.note(c.Coverage.Codes, &got)
	want := c.Model.Apply(s.Now, x)
	granted, err := c.compareGranted()
	if err != nil {
		return err
	}
	if g, w := FormatReply(&got), FormatReply(&want); g != w && !c.mayDiffer(&s, &got) {
		return fmt.Errorf("the partition answers\n  %s\nthe model\n  %s", g, w)
	}
	c.asked[commandID{x.Session, x.Sequence}] = true
	if other := c.second.ApplyBytes(s.Now, b); !bytes.Equal(other, got.Append(nil)) {
		return fmt.Errorf("the partition that went through snapshots answers otherwise than %s", FormatReply(&got))
	}
	if err := c.compareDigests(s.Snapshot); err != nil {
		return err
	}
	if err := c.noteTokens(append(granted, &got)); err != nil {
		return err
	}
	return c.follow()
}

func (c *Coverage) note(in map[space.Code]int, r *space.Reply) {
	in[r.Code]++
	for i := range r.Results {
		in[r.Results[i].Code]++
	}
}

// mayDiffer reports whether the partition need not know any more what the model
// still does, and makes the model follow it in that.
func (c *Comparison) mayDiffer(s *Step, got *space.Reply) bool {
	x := &s.Command
	// Past its deadline an answer may still be kept, or be gone already.
	if x.Session != 0 && x.Deadline <= s.Now && (got.Code == space.CodeLate || got.Code == space.CodeForgotten) {
		return true
	}
	// A command that never came leaves no place for its answer that would stay
	// for good, so whether it can still be cancelled depends on what came since.
	if x.Ops[0].Code != space.OpCancel || got.Code != space.CodeAborted || c.asked[commandID{x.Session, x.Ops[0].Target}] {
		return false
	}
	if code := got.Results[0].Code; code != space.CodeForgotten && code != space.CodeCancelled {
		return false
	}
	c.Model.answered[commandID{x.Session, x.Sequence}] = kept{reply: *got}
	return true
}

// compareGranted compares what waiting commands were answered, and returns it.
func (c *Comparison) compareGranted() (answers []*space.Reply, err error) {
	got, want := c.first.Granted(), c.Model.Granted()
	if len(got) != len(want) {
		return nil, fmt.Errorf("%d waiting commands were answered, by the model %d", len(got), len(want))
	}
	for i, g := range got {
		w := &want[i]
		reply, err := space.DecodeReply(g.Reply)
		if err != nil {
			return nil, err
		}
		if g.Session != w.Session || g.Sequence != w.Sequence || FormatReply(&reply) != FormatReply(&w.Reply) {
			return nil, fmt.Errorf("waiting command %d of session %d is answered\n  %s\nby the model %d of %d\n  %s",
				g.Sequence, g.Session, FormatReply(&reply), w.Sequence, w.Session, FormatReply(&w.Reply))
		}
		c.Coverage.note(c.Coverage.Waited, &reply)
		answers = append(answers, &reply)
	}
	if n := c.first.Status().Waiting; n != c.Model.Waiting() {
		return nil, fmt.Errorf("%d commands wait, in the model %d", n, c.Model.Waiting())
	}
	return answers, nil
}

// compareDigests compares the partitions, of which the second may go through a
// snapshot before.
func (c *Comparison) compareDigests(snapshot bool) error {
	if snapshot {
		var out bytes.Buffer
		if err := c.second.Image().Export(&out); err != nil {
			return err
		}
		var err error
		if c.second, err = space.Restore(&out); err != nil {
			return err
		}
	}
	if c.steps++; c.steps%max(c.DigestEvery, 1) != 0 {
		return nil
	}
	if a, b := c.first.Image().Digest(), c.second.Image().Digest(); a != b {
		return fmt.Errorf("digest %v, that of the partition that went through snapshots is %v", a, b)
	}
	return nil
}

// noteTokens remembers the tokens that replies have brought, and that they are
// above all earlier ones.
func (c *Comparison) noteTokens(replies []*space.Reply) error {
	var came []space.Token
	for _, reply := range replies {
		for i := range reply.Results {
			for _, e := range reply.Results[i].Entries {
				if e.Token != (space.Token{}) && !c.knows(e.Token) && !slices.Contains(came, e.Token) {
					came = append(came, e.Token)
				}
			}
		}
	}
	slices.SortFunc(came, func(a, b space.Token) int { return cmp.Compare(a.Number, b.Number) })
	for _, x := range came {
		if n := len(c.tokens); n > 0 && (x.Epoch < c.tokens[n-1].Epoch || x.Number <= c.tokens[n-1].Number) {
			return fmt.Errorf("token %v after %v", x, c.tokens[n-1])
		}
		c.tokens = append(c.tokens, x)
	}
	return nil
}

func (c *Comparison) knows(x space.Token) bool {
	i, ok := slices.BinarySearchFunc(c.tokens, x.Number, func(a space.Token, n space.Seq) int { return cmp.Compare(a.Number, n) })
	return ok && c.tokens[i] == x
}

// follow reads the changes made since the last call and rebuilds the content from
// them.
func (c *Comparison) follow() error {
	changes, err := c.first.Changelog().Read(nil, c.read, 1<<20)
	if err != nil {
		return err
	}
	for i := range changes {
		x := &changes[i]
		if x.Seq != c.read+1 {
			return fmt.Errorf("change %d follows %d", x.Seq, c.read)
		}
		c.read = x.Seq
		if x.Txn != c.Model.Txn(x.Seq) {
			return fmt.Errorf("change %+v is of transaction %v", x, c.Model.Txn(x.Seq))
		}
		if err := c.fold(x); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) fold(x *space.Change) error {
	k := place{x.Space, string(x.Key)}
	old, existed := c.content[k]
	made := space.Entry{Key: x.Key, Value: x.Value, Kind: x.Kind, Version: x.Seq, Order: x.Order, Deadline: x.Deadline, Attempts: x.Attempts}
	ok := true
	switch x.Op {
	case space.Written:
		ok = !existed && x.Previous == 0
		c.content[k] = made
	case space.Updated:
		ok = existed && old.Version == x.Previous
		c.content[k] = made
	case space.Removed:
		ok = existed && old.Version == x.Previous
		delete(c.content, k)
	case space.Claimed:
		ok = existed && !old.Claimed && old.Version == x.Previous && len(x.Value) == 0
		old.Claimed = true
		c.content[k] = old
	case space.Released:
		ok = existed && old.Claimed && old.Version == x.Previous
		c.content[k] = made
	}
	if !ok {
		return fmt.Errorf("change %+v over %s", x, FormatEntry(old))
	}
	return nil
}

// Content compares what can be read with the model, and with what the changes
// make of nothing.
func (c *Comparison) Content() error {
	entries := 0
	for id := range c.Model.spaces {
		seen := map[string]space.Entry{}
		var order uint64
		var disorder error
		c.first.Scan(id, 0, func(e space.Entry) bool {
			if e.Order <= order {
				disorder = fmt.Errorf("order %d after %d", e.Order, order)
			}
			order = e.Order
			seen[string(e.Key)] = e
			return disorder == nil
		})
		if disorder != nil {
			return disorder
		}
		for _, want := range c.Model.Entries(id) {
			got, code := c.first.Get(id, want.Key)
			if want.Claimed {
				if code != space.CodeNotFound {
					return fmt.Errorf("claimed entry %q of space %d can be read", want.Key, id)
				}
				got, code = seen[string(want.Key)], space.OK
			}
			folded := c.content[place{id, string(want.Key)}]
			if code != space.OK || FormatEntry(got) != FormatEntry(want) || FormatEntry(folded) != FormatEntry(want) {
				return fmt.Errorf("entry %q of space %d: there is %s (%v), by the changes %s, in the model %s",
					want.Key, id, FormatEntry(got), code, FormatEntry(folded), FormatEntry(want))
			}
			entries++
		}
	}
	if len(c.content) != entries {
		return fmt.Errorf("%d entries by the changes, %d in the model", len(c.content), entries)
	}
	return nil
}

// FormatReply returns a reply in one line, with all that it says.
func FormatReply(r *space.Reply) string {
	b := fmt.Appendf(nil, "%v failed %d clock %d seq %d epoch %d", r.Code, r.Failed, r.Clock, r.Seq, r.Epoch)
	for i := range r.Results {
		x := &r.Results[i]
		b = fmt.Appendf(b, " [%v v%d n%d", x.Code, x.Version, x.Count)
		for _, e := range x.Entries {
			b = append(b, ' ')
			b = append(b, FormatEntry(e)...)
		}
		b = append(b, ']')
	}
	return string(b)
}

// FormatEntry returns an entry in one line, with all that it says.
func FormatEntry(e space.Entry) string {
	return fmt.Sprintf("{%s=%x k%d v%d o%d d%d a%d %v %v}", e.Key, e.Value, e.Kind, e.Version, e.Order, e.Deadline, e.Attempts, e.Claimed, e.Token)
}
