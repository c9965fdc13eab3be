package predicate

import (
	"encoding/hex"
	"strings"
)

// tokenKind is the sort of a token.
type tokenKind uint8

const (
	tokenEnd        tokenKind = iota
	tokenWord                 // a name or a keyword
	tokenName                 // a name in double quotes
	tokenString               // 'text'
	tokenBytes                // x'00ff'
	tokenTime                 // ts '…'
	tokenFloat                // float '…'
	tokenNumber               // digits, perhaps with fraction and exponent
	tokenPositional           // ?
	tokenNumbered             // $1
	tokenNamed                // :name
	tokenSymbol
)

// token is a piece of text.
type token struct {
	kind tokenKind
	at   int    // offset of its first byte
	text string // what it says: without quotes, sign or prefix; bytes decoded
	word keyword
}

// keyword is a word that is no name unless it is quoted, or stands behind a dot.
type keyword uint8

const (
	wordAnd keyword = iota + 1
	wordOr
	wordNot
	wordIn
	wordBetween
	wordPrefix
	wordLike
	wordIs
	wordNull
	wordContains
	wordTrue
	wordFalse
)

var keywords = map[string]keyword{
	"and": wordAnd, "or": wordOr, "not": wordNot, "in": wordIn, "between": wordBetween,
	"prefix": wordPrefix, "like": wordLike, "is": wordIs, "null": wordNull,
	"contains": wordContains, "true": wordTrue, "false": wordFalse,
}

// typed are the words that, before a quote, make it more than a string. Elsewhere
// they are names.
var typed = map[string]tokenKind{"x": tokenBytes, "ts": tokenTime, "float": tokenFloat}

// symbols are the signs of the language, longer ones first.
var symbols = []string{"<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", "+", "-", "*", "/", "%"}

// foreign are signs that other languages have for what this one says otherwise.
var foreign = []struct{ sign, hint string }{
	{"==", "write ="}, {"&&", "write `and`"}, {"||", "write `or`"}, {"!", "write `not`"}, {"`", `put names in double quotes`},
}

// lexer cuts text into tokens.
type lexer struct {
	text string
	pos  int
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isWord reports whether s can be a name without quotes.
func isWord(s string) bool {
	return s != "" && isLetter(s[0]) && wordEnd(s, 0) == len(s)
}

// wordEnd returns the end of the word that starts at s[i].
func wordEnd(s string, i int) int {
	for i < len(s) && (isLetter(s[i]) || isDigit(s[i])) {
		i++
	}
	return i
}

// next returns the next token.
func (l *lexer) next() (token, *Error) {
	l.space()
	t := token{at: l.pos}
	if l.pos == len(l.text) {
		return t, nil
	}
	rest := l.text[l.pos:]
	switch c := rest[0]; {
	case isLetter(c):
		return l.word(t)
	case isDigit(c):
		return l.number(t)
	case c == '\'':
		t.kind = tokenString
		return l.quoted(t, '\'')
	case c == '"':
		t.kind = tokenName
		return l.quoted(t, '"')
	case c == '?':
		t.kind = tokenPositional
		l.pos++
		return t, nil
	case c == '$':
		return l.parameter(t, tokenNumbered, "a parameter is $1, $2, …")
	case c == ':' && len(rest) > 1 && isLetter(rest[1]):
		return l.parameter(t, tokenNamed, "")
	}
	return l.symbol(t, rest)
}

func (l *lexer) space() {
	for l.pos < len(l.text) && isSpace(l.text[l.pos]) {
		l.pos++
	}
}

// word reads a word, or a literal that begins with one.
func (l *lexer) word(t token) (token, *Error) {
	l.pos = wordEnd(l.text, l.pos)
	t.kind, t.text = tokenWord, l.text[t.at:l.pos]
	lower := strings.ToLower(t.text)
	t.word = keywords[lower]
	kind := typed[lower]
	if kind == 0 {
		return t, nil
	}
	behind := l.pos
	if kind != tokenBytes {
		l.space()
	}
	if l.pos == len(l.text) || l.text[l.pos] != '\'' {
		l.pos = behind
		return t, nil // a field of that name
	}
	t.kind = kind
	t, err := l.quoted(t, '\'')
	if err == nil && kind == tokenBytes {
		p, broken := hex.DecodeString(t.text)
		if broken != nil {
			return t, placed(refuse("two hexadecimal digits for each byte", "x'%s' is not hexadecimal", excerpt(t.text)), t.at)
		}
		t.text = string(p)
	}
	return t, err
}

func (l *lexer) quoted(t token, quote byte) (token, *Error) {
	content, rest, ok := cutQuoted(l.text[l.pos:], quote)
	if !ok {
		return t, placed(refuse("within quotes, a quote is written twice", "a %c is never closed", quote), l.pos)
	}
	t.text, l.pos = content, len(l.text)-len(rest)
	return t, nil
}

func (l *lexer) digits() (n int) {
	for ; l.pos < len(l.text) && isDigit(l.text[l.pos]); l.pos++ {
		n++
	}
	return n
}

func (l *lexer) number(t token) (token, *Error) {
	t.kind = tokenNumber
	l.digits()
	complete := true
	if l.skip(".") {
		complete = l.digits() > 0
	}
	if l.skip("e") || l.skip("E") {
		if !l.skip("+") {
			l.skip("-")
		}
		complete = l.digits() > 0 && complete
	}
	t.text = l.text[t.at:l.pos]
	if end := wordEnd(l.text, l.pos); !complete || end > l.pos {
		return t, placed(refuse("a number is 1, 1.5 or 1.5e-3; a name that begins with a digit is quoted", "%q is not a number", excerpt(l.text[t.at:end])), t.at)
	}
	return t, nil
}

func (l *lexer) skip(s string) bool {
	if strings.HasPrefix(l.text[l.pos:], s) {
		l.pos += len(s)
		return true
	}
	return false
}

func (l *lexer) parameter(t token, kind tokenKind, hint string) (token, *Error) {
	t.kind = kind
	l.pos = wordEnd(l.text, l.pos+1)
	if t.text = l.text[t.at+1 : l.pos]; t.text == "" {
		return t, placed(refuse(hint, "a sign without a name"), t.at)
	}
	return t, nil
}

func (l *lexer) symbol(t token, rest string) (token, *Error) {
	for _, f := range foreign {
		if strings.HasPrefix(rest, f.sign) && !strings.HasPrefix(rest, "!=") {
			return t, placed(refuse(f.hint, "%s means nothing here", f.sign), t.at)
		}
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			t.kind, t.text = tokenSymbol, s
			l.pos += len(s)
			return t, nil
		}
	}
	return t, placed(refuse("names with other letters than a to z are put in double quotes", "%q means nothing here", excerpt(rest)), t.at)
}

// excerptBytes is how much of a text an error quotes.
const excerptBytes = 24

func excerpt(s string) string {
	if len(s) <= excerptBytes {
		return s
	}
	return s[:excerptBytes] + "…"
}
