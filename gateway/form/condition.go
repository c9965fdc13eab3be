package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// ConditionError says what is wrong with the text of a condition, and where.
type ConditionError struct {
	Text   string // the condition as it was given
	Offset int    // byte at which the mistake was noticed; -1 if it has no place
	Detail string
	Hint   string // may be empty
}

// Error returns all of it in one line. The text is quoted from the mistake on.
func (e *ConditionError) Error() string {
	var b strings.Builder
	b.WriteString("the condition is wrong")
	switch {
	case e.Offset < 0:
	case e.Offset >= len(e.Text):
		b.WriteString(" at its end")
	default:
		fmt.Fprintf(&b, " at byte %d, %q", e.Offset, excerpt(e.Text[e.Offset:]))
	}
	b.WriteString(": " + e.Detail)
	return b.String()
}

// Unwrap makes it a space.ErrInvalid.
func (e *ConditionError) Unwrap() error { return space.ErrInvalid }

// Mark returns two lines for terminals, the text and a caret under the mistake,
// or nothing if it has no place in the text.
func (e *ConditionError) Mark() string {
	if e.Offset < 0 || strings.ContainsAny(e.Text, "\n\t\r") {
		return ""
	}
	at := min(e.Offset, len(e.Text))
	return e.Text + "\n" + strings.Repeat(" ", utf8.RuneCountInString(e.Text[:at])) + "^"
}

// excerptRunes is how much of a text an error quotes.
const excerptRunes = 24

func excerpt(text string) string {
	if r := []rune(text); len(r) > excerptRunes {
		return string(r[:excerptRunes]) + "…"
	}
	return text
}

// ParseCondition reads the text of a condition. The error is a *ConditionError.
func ParseCondition(text string, args []any) (*predicate.Predicate, error) {
	p, err := predicate.Parse(text, args...)
	if err == nil {
		return p, nil
	}
	wrong := &ConditionError{Text: text, Offset: -1, Detail: err.Error()}
	if at, ok := errors.AsType[*predicate.Error](err); ok {
		wrong.Offset, wrong.Detail, wrong.Hint = at.Offset, at.Detail, at.Hint
	}
	return nil, wrong
}

// ParseArgs reads the arguments of a condition: a JSON array for ? and $1, an
// object for :name. No text, or null, is none.
func ParseArgs(text []byte) ([]any, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	b, err := msgp.FromJSON(nil, text)
	if err != nil {
		return nil, refuse("a list such as [20, \"A\"], or an object of names", "the arguments are not JSON: %v", err)
	}
	v, err := msgp.Decode(b)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case []any:
		return v, nil
	case map[string]any:
		return []any{v}, nil
	}
	return nil, refuse("a list such as [20, \"A\"], or an object of names", "the arguments are neither a list nor an object")
}

// ParseTemplate reads a JSON object whose fields an entry must have with equal
// values. No text, or null, is everything.
func ParseTemplate(text []byte) (grid.Template, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	const hint = `name the fields that must be equal: {"row": 3}`
	b, err := msgp.FromJSON(nil, text)
	if err != nil {
		return nil, refuse(hint, "the template is not JSON: %v", err)
	}
	v, err := msgp.Decode(b)
	if err != nil {
		return nil, err
	}
	t, ok := v.(map[string]any)
	if !ok {
		return nil, refuse(hint, "a template is a JSON object")
	}
	return t, nil
}

// Filter is a template and a condition, either of which may be missing.
type Filter struct {
	Template grid.Template
	Where    string
	Args     []any
}

// Empty reports whether everything passes.
func (f *Filter) Empty() bool { return len(f.Template) == 0 && f.Where == "" }

// Parse returns the filter for the grid, nil if everything passes. The error
// is a *ConditionError.
func (f *Filter) Parse() (grid.Filter, error) {
	if f.Where == "" {
		if len(f.Args) > 0 {
			return nil, refuse("give the condition that they belong to", "arguments without a condition")
		}
		if len(f.Template) == 0 {
			return nil, nil
		}
		return f.Template, nil
	}
	if _, err := ParseCondition(f.Where, f.Args); err != nil {
		return nil, err
	}
	c := grid.Where(f.Where, f.Args...)
	if len(f.Template) == 0 {
		return c, nil
	}
	return c.And(f.Template), nil
}

// Require puts a condition on an operation with a key, of a space. An empty text
// is none.
func Require(op *space.Op, def *space.Definition, text string, args []any) error {
	if text == "" {
		if len(args) > 0 {
			return refuse("give the condition that they belong to", "arguments without a condition")
		}
		return nil
	}
	p, err := ParseCondition(text, args)
	if err != nil {
		return err
	}
	op.Predicate = p.Append(nil)
	return def.CheckFilter(nil, op.Predicate)
}

func refuse(hint, format string, args ...any) error {
	return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// decodeStrict decodes exactly one JSON value and refuses members that v does
// not have: a misspelt one would silently mean something else.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse("", "malformed JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse("", "there is something after the JSON value")
	}
	return nil
}
