package predicate

import (
	"strings"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// path leads to a field: one step for each map on the way. It is immutable.
type path struct {
	steps []string // 1 to maxSteps
	name  string   // as Paths gives it
}

// maxSteps is the length of the longest path: an entry is not nested deeper.
const maxSteps = msgp.MaxDepth

// newPath makes a path of steps, which it keeps.
func newPath(steps []string) (*path, *Error) {
	if len(steps) == 0 || len(steps) > maxSteps {
		return nil, refuse("", "a path has 1 to %d steps, this one %d", maxSteps, len(steps))
	}
	var b strings.Builder
	for i, step := range steps {
		if i > 0 {
			b.WriteByte('.')
		}
		if step == "" || strings.ContainsAny(step, `."`) {
			writeQuoted(&b, step, '"')
		} else {
			b.WriteString(step)
		}
	}
	return &path{steps: steps, name: b.String()}, nil
}

// parsePath reads what Paths gives: steps between dots, those in double quotes
// taken as they are, with "" for a quote.
func parsePath(name string) (*path, *Error) {
	var steps []string
	rest := name
	for more := true; more; {
		var step string
		if strings.HasPrefix(rest, `"`) {
			var ok bool
			if step, rest, ok = cutQuoted(rest, '"'); !ok {
				return nil, refuse(`end it with "`, "the path %s has an open quote", name)
			}
			if rest != "" && rest[0] != '.' {
				return nil, refuse("put a dot between steps", "the path %s goes on behind a quoted step", name)
			}
			rest, more = strings.CutPrefix(rest, ".")
		} else if step, rest, more = strings.Cut(rest, "."); step == "" {
			return nil, refuse(`an empty name is written ""`, "the path %q has an empty step", name)
		}
		if steps = append(steps, step); len(steps) > maxSteps {
			break // newPath refuses it
		}
	}
	return newPath(steps)
}

// SplitPath returns the steps of a path as Paths gives it and as the text of a
// predicate names it: names between dots, those in double quotes taken as they
// are, with "" for a quote. The error is an [*Error].
func SplitPath(name string) ([]string, error) {
	p, err := parsePath(name)
	if err != nil {
		return nil, err
	}
	return p.steps, nil
}

// locate returns the encoded value at the path, nil if it is absent or null.
func (p *path) locate(fields []byte) []byte {
	for _, step := range p.steps {
		value, ok := msgp.Field(fields, step)
		if !ok {
			return nil
		}
		fields = value
	}
	if msgp.KindOf(fields) == msgp.Nil {
		return nil
	}
	return fields
}

// writeQuoted writes s between quotes, each quote within it twice.
func writeQuoted(b *strings.Builder, s string, quote byte) {
	b.WriteByte(quote)
	for i := range len(s) {
		if s[i] == quote {
			b.WriteByte(quote)
		}
		b.WriteByte(s[i])
	}
	b.WriteByte(quote)
}

// cutQuoted reads what writeQuoted wrote at the start of s.
func cutQuoted(s string, quote byte) (content, rest string, ok bool) {
	doubled := false
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			doubled = true
			i++
			continue
		}
		content = s[1:i]
		if doubled {
			content = strings.ReplaceAll(content, string([]byte{quote, quote}), string(quote))
		}
		return content, s[i+1:], true
	}
	return "", "", false
}
