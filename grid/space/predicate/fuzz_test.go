package predicate

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// FuzzParse: no text makes Parse panic, and what it accepts comes back from
// text and bytes.
func FuzzParse(f *testing.F) {
	for _, m := range measured {
		f.Add(m.text)
	}
	f.Add(`not (a.b = -1 or "c d" not in (1, 'x', x'00')) and e contains {f: [ts '2026-11-22T10:00:00Z', null]}`)
	f.Add(`a + 1 * -b / 2 % 3 - 4.5e1 between -9223372036854775808 and 18446744073709551615 or c is not null`)
	f.Add(`a like 'x%' or b prefix 'it''s' or float = float '-Inf' or $1 < :x or ? = {a:true}`)
	fields, err := msgp.AppendValue(nil, map[string]any{"a": 1, "b": "x", "e": []any{1, "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if refusal, ok := errors.AsType[*Error](err); !ok || refusal.Offset < 0 || refusal.Offset > len(text) || refusal.Detail == "" {
				t.Fatalf("%q: %+v", text, refusal)
			}
			return
		}
		checkRoundTrips(t, p)
		checkUse(t, p, fields)
	})
}

// FuzzDecode: no bytes make Decode panic, what it accepts is what Append
// writes, and it can be asked of any bytes.
func FuzzDecode(f *testing.F) {
	fields, err := msgp.AppendValue(nil, map[string]any{"status": "open", "price": 30.5, "position": map[string]any{"x": 11}})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range measured {
		f.Add(parsed(f, m.text).Append(nil), fields)
	}
	f.Add(parsed(f, `-a % 2 + b * 3 > 1.5 and not (c contains [1] or d.e prefix 'x') and f in (1, 'x')`).Append(nil), fields)
	f.Fuzz(func(t *testing.T, encoding, fields []byte) {
		p, err := Decode(encoding)
		if err != nil {
			if refusal, ok := errors.AsType[*Error](err); !ok || refusal.Offset < 0 || refusal.Offset > len(encoding) || refusal.Detail == "" {
				t.Fatalf("%x: %+v", encoding, refusal)
			}
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, encoding) {
			t.Fatalf("%x decodes to %v, which is %x", encoding, p, again)
		}
		checkRoundTrips(t, p)
		checkUse(t, p, fields)
	})
}

// checkUse asks everything that can be asked. An entry is never matched by a
// predicate and by its negation.
func checkUse(t *testing.T, p *Predicate, fields []byte) {
	not, err := Not(p)
	if err != nil {
		t.Fatalf("Not(%v): %v", p, err)
	}
	if p.Match(fields) && not.Match(fields) {
		t.Fatalf("%v and its negation match %x", p, fields)
	}
	for _, path := range p.Paths() {
		p.Bound(path)
		if eq, err := Eq(path, 1); err != nil || eq.Paths()[0] != path {
			t.Fatalf("the path %s of %v leads to %v, %v", path, p, eq, err)
		}
	}
	if err := p.Check(func(string) (Type, bool) { return Any, true }); err != nil && !computes(&p.root) {
		t.Fatalf("%v on undeclared fields: %v", p, err)
	}
}

// computes reports whether there is a computation in the condition: its result
// is a number, whatever its fields are.
func computes(c *cond) bool {
	return slices.ContainsFunc(c.kids, func(kid cond) bool { return computes(&kid) }) ||
		len(c.left.kids) > 0 || len(c.right.kids) > 0
}
