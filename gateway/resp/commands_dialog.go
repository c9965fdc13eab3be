package resp

import (
	"context"
	"errors"
	"strconv"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// dialogBatch is the most operations that a pipeline gathers before they are
	// sent: enough to share their cost, few enough to bound the replies held.
	dialogBatch = 1024
	// dialogKeep is the most pending replies whose memory is kept between pipelines.
	dialogKeep = 4096
)

// dialog is a session with what its commands gather: a batch of operations and,
// for each command, how to reply once the batch has run.
//
// Arguments of commands alias the connection's buffer, so nothing of a dialog
// but watches, which are copied, outlives one Serve.
type dialog struct {
	commands *Commands
	session  *Session
	out      *Writer
	ctx      context.Context

	batch   *grid.Batch
	pending []pending
	// reads holds the slots of keys that the batch looks up beside its commands,
	// and of hashes that it may leave empty: a later command that writes one of
	// them has to wait for the batch.
	reads slotSet
	// emptied are hashes that lost their last field, to be removed.
	emptied []emptied
	// spaces caches the space of each database, as of a version of the cluster.
	spaces struct {
		version uint64
		ids     [Databases]space.ID
	}
	watched []watched
	// exec is set while the commands of a transaction are staged.
	exec *transaction
	keys [][]byte // scratch
}

// pending is a command whose operations are in the batch.
type pending struct {
	reply func(d *dialog, p *pending)
	at    int // place of its first operation
	n     int // number of its operations
	c     Command
	text  string
}

// emptied is a hash that a command left without fields. It owns its key.
type emptied struct {
	space space.ID
	key   []byte
}

func newDialog(h *Commands, s *Session) *dialog {
	return &dialog{commands: h, session: s, out: s.Out}
}

// take carries one command out, or gathers it.
func (d *dialog) take(c Command) {
	spec, refusal := d.commands.table.Resolve(c)
	if spec == nil {
		if d.session.Queue != nil {
			d.session.Queue.Failed = true
		}
		d.refuse(refusal)
		return
	}
	if !d.session.Authenticated() && spec.Flags&NoAuth == 0 {
		d.refuse("NOAUTH Authentication required.")
		return
	}
	a, ok := d.commands.actions[spec]
	if !ok {
		d.refuse("ERR '" + spec.Name + "' is not supported")
		return
	}
	stepwise := a.alone != nil && (a.stage == nil || a.stepwise(c))
	switch {
	case d.session.Queue != nil && !a.direct:
		d.queue(c, spec, stepwise)
	case stepwise:
		d.flush()
		a.alone(d, c)
	case a.local != nil:
		d.flush()
		a.local(d, c)
	default:
		if spec.Flags&Write != 0 && d.reads.any() && d.readsOneOf(spec, c) || d.batch != nil && d.batch.Len() >= dialogBatch {
			d.flush()
		}
		a.stage(d, c)
	}
}

// readsOneOf reports whether the batch looks up one of the keys of a command.
func (d *dialog) readsOneOf(spec *Spec, c Command) bool {
	d.keys = spec.AppendKeys(d.keys[:0], c)
	for _, key := range d.keys {
		if d.reads.has(space.Slot(key)) {
			return true
		}
	}
	return false
}

// flush runs the batch and writes the replies that are pending.
func (d *dialog) flush() {
	if len(d.pending) == 0 {
		return
	}
	if d.batch != nil {
		d.run(d.batch)
	}
	d.answer()
	d.tidy()
}

// answer writes the pending replies and empties the batch.
func (d *dialog) answer() {
	for i := range d.pending {
		d.pending[i].reply(d, &d.pending[i])
	}
	clear(d.pending)
	d.pending = d.pending[:0]
	if cap(d.pending) > dialogKeep {
		d.pending = nil
	}
	if d.batch != nil {
		d.batch.Reset()
	}
	d.reads.clear()
}

// tidy removes hashes that have lost their last field, unless somebody has set
// one since. Until then, and if that fails, they are invisible to every command
// that reads.
func (d *dialog) tidy() {
	if len(d.emptied) == 0 {
		return
	}
	found, take := d.commands.grid.NewBatch(), d.commands.grid.NewBatch()
	for _, e := range d.emptied {
		found.Get(e.space, e.key)
	}
	d.run(found)
	for at, e := range d.emptied {
		if r, err := found.Result(at); err == nil && isEmptyHash(&r.Entries[0]) {
			take.Do(space.Op{Code: space.OpTake, Space: e.space, Key: e.key, Match: r.Entries[0].Version})
		}
	}
	d.emptied = d.emptied[:0]
	d.run(take)
}

// run carries out a batch that is not atomic.
func (d *dialog) run(b *grid.Batch) {
	if b.Len() == 0 {
		return
	}
	if err := d.commands.grid.Run(d.ctx, b); err != nil {
		panic("resp: a batch that is not atomic is refused: " + err.Error())
	}
}

// then adds a reply for the command whose operations begin at a place.
func (d *dialog) then(c Command, at, n int, reply func(*dialog, *pending)) *pending {
	d.pending = append(d.pending, pending{reply: reply, at: at, n: n, c: c})
	return &d.pending[len(d.pending)-1]
}

// refuse adds an error reply, in its place among the pending ones.
func (d *dialog) refuse(text string) {
	if len(d.pending) == 0 && d.exec == nil {
		d.error(text)
		return
	}
	d.pending = append(d.pending, pending{text: text, reply: func(d *dialog, p *pending) { d.error(p.text) }})
}

// answerOK is the reply of commands whose first operation says all.
func (d *dialog) answerOK(p *pending) {
	for i := range p.n {
		if _, err := d.result(p.at + i); err != nil {
			d.fail(err)
			return
		}
	}
	d.out.OK()
}

// get adds a read of a key of the selected database and returns its place.
func (d *dialog) get(key []byte) int {
	if err := checkKey(key); err != nil {
		return d.current().Refuse(err)
	}
	id, err := d.spaceOf(d.session.DB())
	if err != nil {
		return d.current().Refuse(err)
	}
	if d.exec != nil {
		return d.exec.do(d, space.Op{Code: space.OpRead, Space: id, Key: key})
	}
	d.reads.add(space.Slot(key))
	return d.current().Get(id, key)
}

// do adds an operation on a key of the selected database, which is made if it
// does not exist, and returns its place.
func (d *dialog) do(op space.Op) int {
	if err := checkKey(op.Key); err != nil {
		return d.current().Refuse(err)
	}
	id, err := d.makeSpace(op)
	if err != nil {
		return d.current().Refuse(err)
	}
	op.Space = id
	if d.exec != nil {
		return d.exec.do(d, op)
	}
	return d.current().Do(op)
}

func (d *dialog) current() *grid.Batch {
	if d.batch == nil {
		d.batch = d.commands.grid.NewBatch()
	}
	return d.batch
}

// checkKey reports keys that the grid does not have.
func checkKey(key []byte) error {
	switch {
	case len(key) == 0:
		return &space.Error{Code: space.CodeInvalid, Detail: "a key cannot be empty"}
	case len(key) > space.MaxKeyBytes:
		return &space.Error{Code: space.CodeTooLarge, Detail: "a key has at most " + strconv.Itoa(space.MaxKeyBytes) + " bytes"}
	}
	return nil
}

// databaseName returns the name of the space that a database is.
func databaseName(db int) string {
	if db == 0 {
		return grid.DefaultSpace
	}
	return "db" + strconv.Itoa(db)
}

// spaceOf returns the space of a database, or ErrNotFound if nothing was ever written
// to it; that is asked of the whole cluster, because this member may not have heard of
// it yet, and fails with ErrUnavailable if nobody answers.
func (d *dialog) spaceOf(db int) (space.ID, error) {
	state := d.commands.grid.Router().State()
	if d.spaces.version != state.Version {
		d.spaces.version, d.spaces.ids = state.Version, [Databases]space.ID{}
	}
	if id := d.spaces.ids[db]; id != 0 {
		return id, nil
	}
	def, err := d.commands.grid.Describe(d.ctx, databaseName(db))
	switch {
	case errors.Is(err, grid.ErrNoSpace):
		return 0, space.ErrNotFound
	case err != nil:
		return 0, err
	}
	d.spaces.ids[db] = def.ID
	return def.ID, nil
}

// makeSpace returns the space of the selected database for an operation that may
// need it to exist.
func (d *dialog) makeSpace(op space.Op) (space.ID, error) {
	id, err := d.spaceOf(d.session.DB())
	if !errors.Is(err, space.ErrNotFound) {
		return id, err
	}
	if op.Code != space.OpWrite && (op.Code != space.OpChange || op.Flags&space.FlagCreate == 0) {
		return 0, space.ErrNotFound
	}
	return d.createSpace(d.session.DB())
}

// absent answers for a database that spaceOf has no space of: as for an empty one if
// that is so, and with the error if nobody knows.
func (d *dialog) absent(err error, empty func()) {
	if errors.Is(err, space.ErrNotFound) {
		empty()
		return
	}
	d.fail(err)
}

func (d *dialog) createSpace(db int) (space.ID, error) {
	def, err := d.commands.grid.CreateSpace(d.ctx, space.Definition{Name: databaseName(db), Shape: space.ShapeAny})
	return def.ID, err
}

// result returns what became of an operation of the batch.
func (d *dialog) result(at int) (space.Result, error) { return d.batch.Result(at) }

// entry returns what a read found; ok is false if there is nothing. A hash
// without fields is nothing.
func (d *dialog) entry(at int) (e space.Entry, ok bool, err error) {
	e, err = d.batch.Entry(at)
	switch {
	case err == nil:
		return e, !isEmptyHash(&e), nil
	case isNotFound(err):
		return space.Entry{}, false, nil
	}
	return space.Entry{}, false, err
}

func isNotFound(err error) bool { return errors.Is(err, space.ErrNotFound) }

// isEmptyHash reports whether an entry is a hash that lost its last field and is
// about to be removed.
func isEmptyHash(e *space.Entry) bool {
	const emptyMap = 0x80
	return e.Kind == space.KindFields && len(e.Value) == 1 && e.Value[0] == emptyMap
}

// lookup reads one key by itself.
func (d *dialog) lookup(key []byte) (e space.Entry, ok bool, err error) {
	b := d.current()
	at := d.get(key)
	d.run(b)
	e, ok, err = d.entry(at)
	b.Reset()
	d.reads.clear()
	return e, ok, err
}

// one carries out one operation on a key by itself.
func (d *dialog) one(op space.Op) (space.Result, error) {
	b := d.current()
	at := d.do(op)
	d.run(b)
	r, err := b.Result(at)
	b.Reset()
	return r, err
}

// slotSet is a set of hash slots that is cheap to empty.
type slotSet struct {
	bits  []uint64 // nil until the first is added
	slots []uint16
}

func (s *slotSet) add(slot uint16) {
	if s.bits == nil {
		s.bits = make([]uint64, space.Slots/64)
	}
	if s.bits[slot/64]>>(slot%64)&1 == 0 {
		s.bits[slot/64] |= 1 << (slot % 64)
		s.slots = append(s.slots, slot)
	}
}

func (s *slotSet) any() bool { return len(s.slots) > 0 }

func (s *slotSet) has(slot uint16) bool {
	return int(slot/64) < len(s.bits) && s.bits[slot/64]>>(slot%64)&1 == 1
}

func (s *slotSet) clear() {
	for _, slot := range s.slots {
		s.bits[slot/64] = 0
	}
	s.slots = s.slots[:0]
}
