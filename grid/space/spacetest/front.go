package spacetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Front is whatever offers spaces to users: a library, a door, a partition. The
// suite calls it from one goroutine but for takes that wait, which run beside
// other requests.
//
// Do returns an error that is one of package space's to errors.Is, ErrNotFound and
// the like, if a request was refused, and ErrNotOffered if the front has no way to
// say what is asked.
type Front interface {
	// Define creates a space. The name of the definition is the space's; its ID is
	// not looked at, and DeadLetter is said by deadLetter, the name of a space that
	// was defined before, or "".
	Define(ctx context.Context, def space.Definition, deadLetter string) error
	Do(ctx context.Context, r Request) (Response, error)
}

// Repeater is a front that can send a request twice, as one that has lost the
// answer does.
type Repeater interface {
	Repeat(ctx context.Context, r Request) (first, second Response, err error)
}

// ErrNotOffered says that a front has no way to say what is asked.
var ErrNotOffered = errors.New("spacetest: not offered by this front")

// Verb is what a request asks for.
type Verb string

// The verbs. With a Key they are about the entry under it, otherwise about the
// first Limit entries that pass Template and Where.
const (
	Write     Verb = "write"     // Fields, or Bytes, under Key
	Read      Verb = "read"      // return entries
	Take      Verb = "take"      // return entries and remove them
	Change    Verb = "change"    // apply Mutations and return what the entries have become
	Claim     Verb = "claim"     // return entries with tokens and hide them for Lease
	Ack       Verb = "ack"       // of Token: remove the entry under Key
	Nack      Verb = "nack"      // of Token: show the entry under Key again, after Lease, changed by Mutations
	Extend    Verb = "extend"    // of Token: the claim ends Lease from now
	Count     Verb = "count"     // the number of entries that pass
	Aggregate Verb = "aggregate" // Columns over the entries that pass, a row for each value of GroupBy
)

// Request is what a user asks of a space.
type Request struct {
	Verb     Verb
	Space    string
	Key      string
	Template map[string]any // every field named must be present and equal; empty matches all
	Where    string         // a predicate; with a Key, a condition on the entry
	Limit    int            // 0 is 1

	Fields   map[string]any
	Bytes    []byte // written if Fields is nil
	IfAbsent bool   // Write
	// IfPresent is of Write; Create, of Change, begins with an entry without
	// fields if there is none.
	IfPresent, Create bool
	Version           space.Seq     // required of the entry; 0 is any
	Lease             time.Duration // 0 is the space's default
	Wait              time.Duration // Take, Claim: for an entry to come
	Mutations         []Mutation
	Token             string
	Uncounted         bool // Nack: it was no attempt
	Columns           []string
	GroupBy           string
}

// Mutation is one change of a field, named as in [MutationCode].
type Mutation struct {
	Op       string // set, unset, default, add, append, push, insert, remove, lowest, highest
	Path     string // names with dots in between
	Value    any
	Min, Max any // of add; nil is no bound
}

// Response is what came of a request.
type Response struct {
	Entries []Entry
	Version space.Seq // of the entry that was written or changed, if it is one
	Count   int64
	Rows    []map[string]any
}

// Entry is an entry as a user sees it.
type Entry struct {
	Key      string
	Fields   map[string]any // nil: Bytes counts
	Bytes    []byte
	Version  space.Seq // 0 if the front does not tell
	Attempts int       // of an entry that was claimed
	Token    string    // of a claim
}

var mutationCodes = map[string]space.MutationCode{
	"set": space.MutSet, "unset": space.MutUnset, "default": space.MutDefault, "add": space.MutAdd, "append": space.MutAppend,
	"push": space.MutPush, "insert": space.MutInsert, "remove": space.MutRemove, "lowest": space.MutLowest, "highest": space.MutHighest,
}

// Encode returns the mutation as the state machine takes it.
func (m *Mutation) Encode() (space.Mutation, error) {
	steps, err := predicate.SplitPath(m.Path)
	if err != nil {
		return space.Mutation{}, refused(err)
	}
	out := space.Mutation{Code: mutationCodes[m.Op], Field: steps[0], Path: steps[1:]}
	for _, x := range []struct {
		to    *[]byte
		value any
	}{{&out.Arg, m.Value}, {&out.Min, m.Min}, {&out.Max, m.Max}} {
		if x.value == nil && (x.to != &out.Arg || m.Op == "unset") {
			continue
		}
		if *x.to, err = msgp.AppendValue(nil, x.value); err != nil {
			return out, refused(err)
		}
	}
	if out.Code == space.MutAdd && msgp.KindOf(out.Arg) == msgp.Float {
		out.Code = space.MutAddFloat
	}
	if text, ok := m.Value.(string); ok && out.Code == space.MutAppend {
		out.Arg = []byte(text)
	}
	return out, nil
}

// Op returns the request as the state machine takes it, and ErrNotOffered for what
// is no operation there: counts and aggregates.
func (r *Request) Op(id space.ID) (o space.Op, err error) {
	o = space.Op{
		Space: id, Limit: r.Limit, Match: r.Version, Lease: r.Lease, Wait: r.Wait, Flags: space.FlagReturn,
	}
	byKey := r.Key != ""
	if byKey {
		o.Key = []byte(r.Key)
	}
	switch r.Verb {
	case Write:
		o.Code, o.Flags, o.Value = space.OpWrite, 0, r.Bytes
	case Read:
		o.Code, o.Flags = either(byKey, space.OpRead, space.OpReadMatch), 0
	case Take:
		o.Code, o.Flags = either(byKey, space.OpTake, space.OpTakeMatch), either(byKey, space.FlagReturn, 0)
	case Change:
		o.Code, o.Kind = either(byKey, space.OpChange, space.OpChangeMatch), space.KindFields
	case Claim:
		o.Code, o.Flags = either(byKey, space.OpClaim, space.OpClaimMatch), 0
	case Ack, Nack, Extend:
		o = space.Op{Code: map[Verb]space.OpCode{Ack: space.OpAck, Nack: space.OpNack, Extend: space.OpExtend}[r.Verb], Lease: r.Lease}
		if o.Token, err = space.ParseToken(r.Token); err != nil {
			return o, err
		}
	default:
		return o, ErrNotOffered
	}
	if r.IfAbsent {
		o.Mode = space.ModeInsert
	}
	if r.IfPresent {
		o.Mode = space.ModeUpdate
	}
	if r.Create {
		o.Flags |= space.FlagCreate
	}
	if r.Uncounted {
		o.Flags |= space.FlagUncounted
	}
	err = r.encode(&o)
	return o, err
}

func either[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// encode fills in what is made of values and texts.
func (r *Request) encode(o *space.Op) (err error) {
	if r.Fields != nil {
		o.Kind = space.KindFields
		if o.Value, err = msgp.AppendValue(nil, r.Fields); err != nil {
			return refused(err)
		}
	}
	if len(r.Template) > 0 {
		if o.Template, err = msgp.AppendValue(nil, r.Template); err != nil {
			return refused(err)
		}
	}
	if r.Where != "" {
		p, err := predicate.Parse(r.Where)
		if err != nil {
			return refused(err)
		}
		o.Predicate = p.Append(nil)
	}
	for i := range r.Mutations {
		m, err := r.Mutations[i].Encode()
		if err != nil {
			return err
		}
		o.Mutations = append(o.Mutations, m)
	}
	return nil
}

// refused makes the error of a value or a text that the grid does not take.
func refused(err error) error {
	if errors.Is(err, msgp.ErrTooLarge) {
		return &space.Error{Code: space.CodeTooLarge, Detail: err.Error()}
	}
	return &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
}

// EntryOf returns an entry of the state machine as a user sees it.
func EntryOf(e *space.Entry) Entry {
	x := Entry{Key: string(e.Key), Version: e.Version, Attempts: e.Attempts}
	if e.Token != (space.Token{}) {
		x.Token = e.Token.String()
	}
	if e.Kind == space.KindBytes {
		x.Bytes = slices.Clone(e.Value)
		return x
	}
	x.Fields = decode(e.Value).(map[string]any)
	return x
}

// String returns what a user sees of an entry but for its version and token.
func (e Entry) String() string {
	if e.Fields == nil {
		return fmt.Sprintf("%s=%q", e.Key, e.Bytes)
	}
	value, err := msgp.AppendValue(nil, e.Fields)
	if err != nil {
		return fmt.Sprintf("%s=%v (%v)", e.Key, e.Fields, err)
	}
	text, err := msgp.AppendJSON(nil, value)
	if err != nil {
		return fmt.Sprintf("%s=%x (%v)", e.Key, value, err)
	}
	return e.Key + "=" + string(text)
}

// CodeOf returns the code of a refusal, OK for nil, and false for an error that is
// none: the outcome is not known, or nobody took the request.
func CodeOf(err error) (space.Code, bool) {
	if err == nil {
		return space.OK, true
	}
	if e, ok := errors.AsType[*space.Error](err); ok {
		return e.Code, true
	}
	return 0, false
}
