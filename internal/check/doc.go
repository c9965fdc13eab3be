// Package check judges what clients have recorded of a run against what the grid
// promises them:
//
//   - [Registers]: the operations on a key are linearizable.
//   - [Sets]: what was added is there for everybody from then on, once.
//   - [Takes], [Waits]: an entry that was written is handed out once, and nobody who
//     waits for one is left waiting.
//   - [Claims]: a queue of claims loses nothing, finishes nothing twice, keeps the
//     order of its groups and hears no holder whose claim is over.
//   - [Bank]: a transaction is seen as a whole and made once.
//   - [Lists]: transactions are strictly serializable. [Cycle] is what tells.
//   - [Leases]: an entry lives as long as it was lent, and does not come back.
//   - [Streams]: watchers are told every change once, in order, and the same.
//
// A checker is a function of a recorded history: what each client asked for, what
// it was answered, and what was there at the end. It knows nothing of how the grid
// works, so that it cannot share a mistake with it. Requests without an answer
// stay open to the end: a history is bad only if it is bad whatever became of
// them, and what can be told neither way is counted as such and never as passed.
// An operation lies between its call and its return, both included: two of which
// one begins in the moment in which the other ends are at the same time.
//
// It does not run anything. All but Registers look at each event once: keys,
// elements and values are never used twice, so that what a client has seen says who
// wrote it. Registers searches for an order that explains a history, for a bounded
// time.
package check

import (
	"fmt"
	"slices"
)

// Outcome is what a client knows of a request of its own.
type Outcome uint8

// The outcomes. A client that dies leaves requests whose outcome is the zero one.
const (
	Unknown Outcome = iota // there was no answer
	Done                   // it took effect
	Refused                // it had none
)

var outcomes = []string{"unknown", "done", "refused"}

// String returns the word that histories have for it.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(b []byte) error {
	i := slices.Index(outcomes, string(b))
	if i < 0 {
		return fmt.Errorf("check: %q is no outcome: unknown, done or refused", b)
	}
	*o = Outcome(i)
	return nil
}

// maxComplaints bounds the complaints of a verdict: people read a few, and counts
// have them all.
const maxComplaints = 20

// complaints are a verdict's findings in words.
type complaints []string

func (c *complaints) addf(format string, args ...any) {
	if len(*c) < maxComplaints {
		*c = append(*c, fmt.Sprintf(format, args...))
	}
}
