package resp

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Patterns mean what they mean in Redis.
func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern  string
		yes, not []string
	}{
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "abc"}, nil},
		{"**", []string{"", "abc"}, nil},
		{"abc", []string{"abc"}, []string{"", "ab", "abcd", "ABC"}},
		{"user:*", []string{"user:", "user:1"}, []string{"user", "auser:1"}},
		{"*:1", []string{":1", "user:1", "a:1:1"}, []string{"1", "user:12"}},
		{"h?llo", []string{"hello", "hallo", "h\xffllo"}, []string{"hllo", "heello"}},
		{"h*llo", []string{"hllo", "heeeello"}, []string{"hllo!"}},
		{"h[ae]llo", []string{"hello", "hallo"}, []string{"hillo", "hllo"}},
		{"h[^e]llo", []string{"hallo", "hbllo"}, []string{"hello"}},
		{"h[a-b]llo", []string{"hallo", "hbllo"}, []string{"hcllo"}},
		{"h[b-a]llo", []string{"hallo", "hbllo"}, []string{"hcllo"}},
		{"[a-", []string{"a", "-"}, []string{"b", "["}},
		{"[abc", []string{"a", "c"}, []string{"[", "abc"}},
		{"[]a", nil, []string{"", "a", "]a"}},
		{"[^]", []string{"a", "]"}, []string{"", "ab"}},
		{`[\]]`, []string{"]"}, []string{`\`, "a"}},
		{`[\-z]`, []string{"-", "z"}, []string{"a", `\`}},
		{`\*`, []string{"*"}, []string{"a", `\*`}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{`*\?*`, []string{"?", "a?b"}, []string{"ab"}},
		{"*a*b*", []string{"ab", "xaybz", "aab"}, []string{"ba", "a", "b"}},
		{"*foo*bar", []string{"foobar", "xfoobarfoobar"}, []string{"foobarx", "fobar"}},
		{strings.Repeat("?", globMaxTokens), []string{strings.Repeat("k", globMaxTokens)}, []string{"k"}},
		{strings.Repeat("?", globMaxTokens+1) + "*", nil, []string{"k", strings.Repeat("k", globMaxTokens)}},
		{strings.Repeat("k", globMaxTokens+1), nil, []string{strings.Repeat("k", globMaxTokens)}},
	} {
		g := CompileGlob([]byte(test.pattern))
		for _, key := range test.yes {
			if !g.Match([]byte(key)) {
				t.Errorf("%.40q does not match %.40q", test.pattern, key)
			}
		}
		for _, key := range test.not {
			if g.Match([]byte(key)) {
				t.Errorf("%.40q matches %.40q", test.pattern, key)
			}
		}
	}
}

// simpleMatch is the textbook matcher, which tries every run for every star.
func simpleMatch(pattern, key []byte) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	if pattern[0] == '*' {
		for i := range len(key) + 1 {
			if simpleMatch(pattern[1:], key[i:]) {
				return true
			}
		}
		return false
	}
	set, rest := nextToken(pattern)
	return len(key) > 0 && set.has(key[0]) && simpleMatch(rest, key[1:])
}

// Following all possibilities at once finds what trying them one by one finds,
// within the promised steps, also across the words of a long pattern.
func TestGlobAgainstTextbook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "?", "a", "b", "[ab]", "[^a]", "[a-c]", `\*`, "[", "]", "^", "-", strings.Repeat("a", 60), strings.Repeat("?", 64)}), 0, 7).Draw(t, "pattern")
		pattern := []byte(strings.Join(pieces, ""))
		letters := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "*", "]", strings.Repeat("a", 60), strings.Repeat("b", 64)}), 0, 6).Draw(t, "key")
		key := []byte(strings.Join(letters, ""))
		g := CompileGlob(pattern)
		got, steps := g.match(key)
		if want := simpleMatch(pattern, key); got != want {
			t.Fatalf("%q and %q: %t, want %t", pattern, key, got, want)
		}
		if most := len(key) * (len(pattern)/64 + 1); steps > most {
			t.Fatalf("%q and %q: %d steps, more than %d", pattern, key, steps, most)
		}
	})
}

// Patterns made to be slow are not.
func TestGlobUnderAttack(t *testing.T) {
	key := bytes.Repeat([]byte("a"), globMaxTokens)
	for _, pattern := range []string{
		strings.Repeat("*a", 500) + "b", strings.Repeat("*?", 500) + "b", strings.Repeat("*", 100_000) + "b",
		strings.Repeat("*[^b]", 200) + "b", strings.Repeat("[a", 100_000), strings.Repeat("?*", 100_000),
	} {
		took, allocated := spent(func() {
			matched, steps := CompileGlob([]byte(pattern)).match(key)
			if matched || steps > len(key)*(globMaxTokens/64+1) {
				t.Errorf("%.20q: matched: %t, %d steps", pattern, matched, steps)
			}
		})
		if allocated > 128<<10 {
			t.Errorf("%.20q: %d bytes allocated in %v", pattern, allocated, took)
		}
	}
}
