package datapump

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// MaxReasonBytes bounds the reason of a dead letter; a longer one is cut.
const MaxReasonBytes = 1024

var (
	// ErrNoLetter is returned when there is no such dead letter: it has been
	// settled meanwhile, or never was.
	ErrNoLetter = errors.New("datapump: there is no such dead letter (list them again)")
	// ErrParked is returned when a change that only waits is to be settled.
	ErrParked = errors.New("datapump: this change is not at fault, it waits for a dead letter of its key (settle that one)")
	// ErrSettled is returned by sinks, inside a *PartitionError, when a section
	// parks changes by an older Standing than the one in force: a dead letter has
	// been replayed or dropped meanwhile.
	ErrSettled = errors.New("datapump: dead letters were settled meanwhile (fence again)")
)

// RefusedError says that a sink refuses one change for good: a constraint, a
// value that a column cannot hold. Nothing of the batch was written. The pump
// makes a dead letter of it and goes on with the rest.
type RefusedError struct {
	Partition space.PartitionID
	// Seq of the change at fault; of an entry in a resync its version. 0 if the
	// sink cannot tell which one of the section it is: the pump finds out.
	Seq space.Seq
	Err error
}

// Error names the change and the reason.
func (e *RefusedError) Error() string {
	if e.Seq == 0 {
		return fmt.Sprintf("datapump: a change of partition %d is refused: %v", e.Partition, e.Err)
	}
	return fmt.Sprintf("datapump: change %d of partition %d is refused: %v", e.Seq, e.Partition, e.Err)
}

// Unwrap gives access to the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// DeadLetter is a change that did not go where it should, as a row of the sink's
// side table: because the sink has refused it for good, or because it waits for
// one that was refused. A command is dead-lettered whole, so that a sink never
// holds half a transaction.
type DeadLetter struct {
	Seq space.Seq
	// Parked says that the change is not at fault itself: it follows a dead
	// letter of its key, or is of one command with it.
	Parked bool
	Reason string // at most MaxReasonBytes
	Space  space.ID
	Key    []byte // empty: the change is of the space itself
	Change []byte // as space.Change.Append writes it
	Txn    space.TxnID
	At     time.Time // when it was dead-lettered, by the clock of the pump's member
}

// LetterID names a dead letter of a sink. Letters are ordered by partition, then
// by Seq.
type LetterID struct {
	Partition space.PartitionID
	Seq       space.Seq
}

// Letter is a dead letter where it rests.
type Letter struct {
	Partition space.PartitionID
	DeadLetter
}

// ID returns the name of the letter.
func (l *Letter) ID() LetterID { return LetterID{l.Partition, l.Seq} }

// DeadLetters is a Sink whose dead letters can be seen and settled. Settling
// raises Standing.Settled of the partition in the same transaction, so that a
// pump that does not know of it yet is refused with ErrSettled.
type DeadLetters interface {
	// List returns at most limit letters that come after the given one, parked
	// ones included; the zero LetterID comes before all.
	List(ctx context.Context, after LetterID, limit int) ([]Letter, error)
	// Replay applies the letter, and with it the rest of its command, then what
	// had waited for it, in order, and removes their rows. If the letter is
	// refused again, it stays, with the new reason, and the error is a
	// *RefusedError; a change that waited and is refused becomes a letter at fault
	// and keeps those that follow it waiting. It fails with ErrNoLetter and
	// ErrParked.
	Replay(ctx context.Context, id LetterID) error
	// Drop removes the letter for good, with the rest of its command, and applies
	// what had waited for it as Replay does.
	Drop(ctx context.Context, id LetterID) error
}

// Standing is how far a sink has come in a partition, and which keys it holds
// back.
type Standing struct {
	Seq space.Seq
	// Held are the keys that have a dead letter, in any order: later changes of
	// them are parked.
	Held []HeldKey
	// Settled counts how often dead letters of the partition were replayed or
	// dropped.
	Settled uint64
	// Letters and Parked count the rows of the side table: those at fault, and
	// those that wait.
	Letters, Parked uint64
}

// HeldKey is a key with a dead letter. An empty key holds the whole space back.
type HeldKey struct {
	Space space.ID
	Key   []byte
	First space.Seq // of the first of its letters
}

// hold is a held key as maps have it.
type hold struct {
	space space.ID
	key   string
}

// Hold takes a letter into account: letters are given in the order of Seq.
func (s *Standing) Hold(l *DeadLetter) {
	if l.Parked {
		s.Parked++
	} else {
		s.Letters++
	}
	s.Held = append(s.Held, HeldKey{l.Space, l.Key, l.Seq})
}

// Settlement is what follows from settling a dead letter.
type Settlement struct {
	Apply  []DeadLetter // to be applied, in this order
	Remove []space.Seq  // rows to be removed; all of Apply are among them
}

// Settle works out what follows from replaying or dropping the letter at seq.
// letters are all rows of the partition, in the order of Seq; they may be reused
// after the iteration has passed them, but for Key and Change. It fails with
// ErrNoLetter and ErrParked, and with a *space.CorruptError if a row's change
// does not decode.
func Settle(letters iter.Seq[DeadLetter], seq space.Seq, drop bool) (Settlement, error) {
	var s Settlement
	found := false
	held := map[hold]struct{}{}
	var command []DeadLetter
	for l := range letters {
		c, _, err := space.DecodeChange(l.Change)
		if err != nil {
			return Settlement{}, err
		}
		command = append(command, l)
		if c.More > 0 {
			continue // a command is dead-lettered whole: its rows follow each other
		}
		named, fault, waits := false, false, false
		for i := range command {
			named = named || command[i].Seq == seq
			fault = fault || !command[i].Parked
			waits = waits || isHeld(held, command[i].Space, command[i].Key)
		}
		switch {
		case named && !fault:
			return Settlement{}, ErrParked
		case !named && (fault || waits):
			for i := range command {
				held[hold{command[i].Space, string(command[i].Key)}] = struct{}{}
			}
			command = command[:0]
			continue
		}
		found = found || named
		for i := range command {
			s.Remove = append(s.Remove, command[i].Seq)
		}
		if !named || !drop {
			s.Apply = append(s.Apply, command...)
		}
		command = command[:0]
	}
	if !found {
		return Settlement{}, ErrNoLetter
	}
	return s, nil
}

// isHeld reports whether a key is held back, by itself or with its space.
func isHeld[V any](held map[hold]V, id space.ID, key []byte) bool {
	if _, ok := held[hold{id, string(key)}]; ok {
		return true
	}
	_, ok := held[hold{id, ""}]
	return ok
}
