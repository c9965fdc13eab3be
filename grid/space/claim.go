package space

import (
	"encoding/binary"
	"maps"
	"time"

	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

const (
	// maxClaims bounds the claims of one partition, delays after a nack
	// included: each costs some hundred bytes on every replica. Beyond it claims
	// are refused with CodeFull.
	maxClaims = 1 << 18

	// MaxClaimLease is the longest that a claim may be asked to last, and a nack
	// to delay: who needs longer extends the claim as it goes. A longer one is
	// refused rather than cut, since its holder could not know.
	MaxClaimLease = maxHorizon
)

// claim is why an entry is hidden: somebody holds it, or gave it back with a
// delay that still lasts. Claims are kept by number, the Seq of the change that
// made them.
type claim struct {
	epoch Epoch
	space ID
	order uint64 // of the entry
	until Time   // the claim, or the delay, ends by itself
	// delayed says that the holder has given the entry back: its token is worth
	// nothing any more.
	delayed bool
	// counted says that the end of the claim counts as an attempt.
	counted bool
}

// claims is the table of a partition. It holds no pointer per claim.
type claims struct {
	byNumber  cutMap[Seq, claim]
	deadlines pairtree.Tree // (until, number)
	// values are what entries become when a delay ends, by number: of those that
	// were given back with mutations.
	values cutMap[Seq, []byte]
}

func newClaims() *claims {
	return &claims{byNumber: newCutMap[Seq, claim](spreadNumber), values: newCutMap[Seq, []byte](spreadNumber)}
}

// set adds a claim or replaces it.
func (t *claims) set(number Seq, c claim) {
	if old, ok := t.byNumber.get(number); ok {
		t.deadlines.Delete(uint64(old.until), uint64(number))
	}
	t.byNumber.set(number, c)
	t.deadlines.Insert(uint64(c.until), uint64(number))
}

func (t *claims) remove(number Seq) {
	c, ok := t.byNumber.get(number)
	if !ok {
		panic("space: a claim ends twice")
	}
	t.deadlines.Delete(uint64(c.until), uint64(number))
	t.byNumber.remove(number)
	t.values.remove(number)
}

// due returns the claim that ends next if it has ended by now.
func (t *claims) due(now Time) (Seq, bool) {
	until, number, ok := t.deadlines.Min()
	return Seq(number), ok && Time(until) <= now
}

// drop ends all claims in a space that is gone.
func (t *claims) drop(id ID) {
	for number, c := range t.byNumber.all() {
		if c.space == id {
			t.remove(number)
		}
	}
}

// frozenClaims is the table of an image.
type frozenClaims struct {
	byNumber frozenMap[Seq, claim]
	values   frozenMap[Seq, []byte]
}

func (t *claims) freeze() frozenClaims {
	return frozenClaims{byNumber: t.byNumber.freeze(), values: t.values.freeze()}
}

// Flags of an encoded claim.
const (
	claimDelayed = 1 << iota
	claimCounted
	claimValue
	claimFlags
)

// each calls fn with the binary form of every claim, by number.
func (t *frozenClaims) each(fn func(appendTo func([]byte) []byte)) {
	values := maps.Collect(t.values.sorted(compareNumbers))
	for number, c := range t.byNumber.sorted(compareNumbers) {
		value, changed := values[number]
		fn(func(dst []byte) []byte { return c.append(dst, number, value, changed) })
	}
}

func (c *claim) append(dst []byte, number Seq, value []byte, changed bool) []byte {
	flags := boolByte(c.delayed)*claimDelayed | boolByte(c.counted)*claimCounted | boolByte(changed)*claimValue
	for _, v := range []uint64{uint64(number), uint64(c.epoch), uint64(c.space), c.order, uint64(c.until)} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = append(dst, flags)
	if changed {
		dst = appendBytes(dst, value)
	}
	return dst
}

// claim reads what append wrote. The value aliases the decoder's bytes.
func (d *decoder) claim() (number Seq, c claim, value []byte) {
	number = Seq(d.uvarint())
	c.epoch, c.space, c.order, c.until = Epoch(d.uvarint()), ID(d.uvarint()), d.uvarint(), Time(d.uvarint())
	flags := d.u8()
	c.delayed, c.counted = flags&claimDelayed != 0, flags&claimCounted != 0
	if flags&claimValue != 0 {
		if value = d.bytes(); value == nil {
			value = []byte{}
		}
	}
	if flags >= claimFlags || number == 0 || c.until < 0 || !c.delayed && flags != 0 {
		d.fail()
	}
	return number, c, value
}

// claimUntil returns when a claim of a space ends that asks for a time.
func (p *Partition) claimUntil(def *Definition, lease time.Duration) (Time, Code) {
	if lease == 0 {
		lease = def.ClaimLease
	}
	if lease == 0 {
		lease = DefaultClaimLease
	}
	if lease < 0 || lease > MaxClaimLease {
		return 0, CodeInvalid
	}
	return p.clock.Add(lease), OK
}
