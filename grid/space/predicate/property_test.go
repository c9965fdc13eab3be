package predicate

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// entriesEach is how many entries each predicate is asked of: most entries say
// nothing new about it.
const entriesEach = 25

// A predicate matches exactly the entries of which the oracle says true, and
// its negation exactly those of which it says false.
func TestMatchAgreesWithTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCondition(3).Draw(t, "condition")
		p := written(t, c)
		not, err := Not(p)
		if err != nil {
			t.Fatalf("Not(%v): %v", p, err)
		}
		for range entriesEach {
			b := encodedEntry(t, anyEntry().Draw(t, "entry"))
			want := c.decide(decodedEntry(t, b))
			if got := p.Match(b); got != (want == yes) {
				t.Fatalf("%v matches %v: %v, want %v", p, decodedEntry(t, b), got, want)
			}
			if got := not.Match(b); got != (want == no) {
				t.Fatalf("%v matches %v: %v, want not %v", not, decodedEntry(t, b), got, want)
			}
		}
	})
}

// Text and encoding lead back to the same predicate, byte for byte.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := written(t, anyCondition(3).Draw(t, "condition"))
		checkRoundTrips(t, p)
	})
}

func checkRoundTrips(t interface{ Fatalf(string, ...any) }, p *Predicate) {
	encoding := p.Append(nil)
	if len(encoding) > MaxEncoded {
		t.Fatalf("%v: encoding of %d bytes", p, len(encoding))
	}
	decoded, err := Decode(encoding)
	if err != nil {
		t.Fatalf("Decode(Append(%v)): %v", p, err)
	}
	text := p.String()
	if decoded.String() != text {
		t.Fatalf("%v decoded as %v", p, decoded)
	}
	if len(text) > MaxText {
		t.Fatalf("an encoding of %d bytes makes a text of %d", len(encoding), len(text))
	}
	parsed, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(String()): %v in %s", err, text)
	}
	if !bytes.Equal(parsed.Append(nil), encoding) {
		t.Fatalf("%s\nparsed as\n%s", text, parsed)
	}
	if parsed.Cost() != p.Cost() || p.Cost() > MaxCost {
		t.Fatalf("%s: cost %d, and %d when parsed", text, p.Cost(), parsed.Cost())
	}
}

// Whatever matches satisfies the bound on every path: it has a value there, and
// the bound admits it.
func TestMatchesLieWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := written(t, anyCondition(3).Draw(t, "condition"))
		for range entriesEach {
			b := encodedEntry(t, anyEntry().Draw(t, "entry"))
			if !p.Match(b) {
				continue
			}
			for _, f := range someFields {
				path, err := newPath(f)
				if err != nil {
					t.Fatal(err)
				}
				bound, ok := p.Bound(path.name)
				if !ok {
					continue
				}
				v := path.locate(b)
				if v == nil || !bound.Admits(v) {
					t.Fatalf("%v matches %v, but its bound %v on %s does not admit %x", p, decodedEntry(t, b), bound, path.name, v)
				}
			}
		}
	})
}

// Every limit of a bound is itself canonical, and the values to look up come
// in order.
func TestBoundsAreCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := written(t, anyCondition(3).Draw(t, "condition"))
		for _, path := range p.Paths() {
			b, ok := p.Bound(path)
			if !ok {
				continue
			}
			for _, v := range append([][]byte{b.Low, b.High}, b.Equal...) {
				if v != nil && !msgp.IsCanonical(v) {
					t.Fatalf("%v bounds %s by %x", p, path, v)
				}
			}
			for i := 1; i < len(b.Equal); i++ {
				if compareSpelled(b.Equal[i-1], b.Equal[i]) >= 0 {
					t.Fatalf("%v bounds %s by the unsorted %x", p, path, b.Equal)
				}
			}
		}
	})
}

// Not, and and or obey De Morgan's laws so strictly that both sides are one
// predicate.
func TestDeMorgan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := written(t, anyCondition(2).Draw(t, "p"))
		q := written(t, anyCondition(2).Draw(t, "q"))
		must := func(p *Predicate, err error) *Predicate {
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		left := must(Not(must(And(p, q))))
		right := must(Or(must(Not(p)), must(Not(q))))
		if !bytes.Equal(left.Append(nil), right.Append(nil)) {
			t.Fatalf("not (p and q) is %v,\n(not p) or (not q) is %v", left, right)
		}
		if twice := must(Not(must(Not(p)))); !bytes.Equal(twice.Append(nil), p.Append(nil)) {
			t.Fatalf("not not %v is %v", p, twice)
		}
	})
}
