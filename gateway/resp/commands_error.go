package resp

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Texts of Redis that clients look at.
const (
	textWrongType     = "WRONGTYPE Operation against a key holding the wrong kind of value"
	textNotInteger    = "ERR value is not an integer or out of range"
	textNotFloat      = "ERR value is not a valid float"
	textOverflow      = "ERR increment or decrement would overflow"
	textNotFinite     = "ERR increment would produce NaN or Infinity"
	textSyntax        = "ERR syntax error"
	textCrossSlot     = "CROSSSLOT Keys in request don't hash to the same slot"
	textTooLarge      = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	textIndeterminate = "INDETERMINATE The outcome is unknown: the command may have taken effect. Read to find out."
	textUnavailable   = "CLUSTERDOWN The cluster is down: nobody could take the command up in time. It had no effect."
	textTryAgain      = "TRYAGAIN Others kept changing the same keys. The command had no effect."
)

// errorText returns the reply for an error of the grid. What may have taken
// effect is never reported as a failure.
func errorText(err error) string {
	var refused *space.Error
	var condition *form.ConditionError
	switch {
	case errors.Is(err, grid.ErrIndeterminate):
		return textIndeterminate
	case errors.Is(err, grid.ErrUnavailable):
		return textUnavailable
	case errors.Is(err, grid.ErrCrossPartition):
		return textCrossSlot
	case errors.As(err, &condition):
		if condition.Hint != "" {
			return "ERR " + condition.Error() + " (" + condition.Hint + ")"
		}
		return "ERR " + condition.Error()
	case errors.As(err, &refused):
		return refusalText(refused)
	}
	return "ERR " + err.Error()
}

// refusalTexts are the replies for refusals that clients branch on.
var refusalTexts = map[space.Code]string{
	space.CodeUnmet:      "UNMET The condition on the entry does not hold. Nothing was changed.",
	space.CodeRange:      "OUTOFRANGE A number would leave its bounds, or an array has no such position. Nothing was changed.",
	space.CodeFenced:     "FENCED The claim of this token has ended. Somebody else may have the entry: drop the work.",
	space.CodeClaimed:    "CLAIMED A claim hides the entry. Wait for its holder, or for the claim to end.",
	space.CodeCancelled:  "CANCELLED The wait was ended.",
	space.CodeLocked:     "TRYAGAIN A transaction that is being decided holds the entry. The command had no effect.",
	space.CodeTrimmed:    "TRYAGAIN What happened since the read is not known any more. The command had no effect.",
	space.CodeFull:       "TRYAGAIN A table of waiting commands, claims or transactions is full. The command had no effect.",
	space.CodeUnprepared: "TRYAGAIN Nothing is prepared for the transaction. The command had no effect.",
}

func refusalText(e *space.Error) string {
	switch e.Code {
	case space.CodeWrongKind:
		return textWrongType
	case space.CodeTooLarge:
		if e.Detail == "" {
			return textTooLarge
		}
	case space.CodeBusy:
		return "TRYAGAIN Too many commands of this member are not settled yet. The command had no effect."
	case space.CodeConflict:
		return "CONFLICT The entry has another version."
	case space.CodeScanRefused:
		return "SCANREFUSED No index serves the template: declare one on its fields, or say ALLOWSCAN."
	case space.CodeNoSpace:
		if e.Detail == "" {
			return "NOSPACE No such space."
		}
		return "NOSPACE " + e.Detail
	}
	if text, ok := refusalTexts[e.Code]; ok {
		return text
	}
	text := e.Code.String()
	if e.Detail != "" {
		text = e.Detail
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return "ERR " + text
}

// fail writes the error reply for an error of the grid.
func (d *dialog) fail(err error) { d.error(errorText(err)) }

// error writes an error reply and counts it.
func (d *dialog) error(text string) {
	d.commands.errors.count(text)
	d.out.Error(text)
}

// errorKinds bounds the words that errors are counted by: there are a few dozen.
const errorKinds = 64

// errorCounts counts error replies by their first word, for INFO.
type errorCounts struct {
	mu sync.Mutex
	by map[string]int64
}

func (e *errorCounts) count(text string) {
	word, _, _ := strings.Cut(text, " ")
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by = map[string]int64{}
	}
	if _, known := e.by[word]; known || len(e.by) < errorKinds {
		e.by[word]++
	}
}

// errorCount is how often a word began an error reply.
type errorCount struct {
	word  string
	times int64
}

// list returns the counts by word.
func (e *errorCounts) list() []errorCount {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := make([]errorCount, 0, len(e.by))
	for word, times := range e.by {
		counts = append(counts, errorCount{word, times})
	}
	slices.SortFunc(counts, func(a, b errorCount) int { return strings.Compare(a.word, b.word) })
	return counts
}

func (e *errorCounts) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.by)
}
