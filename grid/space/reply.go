package space

import "encoding/binary"

// Entry is one entry as it is read. The slices alias memory that never changes
// while the holder keeps them; a holder must not change them either.
type Entry struct {
	Key      []byte
	Value    []byte // opaque, or a canonical msgpack map, as Kind says
	Kind     Kind
	Version  Seq    // the change that made it
	Order    uint64 // position by first write in its space and partition
	Deadline Time   // end of its lease on the partition clock; Never is forever
	Attempts int    // claims of it that ended without an ack
	Claimed  bool   // a claim hides it: only those who mirror a space see such entries
	Token    Token  // of the claim, in the answer to one
}

// Flags beside the kind of an encoded entry.
const (
	entryClaimed  = 1 << 7
	entryAttempts = 1 << 6
	entryToken    = 1 << 5
)

// Result is what came of one operation.
type Result struct {
	Code    Code
	Version Seq // OpWrite, OpChange, OpRenew: the version made; OpCheck, OpRead: the version found
	// Count is, of OpClear, the entries removed; of OpChangeMatch, the entries
	// changed; of OpRespond, its Limit. Of OpChange it is the fields and elements
	// that the mutations added or removed, one by one and in total: a field set
	// anew is one, whatever maps were made to hold it, a field replaced is none,
	// an element pushed is one, also into an array that was made for it.
	Count   int
	Entries []Entry // what was taken, claimed, read, or asked back by FlagReturn
}

// Reply is what came of a command. A repeated command has the reply of its
// first attempt, Clock included.
type Reply struct {
	// Code is OK when the command took effect: fully, or operation by operation
	// if it was independent. Otherwise nothing was changed.
	Code    Code
	Failed  int  // the operation that aborted the command, counted from 0; -1 if none
	Clock   Time // the partition clock after the command
	Seq     Seq  // the partition's last change after the command
	Epoch   Epoch
	Results []Result // one for each operation; empty if the command was refused as a whole
}

// Err returns the error of the reply, or nil. For an aborted command it is the
// error of the operation that failed.
func (r *Reply) Err() error {
	if r.Code == CodeAborted && r.Failed >= 0 && r.Failed < len(r.Results) {
		return r.Results[r.Failed].Code.Err()
	}
	return r.Code.Err()
}

// Append appends the binary form of r, which DecodeReply reads.
func (r *Reply) Append(dst []byte) []byte {
	dst = append(dst, byte(r.Code))
	dst = binary.AppendVarint(dst, int64(r.Failed))
	dst = binary.AppendVarint(dst, int64(r.Clock))
	dst = binary.AppendUvarint(dst, uint64(r.Seq))
	dst = binary.AppendUvarint(dst, uint64(r.Epoch))
	dst = binary.AppendUvarint(dst, uint64(len(r.Results)))
	for i := range r.Results {
		x := &r.Results[i]
		dst = append(dst, byte(x.Code))
		dst = binary.AppendUvarint(dst, uint64(x.Version))
		dst = binary.AppendUvarint(dst, uint64(x.Count))
		dst = binary.AppendUvarint(dst, uint64(len(x.Entries)))
		for j := range x.Entries {
			dst = AppendEntry(dst, &x.Entries[j])
		}
	}
	return dst
}

// AppendEntry appends the binary form of e, which DecodeEntry reads.
func AppendEntry(dst []byte, e *Entry) []byte {
	kind := byte(e.Kind)
	if e.Claimed {
		kind |= entryClaimed
	}
	if e.Attempts != 0 {
		kind |= entryAttempts
	}
	if e.Token != (Token{}) {
		kind |= entryToken
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(e.Version))
	dst = binary.AppendUvarint(dst, e.Order)
	dst = binary.AppendUvarint(dst, uint64(e.Deadline))
	dst = appendBytes(dst, e.Key)
	dst = appendBytes(dst, e.Value)
	if e.Attempts != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.Attempts))
	}
	if kind&entryToken != 0 {
		dst = appendToken(dst, e.Token)
	}
	return dst
}

// DecodeEntry reads one entry and returns the bytes after it. The entry aliases b.
func DecodeEntry(b []byte) (Entry, []byte, error) {
	d := decoder{b: b}
	e := d.entry()
	if d.failed {
		return Entry{}, nil, &CorruptError{What: "entry"}
	}
	return e, d.b, nil
}

func (d *decoder) entry() (e Entry) {
	kind := d.u8()
	e.Kind = Kind(kind &^ (entryClaimed | entryAttempts | entryToken))
	e.Claimed = kind&entryClaimed != 0
	e.Version = Seq(d.uvarint())
	e.Order = d.uvarint()
	e.Deadline = Time(d.uvarint())
	e.Key = d.bytes()
	e.Value = d.bytes()
	if kind&entryAttempts != 0 {
		e.Attempts = int(min(d.uvarint(), MaxAttempts))
	}
	if kind&entryToken != 0 {
		e.Token = d.token()
	}
	if e.Kind > KindFields || e.Deadline < 0 {
		d.fail()
	}
	return e
}

// DecodeReply reads what Reply.Append wrote. The reply aliases b.
func DecodeReply(b []byte) (Reply, error) {
	var r Reply
	d := decoder{b: b}
	r.Code = Code(d.u8())
	r.Failed = int(d.varint())
	r.Clock = Time(d.varint())
	r.Seq = Seq(d.uvarint())
	r.Epoch = Epoch(d.uvarint())
	const resultMin, entryMin = 4, 6
	if n := d.count(MaxOps, resultMin); n > 0 {
		r.Results = make([]Result, n)
	}
	for i := range r.Results {
		x := &r.Results[i]
		x.Code = Code(d.u8())
		x.Version = Seq(d.uvarint())
		x.Count = int(d.uvarint())
		if n := d.count(len(d.b), entryMin); n > 0 {
			x.Entries = make([]Entry, n)
		}
		for j := range x.Entries {
			x.Entries[j] = d.entry()
		}
	}
	if !d.done() {
		return Reply{}, &CorruptError{What: "reply"}
	}
	return r, nil
}
