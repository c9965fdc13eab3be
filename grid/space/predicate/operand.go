package predicate

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

var (
	encodedTrue = msgp.AppendBool(nil, true)
	encodedNull = msgp.AppendNil(nil)
)

func appendText(s string) []byte { return msgp.AppendString(nil, s) }

var (
	additive       = map[string]termOp{"+": termAdd, "-": termSub}
	multiplicative = map[string]termOp{"*": termMul, "/": termDiv, "%": termMod}
)

// sum reads terms between + and -.
func (p *parser) sum() (expr, *Error) { return p.calculated(additive, p.product) }

// product reads terms between *, / and %.
func (p *parser) product() (expr, *Error) { return p.calculated(multiplicative, p.signed) }

func (p *parser) calculated(ops map[string]termOp, part func() (expr, *Error)) (expr, *Error) {
	left, err := part()
	for err == nil && p.tok.kind == tokenSymbol && ops[p.tok.text] != 0 {
		op, at := ops[p.tok.text], p.tok.at
		if err := p.advance(); err != nil {
			return expr{}, err
		}
		right, err := part()
		if err != nil {
			return expr{}, err
		}
		if left, err = p.apply(op, at, left, right); err != nil {
			return expr{}, err
		}
	}
	return left, err
}

// apply makes a calculation of expressions; at is where its sign stands.
func (p *parser) apply(op termOp, at int, of ...expr) (expr, *Error) {
	kids := make([]term, len(of))
	for i, e := range of {
		var err *Error
		if kids[i], err = e.value(); err != nil {
			return expr{}, err
		}
	}
	t, err := calculation(op, kids...)
	if err != nil {
		return expr{}, placed(err, at)
	}
	return p.made(of[0].at, t)
}

// signed reads a term with its signs. A minus before digits belongs to the
// number: the least integer has no positive counterpart.
func (p *parser) signed() (expr, *Error) {
	at := p.tok.at
	minus, err := p.accept("-")
	if err != nil || !minus {
		if err == nil && p.symbol("+") {
			err = p.unexpected("a value")
		}
		if err != nil {
			return expr{}, err
		}
		return p.primary()
	}
	if p.tok.kind == tokenNumber {
		p.tok.text = "-" + p.tok.text
		return p.primary()
	}
	e, err := p.descend(p.signed)
	if err != nil {
		return expr{}, err
	}
	return p.apply(termNeg, at, e)
}

// primary reads a constant, a parameter, a field or what is in parentheses.
func (p *parser) primary() (expr, *Error) {
	at := p.tok.at
	switch p.tok.kind {
	case tokenWord, tokenName:
		if p.tok.word == 0 {
			return p.field()
		}
	case tokenSymbol:
		if p.tok.text == "(" {
			return p.descend(p.parenthesis)
		}
	}
	v, err := p.literal()
	if err != nil {
		return expr{}, err
	}
	return p.made(at, term{op: termConstant, value: v})
}

// made counts a term.
func (p *parser) made(at int, t term) (expr, *Error) {
	p.bytes += len(t.value)
	switch p.nodes++; {
	case p.nodes > MaxNodes:
		return expr{}, placed(refuse("a long `or` of one field is shorter as `in (…)`", "more than %d conditions and terms", MaxNodes), at)
	case p.bytes > MaxEncoded:
		return expr{}, placed(refuse("use fewer or shorter constants", "constants of more than %d bytes", MaxEncoded), at)
	}
	return expr{at: at, term: t}, nil
}

func (p *parser) parenthesis() (expr, *Error) {
	if err := p.advance(); err != nil {
		return expr{}, err
	}
	e, err := p.disjunction()
	if err != nil {
		return expr{}, err
	}
	return e, p.expect(")")
}

// field reads a path. Behind a dot keywords are names.
func (p *parser) field() (expr, *Error) {
	at := p.tok.at
	steps := []string{p.tok.text}
	for {
		if err := p.advance(); err != nil {
			return expr{}, err
		}
		if dot, err := p.accept("."); err != nil {
			return expr{}, err
		} else if !dot {
			break
		}
		if p.tok.kind != tokenWord && p.tok.kind != tokenName {
			return expr{}, p.unexpected("a name (other names than words are put in double quotes)")
		}
		if steps = append(steps, p.tok.text); len(steps) > maxSteps {
			break // newPath refuses it
		}
	}
	if p.symbol("(") {
		return expr{}, placed(refuse("compare the field itself", "%s( looks like a function; there are none", excerpt(steps[len(steps)-1])), p.tok.at)
	}
	path, err := newPath(steps)
	if err != nil {
		return expr{}, placed(err, at)
	}
	return p.made(at, term{op: termField, path: path})
}

// literal reads a constant or a parameter.
func (p *parser) literal() ([]byte, *Error) {
	t := p.tok
	v, err := p.constant(t)
	if err != nil {
		return nil, placed(err, t.at)
	}
	if v != nil {
		return v, p.advance()
	}
	switch {
	case p.symbol("["), p.symbol("{"):
		return p.container()
	case p.keyword(wordNull):
		return encodedNull, p.advance()
	}
	return nil, p.unexpected("a value")
}

// constant encodes the token if it is a constant in itself; nil if it is not.
func (p *parser) constant(t token) ([]byte, *Error) {
	switch t.kind {
	case tokenString:
		return appendText(t.text), nil
	case tokenBytes:
		return msgp.AppendBytes(nil, []byte(t.text)), nil
	case tokenTime:
		instant, err := time.Parse(time.RFC3339Nano, t.text)
		if err != nil {
			return nil, refuse("as in ts '2026-11-22T10:00:00Z'", "'%s' is no time", excerpt(t.text))
		}
		return encoded(instant)
	case tokenFloat:
		return floatConstant(t.text)
	case tokenNumber:
		return numberConstant(t.text)
	case tokenPositional, tokenNumbered, tokenNamed:
		v, err := p.args.take(t)
		if err != nil {
			return nil, err
		}
		return encoded(v)
	case tokenWord:
		switch t.word {
		case wordTrue:
			return encodedTrue, nil
		case wordFalse:
			return msgp.AppendBool(nil, false), nil
		}
	}
	return nil, nil
}

func encoded(v any) ([]byte, *Error) {
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		return nil, refuse("", "a value cannot be stored: %v", err)
	}
	return b, nil
}

// numberConstant reads digits. Without fraction and exponent they are an
// integer, which must fit.
func numberConstant(s string) ([]byte, *Error) {
	for _, c := range s {
		if c == '.' || c|0x20 == 'e' {
			return floatConstant(s)
		}
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return msgp.AppendInt(nil, i), nil
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return msgp.AppendUint(nil, u), nil
	}
	return nil, refuse(fmt.Sprintf("write %s.0 for a float", excerpt(s)), "%s does not fit an integer of 64 bits", excerpt(s))
}

func floatConstant(s string) ([]byte, *Error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, refuse("infinity is float '+Inf'", "%s is not a float of 64 bits", excerpt(s))
	}
	return encoded(f)
}
