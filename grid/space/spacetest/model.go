package spacetest

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Model is the state machine of a partition written the obvious way: it carries a
// command out on a copy of everything and compares the copy with the original
// afterwards. It decodes every value, scans for every template and keeps no
// index, no log and no snapshot. What it answers is what a partition has to
// answer, to the byte.
//
// It leaves out what a partition does besides answering: limits on tables and on
// what a search examines, trimming, sinks, and letting answers go that nobody
// asks for any more.
type Model struct {
	history  space.History
	seq      space.Seq
	clock    space.Time
	epoch    space.Epoch
	spaces   map[space.ID]*table
	answered map[commandID]kept
	waits    waits
	txns     transactions
}

// table is a space of the model. Its maps may be shared with copies of it, so
// they are changed by its methods only.
type table struct {
	def       space.Definition
	entries   map[string]space.Entry
	nextOrder uint64
	claims    map[space.Seq]claim
	shared    bool // the maps belong to a copy as well
}

type commandID struct {
	session  space.SessionID
	sequence uint64
}

type kept struct {
	reply   space.Reply
	attempt uint8
}

// NewModel returns a model without spaces that begins a history.
func NewModel(h space.History) *Model {
	return &Model{history: h, spaces: map[space.ID]*table{}, answered: map[commandID]kept{}, txns: newTransactions()}
}

// Seq returns the number of the last change.
func (m *Model) Seq() space.Seq { return m.seq }

// Definition returns the definition of a space, and whether there is one.
func (m *Model) Definition(id space.ID) (space.Definition, bool) {
	s := m.spaces[id]
	if s == nil {
		return space.Definition{}, false
	}
	return s.def.Clone(), true
}

// Entry returns the entry under a key, claimed ones included, and whether there
// is one.
func (m *Model) Entry(id space.ID, key []byte) (space.Entry, bool) {
	s := m.spaces[id]
	if s == nil {
		return space.Entry{}, false
	}
	e, ok := s.entries[string(key)]
	return e, ok
}

// Entries returns the entries of a space in their order, claimed ones included.
func (m *Model) Entries(id space.ID) []space.Entry {
	s := m.spaces[id]
	if s == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(s.entries), func(a, b space.Entry) int { return cmp.Compare(a.Order, b.Order) })
}

// copySpaces returns spaces that can be changed while m's stay as they are.
func (m *Model) copySpaces() map[space.ID]*table {
	c := make(map[space.ID]*table, len(m.spaces))
	for id, s := range m.spaces {
		c[id] = s.clone()
	}
	return c
}

// clone returns a copy. Which of the two changes first gets maps of its own.
func (s *table) clone() *table {
	s.shared = true
	c := *s
	return &c
}

func (s *table) own() {
	if s.shared {
		s.entries, s.claims, s.shared = maps.Clone(s.entries), maps.Clone(s.claims), false
	}
}

func (s *table) put(key string, e space.Entry) {
	s.own()
	s.entries[key] = e
}

func (s *table) remove(key string) {
	s.own()
	delete(s.entries, key)
}

func (s *table) claim(number space.Seq, c claim) {
	s.own()
	s.claims[number] = c
}

func (s *table) unclaim(number space.Seq) {
	s.own()
	delete(s.claims, number)
}

// expire removes what is past its deadline. Each removal is a change of its own;
// the model does not care in which order several of them happen, so the tests
// look at the number of the last change only.
func (m *Model) expire() {
	m.endClaims()
	for _, s := range m.spaces {
		for k, e := range s.entries {
			if m.past(e) && !e.Claimed && !m.txns.holds(s.def.ID, k) {
				s.remove(k)
				m.seq++
			}
		}
	}
}

// Apply carries a command out at a moment of the partition clock and returns the
// reply. It keeps no part of the command but its byte slices, which must not
// change. Of a command that came before it returns the answer that it kept.
func (m *Model) Apply(now space.Time, c *space.Command) space.Reply {
	m.waits.granted = nil
	m.clock = max(m.clock, now)
	key := commandID{c.Session, c.Sequence}
	if c.Session != 0 {
		if c.History != m.history {
			return m.reply(space.CodeHistory)
		}
		if a, ok := m.answered[key]; ok && !(a.reply.Code == space.CodeAborted && c.Attempt > a.attempt) {
			return a.reply
		}
		if c.Deadline <= m.clock {
			return m.reply(space.CodeLate)
		}
	}
	m.lapse()
	m.expire()
	m.txns.forget(m.clock)
	m.serve()
	r := m.run(c)
	if c.Ops[0].Wait != 0 {
		r = m.wait(c, r)
	}
	if c.Session != 0 {
		m.answered[key] = kept{r, c.Attempt}
	}
	m.serve()
	return r
}

func (m *Model) reply(code space.Code) space.Reply {
	return space.Reply{Code: code, Failed: -1, Clock: m.clock, Seq: m.seq, Epoch: m.epoch}
}

func (m *Model) run(c *space.Command) space.Reply {
	switch c.Ops[0].Code {
	case space.OpEpoch:
		m.epoch++
		return m.reply(space.OK)
	case space.OpTick:
		return m.reply(space.OK)
	}
	if c.Ops[0].Code == space.OpCancel && len(c.Ops) == 1 {
		return m.cancel(c)
	}
	if c.Ops[0].Code >= space.OpDecide && c.Ops[0].Code <= space.OpFinish {
		return m.step(c)
	}
	if c.Ops[0].Code == space.OpDefine {
		return m.define(&c.Ops[0])
	}
	if mayWait(c) && reserves(&c.Ops[0]) {
		return m.hand(c.Session, c.Ops[0])
	}
	before := m.spaces
	m.spaces = m.copySpaces()
	var touched []place
	results := make([]space.Result, len(c.Ops))
	for i := range c.Ops {
		keep := m.copySpaces()
		results[i] = space.Result{Code: space.CodeInvalid}
		if !mayWait(c) && (c.Ops[i].Wait != 0 || reserves(&c.Ops[i])) {
		} else if r, done := m.inTxn(c, i); done {
			results[i] = r
		} else {
			results[i] = conditioned(&c.Ops[i], keep, m.op(&c.Ops[i], &touched))
		}
		if results[i].Code == space.OK {
			continue
		}
		m.spaces = keep
		if !c.Independent {
			m.spaces = before
			for j := range results {
				if j != i {
					results[j] = space.Result{Code: space.CodeAborted}
				}
			}
			r := m.reply(space.CodeAborted)
			r.Failed, r.Results = i, results
			return r
		}
	}
	if c.Ops[0].Code == space.OpPrepare {
		m.prepare(c, before, touched, results)
	} else {
		m.number(c, before, touched, results)
	}
	r := m.reply(space.OK)
	r.Results = results
	return r
}

type place struct {
	space space.ID
	key   string
}

// unnumbered marks an entry that the running command has written.
const unnumbered = space.Seq(1 << 62)

// number gives every entry that differs from before its version, in the order
// in which the command first touched them, and fills it into the results.
func (m *Model) number(c *space.Command, before map[space.ID]*table, touched []place, results []space.Result) {
	seen := map[place]bool{}
	for _, k := range touched {
		s := m.spaces[k.space]
		if seen[k] || s == nil {
			continue
		}
		seen[k] = true
		old, existed := before[k.space].entries[k.key]
		e, exists := s.entries[k.key]
		switch {
		case exists && e.Version == unnumbered:
			m.seq++
			e.Version = m.seq
			if existed {
				e.Order = old.Order
			} else {
				e.Order = s.nextOrder
				s.nextOrder++
			}
			s.put(k.key, e)
			m.txns.written = append(m.txns.written, version{k.space, e})
		case existed && !exists:
			m.seq++
		}
		m.numberClaim(k, c, results)
	}
	for i := range results {
		m.settle(&c.Ops[i], &results[i])
	}
}

// settle fills in the versions that a result could not know when it was made: an
// entry written by the command has one version, also where an operation of the
// same command saw it on the way.
func (m *Model) settle(o *space.Op, r *space.Result) {
	if r.Code != space.OK || m.spaces[o.Space] == nil {
		return
	}
	if o.Code == space.OpChangeMatch {
		for j := range r.Entries {
			r.Entries[j] = m.spaces[o.Space].entries[string(r.Entries[j].Key)]
		}
		return
	}
	final, exists := m.spaces[o.Space].entries[string(o.Key)]
	if r.Version == unnumbered {
		if r.Version = 0; exists {
			r.Version = final.Version
		}
	}
	for j := range r.Entries {
		if e := &r.Entries[j]; e.Version == unnumbered {
			e.Version = 0
			if exists && o.Code != space.OpTake {
				e.Version, e.Order = final.Version, final.Order
			}
		}
	}
}

func (m *Model) op(o *space.Op, touched *[]place) space.Result {
	if o.Code == space.OpRespond {
		return space.Result{Entries: []space.Entry{{Value: o.Value}}, Count: o.Limit}
	}
	if r, ok := m.claimOp(o, touched); ok {
		return r
	}
	s := m.spaces[o.Space]
	if s == nil {
		return space.Result{Code: space.CodeNoSpace}
	}
	switch o.Code {
	case space.OpTakeMatch, space.OpReadMatch:
		return m.match(s, o, touched)
	case space.OpChangeMatch:
		return m.changeMatch(s, o, touched)
	case space.OpClear:
		keys := slices.DeleteFunc(s.inOrder(), func(k string) bool {
			return m.txns.holds(o.Space, k) || !space.MatchesBoth(o.Template, o.Predicate, s.entries[k].Kind, s.entries[k].Value)
		})
		keys = keys[:min(len(keys), max(o.Limit, 1))]
		for _, k := range keys {
			*touched = append(*touched, place{o.Space, k})
			s.remove(k)
		}
		return space.Result{Count: len(keys)}
	}
	key := string(o.Key)
	if key == "" {
		return space.Result{Code: space.CodeInvalid}
	}
	if len(key) > space.MaxKeyBytes {
		return space.Result{Code: space.CodeTooLarge}
	}
	if o.Code == space.OpWrite && (s.def.Shape == space.ShapeFields && o.Kind != space.KindFields ||
		s.def.Shape == space.ShapeBytes && o.Kind != space.KindBytes) {
		return space.Result{Code: space.CodeWrongKind}
	}
	e, ok := s.entries[key]
	hidden := e.Claimed
	if hidden {
		e, ok = space.Entry{}, false
	}
	conflict := o.Match != 0 && (!ok || e.Version != o.Match)
	*touched = append(*touched, place{o.Space, key})
	if hidden && o.Code != space.OpRead && o.Code != space.OpCheck {
		return space.Result{Code: space.CodeClaimed}
	}
	switch o.Code {
	case space.OpWrite:
		return m.write(s, o, e, ok, conflict)
	case space.OpTake:
		switch {
		case !ok:
			return space.Result{Code: space.CodeNotFound}
		case conflict:
			return space.Result{Code: space.CodeConflict}
		}
		s.remove(key)
		if o.Flags&space.FlagReturn != 0 {
			return space.Result{Entries: []space.Entry{e}}
		}
		return space.Result{}
	case space.OpRenew:
		switch {
		case !ok:
			return space.Result{Code: space.CodeNotFound}
		case conflict:
			return space.Result{Code: space.CodeConflict}
		}
		e.Deadline, e.Version = m.deadline(s, o), unnumbered
		s.put(key, e)
		return space.Result{Version: unnumbered}
	case space.OpCheck:
		if o.Match == 0 && ok || conflict {
			return space.Result{Code: space.CodeConflict}
		}
		return space.Result{Version: e.Version}
	case space.OpRead:
		if !ok {
			return space.Result{Code: space.CodeNotFound}
		}
		return space.Result{Version: e.Version, Entries: []space.Entry{e}}
	case space.OpChange:
		return m.change(s, o, e, ok, conflict)
	}
	return space.Result{Code: space.CodeInvalid}
}

func (m *Model) deadline(s *table, o *space.Op) space.Time {
	lease := o.Lease
	if lease == 0 {
		lease = s.def.Lease
	}
	if lease <= 0 {
		return space.Never
	}
	return m.clock + space.Time(lease)
}

func (m *Model) write(s *table, o *space.Op, e space.Entry, ok, conflict bool) space.Result {
	switch {
	case m.txns.guarded(o.Space, space.Entry{Kind: o.Kind, Value: o.Value}):
		return space.Result{Code: space.CodeLocked}
	case o.Mode == space.ModeInsert && ok:
		return space.Result{Code: space.CodeExists}
	case o.Mode == space.ModeUpdate && !ok:
		return space.Result{Code: space.CodeNotFound}
	case conflict:
		return space.Result{Code: space.CodeConflict}
	}
	r := space.Result{Version: unnumbered}
	if ok && o.Flags&space.FlagReturn != 0 {
		r.Entries = []space.Entry{e}
	}
	n := space.Entry{Key: o.Key, Value: o.Value, Kind: o.Kind, Version: unnumbered, Order: e.Order, Deadline: m.deadline(s, o), Attempts: e.Attempts}
	if ok && o.Flags&space.FlagKeepLease != 0 {
		n.Deadline = e.Deadline
	}
	s.put(string(o.Key), n)
	return r
}

func (m *Model) change(s *table, o *space.Op, e space.Entry, ok, conflict bool) space.Result {
	switch {
	case !ok && o.Flags&space.FlagCreate == 0:
		return space.Result{Code: space.CodeNotFound}
	case conflict:
		return space.Result{Code: space.CodeConflict}
	}
	if !ok {
		e = space.Entry{Key: o.Key, Kind: o.Kind, Deadline: m.deadline(s, o)}
	}
	if e.Kind == space.KindFields && len(e.Value) == 0 {
		e.Value = encode(map[string]any{})
	}
	value, count, code := Mutate(e.Kind, e.Value, o.Mutations)
	if code != space.OK {
		return space.Result{Code: code}
	}
	if s.def.Shape == space.ShapeFields && e.Kind != space.KindFields || s.def.Shape == space.ShapeBytes && e.Kind != space.KindBytes {
		return space.Result{Code: space.CodeWrongKind}
	}
	r := space.Result{Version: unnumbered, Count: count}
	e.Value = value
	if m.txns.guarded(o.Space, e) {
		return space.Result{Code: space.CodeLocked}
	}
	e.Version = unnumbered
	s.put(string(o.Key), e)
	if o.Flags&space.FlagReturn != 0 {
		r.Entries = []space.Entry{e}
	}
	return r
}

func (m *Model) match(s *table, o *space.Op, touched *[]place) space.Result {
	var tmpl map[string]any
	if len(o.Template) > 0 {
		tmpl = decode(o.Template).(map[string]any)
	}
	var r space.Result
	for _, k := range s.inOrder() {
		if len(r.Entries) == max(o.Limit, 1) {
			break
		}
		e := s.entries[k]
		if m.past(e) && !m.txns.holds(o.Space, k) {
			continue // it goes with the next command
		}
		if !fits(tmpl, e) || !space.MatchesBoth(nil, o.Predicate, e.Kind, e.Value) {
			continue
		}
		if o.Code == space.OpTakeMatch && !s.eligible(e) || o.Code != space.OpReadMatch && m.txns.holds(o.Space, k) {
			continue
		}
		r.Entries = append(r.Entries, e)
	}
	if len(r.Entries) == 0 {
		return space.Result{Code: space.CodeNotFound}
	}
	if o.Code == space.OpTakeMatch {
		for _, e := range r.Entries {
			*touched = append(*touched, place{o.Space, string(e.Key)})
			s.remove(string(e.Key))
		}
	}
	return r
}

func fits(tmpl map[string]any, e space.Entry) bool {
	if len(tmpl) == 0 {
		return true
	}
	if e.Kind != space.KindFields {
		return false
	}
	fields := decode(e.Value).(map[string]any)
	for k, v := range tmpl {
		if got, ok := fields[k]; !ok || !reflect.DeepEqual(got, v) {
			return false
		}
	}
	return true
}

// inOrder returns the keys of the entries that can be seen.
func (s *table) inOrder() []string {
	keys := slices.SortedFunc(maps.Keys(s.entries), func(a, b string) int {
		return cmp.Compare(s.entries[a].Order, s.entries[b].Order)
	})
	return slices.DeleteFunc(keys, func(k string) bool { return s.entries[k].Claimed })
}

func decode(b []byte) any {
	v, err := msgp.Decode(b)
	if err != nil {
		panic(err)
	}
	return v
}

func encode(v any) []byte {
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		panic(err)
	}
	return b
}
