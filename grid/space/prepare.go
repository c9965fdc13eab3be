package space

import (
	"bytes"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// prepared is what the operations of one command come to before any of it is in
// force: one effect for each entry touched. It is scratch, reused by Apply.
type prepared struct {
	command Command // decoded by ApplyBytes
	effects []effect
	byKey   map[effectKey]int // position in effects; filled once there are many
	results []Result
	made    []int // for each operation the effect whose version it reports, or -1
	granted []grantedToken
	held    []claimEdit
	values  []byte // backing of values that mutations computed
	// returned counts the bytes of the entries in results.
	returned int
	mutated  int // bytes that mutations went through
	searches int // operations that search so far
	checked  int // changes and prepared entries that they went through
	edits    []msgp.FieldEdit
	reply    []byte
	// preparing is set while the operations behind an OpPrepare are prepared;
	// txn tags the changes of the transaction that is being finished.
	preparing bool
	txn       TxnID
}

// effect is one entry as the command leaves it.
type effect struct {
	space   *entries
	old     arena.Record // valid if existed
	existed bool
	exists  bool
	hidden  bool  // by a claim, made before or by the command
	dirty   bool  // the command wrote, renewed, released or removed it
	cause   Cause // of the removal, if it does not exist any more
	entry   Entry // Version is unnumbered from the first write of the command until it is installed

	ends     Seq   // the claim that the command ends, or 0
	released bool  // the command shows the entry again
	claimed  Time  // the end of the claim that the command makes, or 0
	token    Token // of that claim, once installed
}

// unnumbered stands for the version of an entry that the command has written:
// the change that makes it has no number before the command is installed.
const unnumbered Seq = 1 << 63

type effectKey struct {
	space *entries
	key   string
}

// fewEffects is how many effects are searched one by one before a map pays.
const fewEffects = 8

func (e *effect) real() bool { return e.dirty && (e.existed || e.exists) }

// changes returns how many changes the effect comes to.
func (e *effect) changes() int {
	n := 0
	if e.real() {
		n++
	}
	if e.claimed != 0 {
		n++
	}
	return n
}

// is reports whether the entry exists with the given version, untouched so far.
func (e *effect) is(v Seq) bool { return e.exists && !e.dirty && e.entry.Version == v }

func (e *effect) version() Seq {
	if !e.exists {
		return 0
	}
	return e.entry.Version
}

func (e *effect) before() Seq {
	if !e.existed {
		return 0
	}
	return Seq(e.old.Version())
}

func (e *effect) write(kind Kind, value []byte) {
	e.entry.Kind, e.entry.Value, e.entry.Version = kind, value, unnumbered
	e.exists, e.dirty, e.cause = true, true, NoCause
}

func (e *effect) remove(cause Cause) {
	e.exists, e.dirty, e.cause = false, true, cause
	e.entry.Value, e.entry.Deadline, e.entry.Version, e.entry.Attempts = nil, Never, 0, 0
}

// touch returns the effect for a key, as reach does, unless a claim hides the
// entry.
func (p *Partition) touch(sp *entries, key []byte) (*effect, int, Code) {
	e, n, code := p.reach(sp, key)
	if code == OK && e.hidden {
		return nil, -1, CodeClaimed
	}
	return e, n, code
}

// reach returns the effect for a key, beginning with the entry as it is stored,
// hidden or not, and its position. An entry past its deadline is expired on the
// spot: that stands whatever becomes of the command.
func (p *Partition) reach(sp *entries, key []byte) (*effect, int, Code) {
	if len(key) == 0 {
		return nil, -1, CodeInvalid
	}
	if len(key) > MaxKeyBytes {
		return nil, -1, CodeTooLarge
	}
	pr := &p.prep
	if i := pr.index(sp, key); i >= 0 {
		return &pr.effects[i], i, OK
	}
	e := effect{space: sp, entry: Entry{Key: key}}
	if r, ok := sp.table.Get(key); ok {
		if p.gone(sp, r) {
			p.expireEntry(sp, r)
		} else {
			e.old, e.existed, e.exists, e.entry, e.hidden = r, true, true, entryOf(r), isHidden(r)
			e.entry.Claimed = false // hidden says it
		}
	}
	i := len(pr.effects)
	pr.effects = append(pr.effects, e)
	if pr.byKey != nil {
		pr.byKey[effectKey{sp, string(key)}] = i
	} else if i+1 > fewEffects {
		pr.byKey = make(map[effectKey]int, 4*fewEffects)
		for j := range pr.effects {
			pr.byKey[effectKey{pr.effects[j].space, string(pr.effects[j].entry.Key)}] = j
		}
	}
	return &pr.effects[i], i, OK
}

func (pr *prepared) index(sp *entries, key []byte) int {
	if pr.byKey != nil {
		if i, ok := pr.byKey[effectKey{sp, string(key)}]; ok {
			return i
		}
		return -1
	}
	for i := range pr.effects {
		if pr.effects[i].space == sp && bytes.Equal(pr.effects[i].entry.Key, key) {
			return i
		}
	}
	return -1
}

func (pr *prepared) find(sp *entries, key []byte) *effect {
	if len(pr.effects) == 0 {
		return nil
	}
	if i := pr.index(sp, key); i >= 0 {
		return &pr.effects[i]
	}
	return nil
}

// list makes the entries of a result and counts their bytes.
func (pr *prepared) list(es ...Entry) []Entry {
	for i := range es {
		pr.returned += len(es[i].Key) + len(es[i].Value)
	}
	return es
}

// returns reports whether an operation puts entries into the reply.
func (o *Op) returns() bool {
	switch o.Code {
	case OpRead, OpTakeMatch, OpReadMatch, OpRespond, OpClaim, OpClaimMatch:
		return true
	case OpWrite, OpTake, OpChange, OpChangeMatch:
		return o.Flags&FlagReturn != 0
	}
	return false
}

// searches reports whether an operation finds its entries by what they are.
func (o *Op) searches() bool {
	switch o.Code {
	case OpTakeMatch, OpReadMatch, OpClaimMatch, OpChangeMatch, OpClear, OpCheckMatch:
		return true
	}
	return false
}

// room returns how many entries an operation that searches may still touch, at
// most as many as it asks for.
func (pr *prepared) room(o *Op) int {
	return min(max(o.Limit, 1), max(0, maxTouched-len(pr.effects)))
}

// settle fills in the versions and orders that the installed effects got. An
// entry that the command itself has written has one version, also where an
// operation of the command saw it on the way.
func (pr *prepared) settle() {
	for i := range pr.results {
		r := &pr.results[i]
		n := pr.made[i]
		made := pr.left(n)
		if r.Version == unnumbered {
			r.Version = made.Version
		}
		for j := range r.Entries {
			e := &r.Entries[j]
			if e.Version != unnumbered {
				continue
			}
			if n >= 0 && len(r.Entries) > 1 { // several entries of one space
				made = pr.left(pr.index(pr.effects[n].space, e.Key))
			}
			e.Version, e.Order = made.Version, max(made.Order, e.Order)
		}
	}
}

// left returns the entry as the effect at n leaves it: zero if there is no such
// effect, or if the command removed the entry again.
func (pr *prepared) left(n int) Entry {
	if n < 0 || !pr.effects[n].exists {
		return Entry{}
	}
	return pr.effects[n].entry
}

// discard forgets what an aborted command of n operations prepared: its results
// say only which operation failed and why.
func (pr *prepared) discard(n, failed int) {
	code := pr.results[failed].Code
	pr.results = pr.results[:0]
	for range n {
		pr.results = append(pr.results, Result{Code: CodeAborted})
	}
	pr.results[failed].Code = code
}

// maxScratch and maxScratchEdits bound the buffers that are kept from one command
// to the next.
const (
	maxScratch      = 1 << 20
	maxScratchEdits = 256
)

func (pr *prepared) reset() {
	clear(pr.effects)
	clear(pr.results)
	clear(pr.held)
	pr.granted, pr.held = pr.granted[:0], pr.held[:0]
	pr.preparing, pr.txn = false, TxnID{}
	pr.effects, pr.results, pr.made, pr.byKey, pr.returned = pr.effects[:0], pr.results[:0], pr.made[:0], nil, 0
	pr.mutated, pr.searches, pr.checked = 0, 0, 0
	if cap(pr.edits) > maxScratchEdits {
		pr.edits = nil
	}
	clear(pr.edits[:cap(pr.edits)])
	// Values of the last command may be referred to by nobody now: entries and
	// changes were copied on install, replies when they were encoded.
	pr.values = pr.values[:0]
	if cap(pr.values) > maxScratch {
		pr.values = nil
	}
	if cap(pr.reply) > maxScratch {
		pr.reply = nil
	}
}

func emptyValue(kind Kind) []byte {
	if kind == KindFields {
		return []byte{0x80}
	}
	return []byte{}
}

// checkValue reports whether a space takes values of a kind and size.
func checkValue(def *Definition, kind Kind, size int) Code {
	switch {
	case size > MaxValueBytes:
		return CodeTooLarge
	case def.Shape == ShapeFields && kind != KindFields, def.Shape == ShapeBytes && kind != KindBytes:
		return CodeWrongKind
	}
	return OK
}
