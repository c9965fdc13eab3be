package msgp

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds the parser's recursion. A $map object nests three deep
// for one map, so the text may be deeper than the value.
const maxJSONDepth = 3 * MaxDepth

// FromJSON appends the canonical form of the JSON text src, which must be
// exactly one value, white space around it aside.
//
// A number without point and exponent is an integer and must fit int64 or
// uint64 (ErrRange otherwise: with a point it would be a float); any other
// number is a float. Reserved objects become what they stand for. Refused are an
// object with the same name twice (ErrDuplicateKey), text that is not UTF-8
// and escapes of half a surrogate pair, which could not be given back
// (ErrJSON), and values beyond MaxDepth or MaxValue. dst is then returned as
// it was. Memory is proportional to src.
func FromJSON(dst, src []byte) ([]byte, error) {
	p := jsonParser{builder: newBuilder(dst), src: src}
	err := p.document()
	if err != nil {
		return dst, failAt(p.pos, err)
	}
	return p.dst, nil
}

// jsonParser parses src from pos on. When it fails, pos is near the reason.
type jsonParser struct {
	builder
	src []byte
	pos int
}

func (p *jsonParser) document() error {
	if err := p.value(0); err != nil {
		return err
	}
	p.space()
	if p.pos != len(p.src) {
		return ErrTrailing
	}
	// Only now is it known which objects were reserved and vanished, so only
	// now can the true depth be judged.
	_, err := scan(p.dst, p.base, 0)
	if err != nil {
		return ErrTooDeep
	}
	return nil
}

func (p *jsonParser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// accept skips white space and then c, if it is there.
func (p *jsonParser) accept(c byte) bool {
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *jsonParser) expect(c byte) error {
	if !p.accept(c) {
		return p.unexpected(fmt.Sprintf("%q", c))
	}
	return nil
}

// unexpected says what stands at pos instead of what should.
func (p *jsonParser) unexpected(wanted string) error {
	if p.pos >= len(p.src) {
		return fmt.Errorf("%w: it ends where %s should stand", ErrJSON, wanted)
	}
	return fmt.Errorf("%w: %q where %s should stand", ErrJSON, p.src[p.pos], wanted)
}

func (p *jsonParser) value(depth int) error {
	p.space()
	if depth > maxJSONDepth {
		return ErrTooDeep
	}
	if p.pos >= len(p.src) {
		return p.unexpected("a value")
	}
	var err error
	switch c := p.src[p.pos]; {
	case c == '{':
		err = p.object(depth)
	case c == '[':
		err = p.array(depth)
	case c == '"':
		err = p.text()
	case c == '-' || c >= '0' && c <= '9':
		err = p.number()
	default:
		err = p.word()
	}
	if err == nil && p.size() > MaxValue {
		err = ErrTooLarge
	}
	return err
}

func (p *jsonParser) word() error {
	rest := p.src[p.pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("null")):
		p.dst, p.pos = AppendNil(p.dst), p.pos+4
	case bytes.HasPrefix(rest, []byte("true")):
		p.dst, p.pos = AppendBool(p.dst, true), p.pos+4
	case bytes.HasPrefix(rest, []byte("false")):
		p.dst, p.pos = AppendBool(p.dst, false), p.pos+5
	default:
		return p.unexpected("a value")
	}
	return nil
}

func (p *jsonParser) array(depth int) error {
	p.pos++
	at, n := p.size(), 0
	p.dst = append(p.dst, codeFixArray)
	for end := p.accept(']'); !end; n++ {
		if err := p.value(depth + 1); err != nil {
			return err
		}
		if end = p.accept(']'); !end {
			if err := p.expect(','); err != nil {
				return err
			}
		}
	}
	p.setCount(at, n, codeFixArray, codeArray16)
	return nil
}

func (p *jsonParser) object(depth int) error {
	p.pos++
	at, n := p.size(), 0
	p.dst = append(p.dst, codeFixMap)
	m := p.openMap()
	for end := p.accept('}'); !end; n++ {
		if err := p.member(depth); err != nil {
			return err
		}
		if end = p.accept('}'); !end {
			if err := p.expect(','); err != nil {
				return err
			}
		}
	}
	if err := p.closeMap(m); err != nil {
		return err
	}
	if n == 1 {
		if done, err := p.replaceReserved(at); done || err != nil {
			return err
		}
	}
	p.setCount(at, n, codeFixMap, codeMap16)
	return nil
}

// member parses a name and its value as the next pair of the open map.
func (p *jsonParser) member(depth int) error {
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != '"' {
		return p.unexpected("a name in quotes")
	}
	p.key()
	if err := p.text(); err != nil {
		return err
	}
	p.val()
	if err := p.expect(':'); err != nil {
		return err
	}
	if err := p.value(depth + 1); err != nil {
		return err
	}
	p.pair()
	return nil
}

// number parses -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (p *jsonParser) number() error {
	start := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	lead := p.pos
	if p.digits() == 0 {
		return p.unexpected("a digit")
	}
	if p.src[lead] == '0' && p.pos > lead+1 {
		p.pos = lead
		return fmt.Errorf("%w: number with a leading zero", ErrJSON)
	}
	integral := true
	if p.pos < len(p.src) && p.src[p.pos] == '.' {
		integral = false
		p.pos++
		if p.digits() == 0 {
			return p.unexpected("a digit")
		}
	}
	if p.pos < len(p.src) && p.src[p.pos]|0x20 == 'e' {
		integral = false
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		if p.digits() == 0 {
			return p.unexpected("a digit")
		}
	}
	return p.appendNumber(string(p.src[start:p.pos]), integral)
}

// digits skips decimal digits and returns how many there were.
func (p *jsonParser) digits() int {
	start := p.pos
	for p.pos < len(p.src) && p.src[p.pos] >= '0' && p.src[p.pos] <= '9' {
		p.pos++
	}
	return p.pos - start
}

func (p *jsonParser) appendNumber(s string, integral bool) error {
	if !integral {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%w: number too large for a float", ErrRange)
		}
		p.dst = AppendFloat(p.dst, f)
		return nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		p.dst = AppendInt(p.dst, i)
		return nil
	}
	u, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: integer of more than 64 bits; write it with a point for a float", ErrRange)
	}
	p.dst = AppendUint(p.dst, u)
	return nil
}

// text parses a string.
func (p *jsonParser) text() error {
	p.pos++
	start := p.pos
	for ; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == '"':
			s := p.src[start:p.pos]
			if len(s) > MaxValue {
				return ErrTooLarge
			}
			if !utf8.Valid(s) {
				return fmt.Errorf("%w: string is not UTF-8", ErrJSON)
			}
			p.pos++
			p.dst = AppendString(p.dst, s)
			return nil
		case c == '\\':
			return p.escapedText(start)
		case c < ' ':
			return fmt.Errorf("%w: control character in a string", ErrJSON)
		}
	}
	return p.unexpected("the end of a string")
}

// escapedText goes on with a string that began at start and turned out to
// have an escape at pos. It is unescaped in place behind room for its header.
func (p *jsonParser) escapedText(start int) error {
	const room = 5 // the longest header of a string
	at := len(p.dst)
	p.dst = append(p.dst, make([]byte, room)...)
	p.pos = start
	for p.pos < len(p.src) && p.src[p.pos] != '"' {
		if p.size() > room+MaxValue {
			return ErrTooLarge
		}
		switch c := p.src[p.pos]; {
		case c == '\\':
			if err := p.escape(); err != nil {
				return err
			}
		case c < ' ':
			return fmt.Errorf("%w: control character in a string", ErrJSON)
		default:
			p.dst = append(p.dst, c)
			p.pos++
		}
	}
	if p.pos >= len(p.src) {
		return p.unexpected("the end of a string")
	}
	p.pos++
	s := p.dst[at+room:]
	if !utf8.Valid(s) {
		return fmt.Errorf("%w: string is not UTF-8", ErrJSON)
	}
	p.dst = AppendStringHeader(p.dst[:at], len(s))
	p.dst = append(p.dst, s...) // moves down, over what is left of the room
	return nil
}

// escape unescapes what the backslash at pos introduces.
func (p *jsonParser) escape() error {
	p.pos++
	if p.pos >= len(p.src) {
		return p.unexpected("an escape")
	}
	c := p.src[p.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return p.escapedRune()
	default:
		return p.unexpected("an escape")
	}
	p.dst = append(p.dst, c)
	p.pos++
	return nil
}

// escapedRune reads \uXXXX, or two of them that form a surrogate pair, with
// pos at the u.
func (p *jsonParser) escapedRune() error {
	r, err := p.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		low := rune(-1)
		if bytes.HasPrefix(p.src[p.pos:], []byte(`\u`)) {
			p.pos++
			if low, err = p.hex4(); err != nil {
				return err
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return fmt.Errorf("%w: half a surrogate pair", ErrJSON)
		}
	}
	p.dst = utf8.AppendRune(p.dst, r)
	return nil
}

func (p *jsonParser) hex4() (rune, error) {
	p.pos++
	if len(p.src)-p.pos < 4 {
		p.pos = len(p.src)
		return 0, p.unexpected("four hexadecimal digits")
	}
	var r rune
	for range 4 {
		c := p.src[p.pos]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, p.unexpected("a hexadecimal digit")
		}
		r = r<<4 | rune(c)
		p.pos++
	}
	return r, nil
}
