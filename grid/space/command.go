package space

import (
	"encoding/binary"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Command is what a client or the grid asks of one partition. Its operations
// are validated first and take effect together.
//
// A command of a client carries History, Session, Sequence and Deadline, all
// fixed at its first attempt and equal in every repeat, so that it takes effect
// at most once however often it is sent.
type Command struct {
	History  History   // the partition's history as the client knows it
	Session  SessionID // 0: a command of the grid itself, not repeated
	Sequence uint64    // from 1, counted by the client for each partition
	Acked    uint64    // every sequence number below it is settled: its answer may go
	Deadline Time      // on the partition clock; refused when it has passed
	// Attempt tells proposals for one request apart whose operations differ: a
	// handler that is run again because what it read had changed. A repeat whose
	// kept answer is an abort of a lower attempt is applied; any other repeat
	// gets the kept answer. FinalAttempt closes the request for good.
	Attempt uint8
	// Independent lets operations fail one by one: a failed one has no effect
	// and the others take effect all the same. Otherwise one failure aborts all.
	Independent bool
	Ops         []Op
}

// FinalAttempt is the attempt that no other can follow.
const FinalAttempt = 255

// OpCode says what an operation does.
type OpCode uint8

// Operations of clients. The numbers are part of the log format.
const (
	OpWrite     OpCode = 1  // Write Value under Key; with a condition only over an entry that meets it
	OpTake      OpCode = 2  // remove the entry under Key and return it
	OpTakeMatch OpCode = 3  // remove the first Limit entries that match Template and return them; with Wait and Txn only reserve them, for Lease
	OpChange    OpCode = 4  // apply Mutations to the entry under Key
	OpRenew     OpCode = 5  // grant a new lease from now on
	OpCheck     OpCode = 6  // fail unless the entry under Key has version Match (0: is absent, or with a condition any)
	OpRead      OpCode = 7  // return the entry under Key
	OpReadMatch OpCode = 8  // return the first Limit entries that match Template
	OpClear     OpCode = 9  // remove up to Limit entries, those that match if there is a filter
	OpRespond   OpCode = 10 // return Value and Limit: the response of a handler, kept with the answer

	OpClaim       OpCode = 11 // hide the entry under Key for Lease and return it
	OpClaimMatch  OpCode = 12 // hide the first Limit entries that match for Lease and return them
	OpAck         OpCode = 13 // remove the entry that was claimed under Token
	OpNack        OpCode = 14 // show the entry claimed under Token again, after Lease, changed by Mutations
	OpExtend      OpCode = 15 // the claim under Token ends Lease from now
	OpChangeMatch OpCode = 16 // apply Mutations to the first Limit entries that match
	OpCheckMatch  OpCode = 17 // fail if a change after Match made an entry match
	OpCancel      OpCode = 18 // end the waiting command of this session whose sequence is Target and whose deadline is this one's

	OpPrepare OpCode = 19 // first of a command: lock for Txn what the operations behind it touch
	OpDecide  OpCode = 20 // write the outcome of Txn, unless there is one, and return it
	OpFinish  OpCode = 21 // carry out or give up what was prepared for Txn
)

// Operations of the grid itself. They stand alone in commands without session.
const (
	OpEpoch  OpCode = 128 // a new leader's first command: epoch + 1; Value: the leader's wall clock
	OpTick   OpCode = 129 // expire leases and kept answers that are due
	OpTrim   OpCode = 130 // Value: floor and watermarks
	OpDefine OpCode = 131 // Value: a definition; creates the space or changes its indexes
	OpDrop   OpCode = 132 // drop Space with all its entries
	OpSink   OpCode = 133 // Value: a sink to add or change; without a name, to remove
)

// Mode narrows a write.
type Mode uint8

// The modes of a write.
const (
	ModeUpsert Mode = iota // insert or replace
	ModeInsert             // only if the key is absent: CodeExists otherwise
	ModeUpdate             // only if the key is present: CodeNotFound otherwise
)

// OpFlags modify an operation.
type OpFlags uint8

// The flags of an operation.
const (
	FlagReturn    OpFlags = 1 << iota // OpWrite: return the entry replaced; OpChange, OpChangeMatch: the entries made
	FlagKeepLease                     // OpWrite: an existing entry keeps its deadline
	FlagAllowScan                     // OpTakeMatch, OpReadMatch, OpChangeMatch: no limit on entries examined
	FlagCreate                        // OpChange: start from an empty value of kind Kind if the key is absent
	FlagUncounted                     // OpNack: the claim does not count as an attempt
	FlagCommit                        // OpDecide, OpFinish: the outcome is commit, otherwise abort
	FlagSettled                       // OpDecide: every participant has finished the commit; kept for Lease yet
)

// Forever as a lease asks for a lease without end, also in a space whose
// definition grants a shorter one by default.
const Forever time.Duration = -1

// Op is one operation of a command. Which fields count is said at the OpCode.
// The slices belong to the caller; Apply copies what it keeps.
type Op struct {
	Code      OpCode
	Mode      Mode
	Kind      Kind
	Flags     OpFlags
	Space     ID
	Limit     int           // OpTakeMatch, OpReadMatch, OpChangeMatch, OpClear: at most so many entries; 0 is 1
	Match     Seq           // OpWrite, OpTake, OpChange, OpRenew, OpClaim: required version, 0 is any
	Lease     time.Duration // OpWrite, OpRenew: 0 is the space's default; of a claim: see OpClaim to OpExtend
	Key       []byte
	Value     []byte     // OpWrite: canonical msgpack map for KindFields
	Template  []byte     // canonical msgpack map: every field named must be present and equal; where there is a Key, a condition
	Mutations []Mutation // OpChange, OpChangeMatch, OpNack, in order
	// Predicate narrows what Template matches. In an operation with a key both
	// are a condition on the entry under it: CodeUnmet if it does not hold,
	// CodeNotFound if there is no entry. It is the binary form of a
	// predicate.Predicate.
	Predicate []byte
	// Wait is how long OpTake, OpTakeMatch, OpClaim and OpClaimMatch wait for an
	// entry, on the partition clock; 0 does not wait. Such an operation stands
	// alone in a client's command.
	Wait  time.Duration
	Token Token // OpAck, OpNack, OpExtend
	// Target is, of OpCancel, a sequence of the session; of OpPrepare and
	// OpDecide, the moment on the home's clock from which on it does not commit.
	Target uint64
	Txn    TxnID       // OpPrepare, OpDecide, OpFinish; of OpTakeMatch: it reserves what it is granted
	Home   PartitionID // OpPrepare: the partition that decides
}

// Token is the proof of a claim. Tokens of a partition only grow, over failovers
// and cold starts, so that whatever a holder writes elsewhere can be fenced by
// them. The zero Token is none.
type Token struct {
	Epoch  Epoch
	Number Seq // of the change that made the claim
}

// TxnID names a transaction over several partitions: the session and a number
// that the session never uses again.
type TxnID struct {
	Session SessionID
	Number  uint64
}

// MutationCode says what a mutation does.
type MutationCode uint8

// The mutations. Field "" means the whole value of an entry of bytes, which takes
// MutSet to MutSetRange but for MutUnset. Values are compared as by msgp.Compare:
// numbers by what they amount to, so that 1 and 1.0 are equal.
const (
	MutSet      MutationCode = 1 // set Field to Arg (canonical msgpack; raw bytes for the whole value)
	MutUnset    MutationCode = 2 // remove Field; the elements behind an element move up
	MutDefault  MutationCode = 3 // set Field to Arg if it is absent
	MutAdd      MutationCode = 4 // add the integer Arg to an integer or to nothing; decimal text stays text
	MutAddFloat MutationCode = 5 // add the float Arg to a number or to nothing; decimal text stays text
	MutAppend   MutationCode = 6 // append the raw bytes Arg to a string or to bytes
	MutSetRange MutationCode = 7 // overwrite a string or bytes from Offset with the raw bytes Arg, zero-filling a gap

	MutPush    MutationCode = 8  // append Arg to an array, made if absent
	MutInsert  MutationCode = 9  // append Arg to an array unless it has an equal element
	MutRemove  MutationCode = 10 // remove the elements of an array that equal Arg
	MutLowest  MutationCode = 11 // set Field to Arg if it is absent or above it
	MutHighest MutationCode = 12 // set Field to Arg if it is absent or below it
)

// Mutation changes one field of an entry, or its whole value. Only the mutation
// is replicated; every replica computes the same result.
//
// Nil counts as absent, as it does in predicates: an element is pushed onto it, a
// number added to it, a path goes through it.
//
// With a Path it changes what the path leads to from Field on. Maps that are not
// there are made if the mutation puts something there, and if it does not the
// whole path counts as absent. A step into what is neither map nor array, or by
// a name into an array, is refused with CodeWrongKind, a position that an array
// does not have with CodeRange, a path or result nested too deep with
// CodeTooLarge.
type Mutation struct {
	Code   MutationCode
	Field  string   // a name as it is, dots included
	Path   []string // below Field: names in nested maps, positions in arrays as decimal text
	Offset uint32
	Arg    []byte // canonical msgpack, or raw bytes, as the code says
	// Min and Max, canonical numbers, bound the result of MutAdd and MutAddFloat:
	// beyond them the mutation is refused with CodeRange. nil is no limit.
	Min, Max []byte
}

const commandFormat = 1

// Presence bits of an encoded operation.
const (
	hasKey = 1 << iota
	hasValue
	hasTemplate
	hasMutations
	hasMatch
	hasLease
	hasLimit
	hasPredicate
	hasWait
	hasToken
	hasTxn
	hasTarget
	hasEnd
)

// Append appends the binary form of c, which DecodeCommand reads.
func (c *Command) Append(dst []byte) []byte {
	dst = append(dst, commandFormat)
	var flags byte
	if c.Session != 0 {
		flags |= 1
	}
	if c.Independent {
		flags |= 2
	}
	if c.Attempt != 0 {
		flags |= 4
	}
	dst = append(dst, flags)
	if c.Session != 0 {
		dst = append(dst, c.History[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Session))
		dst = binary.AppendUvarint(dst, c.Sequence)
		dst = binary.AppendUvarint(dst, c.Sequence-c.Acked)
		dst = binary.AppendVarint(dst, int64(c.Deadline))
	}
	if c.Attempt != 0 {
		dst = append(dst, c.Attempt)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Ops)))
	for i := range c.Ops {
		dst = c.Ops[i].append(dst)
	}
	return dst
}

func (o *Op) append(dst []byte) []byte {
	var has uint64
	set := func(bit uint64, present bool) {
		if present {
			has |= bit
		}
	}
	set(hasKey, o.Key != nil)
	set(hasValue, o.Value != nil)
	set(hasTemplate, o.Template != nil)
	set(hasMutations, len(o.Mutations) > 0)
	set(hasMatch, o.Match != 0)
	set(hasLease, o.Lease != 0)
	set(hasLimit, o.Limit != 0)
	set(hasPredicate, o.Predicate != nil)
	set(hasWait, o.Wait != 0)
	set(hasToken, o.Token != Token{})
	set(hasTxn, o.Txn != TxnID{})
	set(hasTarget, o.Target != 0)
	dst = append(dst, byte(o.Code))
	dst = binary.AppendUvarint(dst, has)
	dst = append(dst, byte(o.Mode)<<4|byte(o.Kind), byte(o.Flags))
	dst = binary.AppendUvarint(dst, uint64(o.Space))
	if has&hasKey != 0 {
		dst = appendBytes(dst, o.Key)
	}
	if has&hasValue != 0 {
		dst = appendBytes(dst, o.Value)
	}
	if has&hasTemplate != 0 {
		dst = appendBytes(dst, o.Template)
	}
	if has&hasMutations != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(o.Mutations)))
		for _, m := range o.Mutations {
			dst = m.append(dst)
		}
	}
	if has&hasMatch != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Match))
	}
	if has&hasLease != 0 {
		dst = binary.AppendVarint(dst, int64(o.Lease))
	}
	if has&hasLimit != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Limit))
	}
	if has&hasPredicate != 0 {
		dst = appendBytes(dst, o.Predicate)
	}
	if has&hasWait != 0 {
		dst = binary.AppendVarint(dst, int64(o.Wait))
	}
	if has&hasToken != 0 {
		dst = appendToken(dst, o.Token)
	}
	if has&hasTxn != 0 {
		dst = appendTxnID(dst, o.Txn)
		dst = binary.AppendUvarint(dst, uint64(o.Home))
	}
	if has&hasTarget != 0 {
		dst = binary.AppendUvarint(dst, o.Target)
	}
	return dst
}

func appendToken(dst []byte, t Token) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.Epoch))
	return binary.AppendUvarint(dst, uint64(t.Number))
}

func appendTxnID(dst []byte, t TxnID) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Session))
	return binary.AppendUvarint(dst, t.Number)
}

func (d *decoder) token() Token { return Token{Epoch: Epoch(d.uvarint()), Number: Seq(d.uvarint())} }

func (d *decoder) txnID() TxnID { return TxnID{Session: SessionID(d.u64()), Number: d.uvarint()} }

// DecodeCommand reads what Command.Append wrote into c, whose Ops are reused.
// The slices in c alias b.
func DecodeCommand(c *Command, b []byte) error {
	if len(b) > MaxCommandBytes {
		return &Error{Code: CodeTooLarge, Detail: "command", Hint: "split it"}
	}
	ops := c.Ops[:0]
	*c = Command{}
	d := decoder{b: b}
	if v := d.u8(); v != commandFormat {
		return &Error{Code: CodeInvalid, Detail: "command of an unknown format"}
	}
	flags := d.u8()
	c.Independent = flags&2 != 0
	if flags&1 != 0 {
		c.History = d.history()
		c.Session = SessionID(d.u64())
		c.Sequence = d.uvarint()
		c.Acked = c.Sequence - d.uvarint()
		c.Deadline = Time(d.varint())
		if c.Session == 0 || c.Sequence == 0 || c.Acked > c.Sequence {
			d.fail()
		}
	}
	if flags&4 != 0 {
		c.Attempt = d.u8()
	}
	const opMin = 5
	for range d.count(MaxOps, opMin) {
		ops = append(ops, d.op())
	}
	c.Ops = ops
	if flags > 7 || !d.done() {
		return &Error{Code: CodeInvalid, Detail: "malformed command"}
	}
	return nil
}

func (d *decoder) op() (o Op) {
	o.Code = OpCode(d.u8())
	has := d.uvarint()
	mk := d.u8()
	o.Mode, o.Kind = Mode(mk>>4), Kind(mk&15)
	o.Flags = OpFlags(d.u8())
	o.Space = ID(d.uvarint())
	if has&hasKey != 0 {
		o.Key = d.bytes()
	}
	if has&hasValue != 0 {
		o.Value = d.bytes()
	}
	if has&hasTemplate != 0 {
		o.Template = d.bytes()
	}
	if has&hasMutations != 0 {
		const mutationMin = 4
		for range d.count(MaxOps, mutationMin) {
			o.Mutations = append(o.Mutations, d.mutation())
		}
	}
	if has&hasMatch != 0 {
		o.Match = Seq(d.uvarint())
	}
	if has&hasLease != 0 {
		o.Lease = time.Duration(d.varint())
	}
	if has&hasLimit != 0 {
		o.Limit = int(min(d.uvarint(), MaxOps))
	}
	if has&hasPredicate != 0 {
		o.Predicate = d.bytes()
	}
	if has&hasWait != 0 {
		o.Wait = time.Duration(d.varint())
	}
	if has&hasToken != 0 {
		o.Token = d.token()
	}
	if has&hasTxn != 0 {
		o.Txn = d.txnID()
		o.Home = PartitionID(min(d.uvarint(), MaxPartitions))
	}
	if has&hasTarget != 0 {
		o.Target = d.uvarint()
	}
	if o.Mode > ModeUpdate || o.Kind > KindFields || has >= hasEnd {
		d.fail()
	}
	return o
}

// Presence bits of an encoded mutation, beside its code.
const (
	mutationPath   = 1 << 5
	mutationBounds = 1 << 6
)

func (m *Mutation) append(dst []byte) []byte {
	code := byte(m.Code)
	if len(m.Path) > 0 {
		code |= mutationPath
	}
	if m.Min != nil || m.Max != nil {
		code |= mutationBounds
	}
	dst = append(dst, code)
	dst = appendString(dst, m.Field)
	dst = binary.AppendUvarint(dst, uint64(m.Offset))
	dst = appendBytes(dst, m.Arg)
	if code&mutationPath != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(m.Path)))
		for _, step := range m.Path {
			dst = appendString(dst, step)
		}
	}
	if code&mutationBounds != 0 {
		dst = appendBytes(dst, m.Min)
		dst = appendBytes(dst, m.Max)
	}
	return dst
}

func (d *decoder) mutation() (m Mutation) {
	code := d.u8()
	m.Code = MutationCode(code &^ (mutationPath | mutationBounds))
	m.Field, m.Offset, m.Arg = d.string(), uint32(min(d.uvarint(), 1<<32-1)), d.bytes()
	if code&mutationPath != 0 {
		for range d.count(maxPathSteps, 1) {
			m.Path = append(m.Path, d.string())
		}
	}
	if code&mutationBounds != 0 {
		if b := d.bytes(); len(b) > 0 {
			m.Min = b
		}
		if b := d.bytes(); len(b) > 0 {
			m.Max = b
		}
	}
	return m
}

// maxPathSteps bounds how deep a mutation reaches below its field: the entry's
// map is the first of the containers that may enclose each other.
const maxPathSteps = msgp.MaxDepth - 1

// Trim is the payload of OpTrim: what every sink has, and how far the changelog
// may be dropped.
type Trim struct {
	Floor      Seq // changes at or below it may go
	Watermarks []Watermark
}

// Watermark is the highest Seq that a sink has made durable.
type Watermark struct {
	Sink SinkID
	Seq  Seq
}

// EpochCommand returns a new leader's first command for a partition. wall is the
// leader's wall clock in nanoseconds since 1970, by which doors convert the
// partition clock.
func EpochCommand(wall int64) Command {
	return system(Op{Code: OpEpoch, Value: binary.AppendVarint(nil, wall)})
}

// TickCommand returns the command that expires what is due at its stamp.
func TickCommand() Command { return system(Op{Code: OpTick}) }

// TrimCommand returns the command that raises watermarks and the floor.
func TrimCommand(t Trim) Command {
	b := binary.AppendUvarint(nil, uint64(t.Floor))
	b = binary.AppendUvarint(b, uint64(len(t.Watermarks)))
	for _, w := range t.Watermarks {
		b = binary.AppendUvarint(b, uint64(w.Sink))
		b = binary.AppendUvarint(b, uint64(w.Seq))
	}
	return system(Op{Code: OpTrim, Value: b})
}

// DefineCommand returns the command that brings a definition to a partition.
func DefineCommand(d *Definition) Command {
	return system(Op{Code: OpDefine, Space: d.ID, Value: appendDefinition(nil, d)})
}

// DropCommand returns the command that drops a space from a partition.
func DropCommand(id ID) Command { return system(Op{Code: OpDrop, Space: id}) }

// SinkCommand returns the command that brings a sink to a partition, or removes it
// if it has no name.
func SinkCommand(s Sink) Command {
	b := binary.AppendUvarint(nil, uint64(s.ID))
	b = appendString(b, s.Name)
	return system(Op{Code: OpSink, Value: append(b, boolByte(s.Required))})
}

func system(o Op) Command { return Command{Ops: []Op{o}} }

func (d *decoder) sink() Sink {
	return Sink{ID: SinkID(min(d.uvarint(), 1<<16-1)), Name: d.string(), Required: d.u8() == 1}
}

func (d *decoder) trim() (t Trim) {
	t.Floor = Seq(d.uvarint())
	for range d.count(MaxSinks, 2) {
		t.Watermarks = append(t.Watermarks, Watermark{Sink: SinkID(min(d.uvarint(), 1<<16-1)), Seq: Seq(d.uvarint())})
	}
	return t
}
