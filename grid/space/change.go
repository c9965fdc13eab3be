package space

import "encoding/binary"

// ChangeOp says what a change did.
type ChangeOp uint8

// The kinds of a change. The numbers are part of stored formats.
const (
	Written ChangeOp = 1 // a new entry; Order is new
	Updated ChangeOp = 2 // an entry got a new value or lease; Previous is its version before
	Removed ChangeOp = 3 // an entry is gone; Value is empty, Cause says why
	Defined ChangeOp = 4 // a space was created or altered; Value is its definition
	Dropped ChangeOp = 5 // a space and all its entries are gone
	// Claimed hides an entry and Released shows it again. A sink that keeps
	// entries passes over the first, since a claim does not outlive the grid,
	// and takes the second for an update.
	Claimed  ChangeOp = 6 // Value is empty
	Released ChangeOp = 7 // as Updated
)

// String returns the word used in events.
func (o ChangeOp) String() string {
	switch o {
	case Written:
		return "written"
	case Updated:
		return "updated"
	case Removed:
		return "removed"
	case Defined:
		return "defined"
	case Dropped:
		return "dropped"
	case Claimed:
		return "claimed"
	case Released:
		return "released"
	}
	return "unknown"
}

// Cause says why an entry was removed.
type Cause uint8

// The causes of a removal.
const (
	NoCause   Cause = iota
	Deleted         // by key, without asking for the entry
	Taken           // handed to a taker
	Expired         // its lease ended
	Cleared         // the space was cleared
	Exhausted       // moved to the dead-letter space after its last attempt
)

// String returns the word used in events, "" for NoCause.
func (c Cause) String() string {
	switch c {
	case Deleted:
		return "deleted"
	case Taken:
		return "taken"
	case Expired:
		return "expired"
	case Cleared:
		return "cleared"
	case Exhausted:
		return "exhausted"
	}
	return ""
}

// Change is one committed change of visible content, as every sink and every
// subscriber gets it. Applied in the order of Seq, changes rebuild the content
// of the partition: a change carries resulting values, never deltas.
type Change struct {
	Seq      Seq
	Op       ChangeOp
	Cause    Cause
	Kind     Kind
	Space    ID
	Previous Seq    // version of the entry before the change; 0 if there was none
	Order    uint64 // of the entry
	Deadline Time   // end of the entry's lease
	At       Time   // partition clock when it was applied
	// More counts the changes of the same command that follow. A reader who
	// must not show half a command stops only where More is 0.
	More  int
	Key   []byte // aliases memory that never changes
	Value []byte
	// Before is the value before the change in spaces of fields: nil if there
	// was none, or if the space is of another shape.
	Before   []byte
	Attempts int   // claims of the entry that ended without an ack, after the change
	Txn      TxnID // the transaction over several partitions that the change is part of, or zero
}

// Flags beside the cause of an encoded change.
const (
	changeBefore   = 1 << 7
	changeAttempts = 1 << 6
	changeTxn      = 1 << 5
)

// Append appends the binary form of c, which DecodeChange reads.
func (c *Change) Append(dst []byte) []byte {
	flags := byte(c.Cause)
	if c.Before != nil {
		flags |= changeBefore
	}
	if c.Attempts != 0 {
		flags |= changeAttempts
	}
	if c.Txn != (TxnID{}) {
		flags |= changeTxn
	}
	dst = append(dst, byte(c.Op)<<4|byte(c.Kind), flags)
	dst = binary.AppendUvarint(dst, uint64(c.Seq))
	dst = binary.AppendUvarint(dst, uint64(c.Space))
	dst = binary.AppendUvarint(dst, uint64(c.Previous))
	dst = binary.AppendUvarint(dst, c.Order)
	dst = binary.AppendUvarint(dst, uint64(c.Deadline))
	dst = binary.AppendUvarint(dst, uint64(c.At))
	dst = binary.AppendUvarint(dst, uint64(c.More))
	dst = appendBytes(dst, c.Key)
	dst = appendBytes(dst, c.Value)
	if c.Before != nil {
		dst = appendBytes(dst, c.Before)
	}
	if c.Attempts != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Attempts))
	}
	if flags&changeTxn != 0 {
		dst = appendTxnID(dst, c.Txn)
	}
	return dst
}

// DecodeChange reads one change and returns the bytes after it. The change
// aliases b.
func DecodeChange(b []byte) (Change, []byte, error) {
	d := decoder{b: b}
	c := d.change()
	if d.failed {
		return Change{}, nil, &CorruptError{What: "change"}
	}
	return c, d.b, nil
}

func (d *decoder) change() (c Change) {
	ok := d.u8()
	c.Op, c.Kind = ChangeOp(ok>>4), Kind(ok&15)
	flags := d.u8()
	c.Cause = Cause(flags &^ (changeBefore | changeAttempts | changeTxn))
	c.Seq = Seq(d.uvarint())
	c.Space = ID(d.uvarint())
	c.Previous = Seq(d.uvarint())
	c.Order = d.uvarint()
	c.Deadline = Time(d.uvarint())
	c.At = Time(d.uvarint())
	c.More = int(min(d.uvarint(), 1<<31))
	c.Key = d.bytes()
	c.Value = d.bytes()
	if flags&changeBefore != 0 {
		c.Before = d.bytes()
	}
	if flags&changeAttempts != 0 {
		c.Attempts = int(min(d.uvarint(), MaxAttempts))
	}
	if flags&changeTxn != 0 {
		c.Txn = d.txnID()
	}
	if c.Op < Written || c.Op > Released || c.Kind > KindFields || c.Deadline < 0 || c.At < 0 {
		d.fail()
	}
	return c
}
