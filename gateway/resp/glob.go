package resp

import "bytes"

// globMaxTokens is the most characters a pattern can ask for and still match
// something: no key is longer.
const globMaxTokens = 1024

// Glob is a compiled pattern of KEYS and SCAN: * for any run of bytes, ? for
// any byte, [abc], [a-z] and [^a] for one of a set, \ before a byte that stands
// for itself.
//
// The usual matcher goes back to the last star, or to every star, when a byte
// does not fit; a client can then choose a pattern that costs the product, or
// worse, of the lengths for every key. This one follows all possibilities at
// once, one bit each (Baeza-Yates and Gonnet, "A new approach to text
// searching", 1992): every byte of a key costs one step per 64 characters of
// the pattern, whatever both contain.
//
// A Glob does not change: it may be used by several goroutines.
type Glob struct {
	prefix []byte // the pattern starts with these bytes, taken as they are
	any    bool   // and accepts whatever follows them
	never  bool   // no key is long enough

	// The rest of the pattern, if not any, is a row of tokens that each take
	// one byte. Bit i stands for "the first i tokens are matched".
	tokens int
	words  int      // ⌈(tokens+1)/64⌉
	takes  []uint64 // takes[c*words:] has bit i if token i takes byte c
	stars  []uint64 // bit i if a star stands before token i, or at the end
}

// CompileGlob reads a pattern. Every pattern is valid: a set that is not closed
// ends with the pattern, a last \ stands for itself.
func CompileGlob(pattern []byte) *Glob {
	g := &Glob{}
	pattern = g.takePrefix(pattern)
	if len(pattern) > 0 && len(bytes.Trim(pattern, "*")) == 0 {
		g.any = true
		return g
	}
	g.tokens = countTokens(pattern)
	if len(g.prefix)+g.tokens > globMaxTokens {
		*g = Glob{never: true}
		return g
	}
	g.words = g.tokens/64 + 1
	g.takes = make([]uint64, 256*g.words)
	g.stars = make([]uint64, g.words)
	at := 0
	for len(pattern) > 0 {
		if pattern[0] == '*' {
			g.stars[at/64] |= 1 << (at % 64)
			pattern = pattern[1:]
			continue
		}
		var set byteSet
		set, pattern = nextToken(pattern)
		for c := range 256 {
			if set.has(byte(c)) {
				g.takes[c*g.words+at/64] |= 1 << (at % 64)
			}
		}
		at++
	}
	return g
}

// takePrefix moves the bytes that stand for themselves to the prefix, and
// returns the rest of the pattern.
func (g *Glob) takePrefix(pattern []byte) []byte {
	for len(pattern) > 0 {
		switch c := pattern[0]; {
		case c == '*' || c == '?' || c == '[':
			return pattern
		case c == '\\' && len(pattern) > 1:
			g.prefix = append(g.prefix, pattern[1])
			pattern = pattern[2:]
		default:
			g.prefix = append(g.prefix, c)
			pattern = pattern[1:]
		}
	}
	return nil
}

// Match reports whether the whole key fits the pattern.
func (g *Glob) Match(key []byte) bool {
	matched, _ := g.match(key)
	return matched
}

// match also returns the steps taken, which are bounded by the length of the
// key times the words of the pattern.
func (g *Glob) match(key []byte) (matched bool, steps int) {
	rest, ok := bytes.CutPrefix(key, g.prefix)
	if !ok || g.never {
		return false, 0
	}
	if g.any {
		return true, 0
	}
	var states [globMaxTokens/64 + 1]uint64
	states[0] = 1
	for _, c := range rest {
		takes := g.takes[int(c)*g.words:][:g.words]
		carry, alive := uint64(0), uint64(0)
		for i := range takes {
			forward := states[i] & takes[i]
			stay := states[i] & g.stars[i]
			states[i] = forward<<1 | carry | stay
			carry = forward >> 63
			alive |= states[i]
		}
		steps += g.words
		if alive == 0 {
			return false, steps
		}
	}
	return states[g.tokens/64]>>(g.tokens%64)&1 == 1, steps
}

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)     { s[c/64] |= 1 << (c % 64) }
func (s byteSet) has(c byte) bool { return s[c/64]>>(c%64)&1 == 1 }

func (s *byteSet) addRange(from, to byte) {
	for c := int(min(from, to)); c <= int(max(from, to)); c++ {
		s.add(byte(c))
	}
}

func (s byteSet) complement() byteSet {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

func countTokens(pattern []byte) int {
	n := 0
	for len(pattern) > 0 {
		if pattern[0] == '*' {
			pattern = pattern[1:]
			continue
		}
		_, pattern = nextToken(pattern)
		n++
	}
	return n
}

// nextToken reads one token other than a star: the bytes it takes, and the
// pattern behind it.
func nextToken(pattern []byte) (byteSet, []byte) {
	var set byteSet
	switch c := pattern[0]; {
	case c == '?':
		return set.complement(), pattern[1:]
	case c == '[':
		return nextSet(pattern[1:])
	case c == '\\' && len(pattern) > 1:
		set.add(pattern[1])
		return set, pattern[2:]
	default:
		set.add(c)
		return set, pattern[1:]
	}
}

// nextSet reads a set behind its '['.
func nextSet(pattern []byte) (byteSet, []byte) {
	var set byteSet
	not := len(pattern) > 0 && pattern[0] == '^'
	if not {
		pattern = pattern[1:]
	}
	for len(pattern) > 0 && pattern[0] != ']' {
		switch {
		case pattern[0] == '\\' && len(pattern) >= 2:
			set.add(pattern[1])
			pattern = pattern[2:]
		case len(pattern) >= 3 && pattern[1] == '-':
			set.addRange(pattern[0], pattern[2])
			pattern = pattern[3:]
		default:
			set.add(pattern[0])
			pattern = pattern[1:]
		}
	}
	if len(pattern) > 0 { // the ']'
		pattern = pattern[1:]
	}
	if not {
		set = set.complement()
	}
	return set, pattern
}
