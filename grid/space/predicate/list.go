package predicate

import (
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// in reads the members behind `in`: constants in parentheses, or one list.
func (p *parser) in(left term) (cond, *Error) {
	if err := p.advance(); err != nil {
		return cond{}, err
	}
	var members [][]byte
	at := p.tok.at
	open, err := p.accept("(")
	if err == nil && open {
		members, err = p.members()
	} else if err == nil {
		var v []byte
		if v, err = p.literal(); err == nil && classOf(v) != classList {
			err = placed(refuse("write `in (1, 2)`, or pass a list", "%s behind `in`", classOf(v)), at)
		}
		members = elements(nil, v)
	}
	if err != nil {
		return cond{}, err
	}
	return membership(left, members)
}

// members reads the constants before a closing parenthesis. A parameter that is
// a list stands for its elements.
func (p *parser) members() (list [][]byte, err *Error) {
	if p.symbol(")") {
		return nil, p.unexpected("a value")
	}
	for {
		first := p.tok
		nodes := p.nodes
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		p.nodes = nodes // members have a limit of their own
		t, err := e.value()
		switch {
		case err != nil:
			return nil, err
		case t.op != termConstant:
			return nil, placed(refuse("write `x = a or x = b`", "the members of a list are constants"), first.at)
		case first.parameter() && classOf(t.value) == classList:
			list = elements(list, t.value)
		default:
			list = append(list, t.value)
		}
		if len(list) > MaxList {
			return nil, placed(refuse("ask for a range", "a list of more than %d values", MaxList), first.at)
		}
		if more, err := p.accept(","); err != nil {
			return nil, err
		} else if !more {
			return list, p.expect(")")
		}
	}
}

// elements appends the elements of an encoded list to list; more than MaxList
// are not needed to refuse them.
func elements(list [][]byte, v []byte) [][]byte {
	n, rest, err := msgp.ReadArrayHeader(v)
	if err != nil {
		return list
	}
	for range min(n, MaxList+1) {
		behind, err := msgp.Skip(rest)
		if err != nil {
			break
		}
		end := len(rest) - len(behind)
		list = append(list, rest[:end:end])
		rest = behind
	}
	return list
}

// container reads [1, 'a'] or {a: 1, 'b c': 2}.
func (p *parser) container() ([]byte, *Error) {
	at := p.tok.at
	if p.depth++; p.depth > maxNesting {
		return nil, placed(refuse("write it flatter", "nested more than %d levels deep", maxNesting), at)
	}
	defer func() { p.depth-- }()
	isMap := p.symbol("{")
	var body []byte
	n, err := 0, p.advance()
	closing := map[bool]string{false: "]", true: "}"}[isMap]
	for err == nil && !p.symbol(closing) {
		if n > 0 {
			err = p.expect(",")
		}
		if err == nil && isMap {
			body, err = p.key(body)
		}
		if err == nil {
			body, err = p.element(body)
		}
		n++
	}
	if err != nil {
		return nil, err
	}
	var raw []byte
	if isMap {
		raw = msgp.AppendMapHeader(nil, n)
	} else {
		raw = msgp.AppendArrayHeader(nil, n)
	}
	v, broken := msgp.Canonical(nil, append(raw, body...))
	if broken != nil {
		return nil, placed(refuse("", "a value cannot be stored: %v", broken), at)
	}
	return v, p.advance()
}

// key reads the key of a pair, a name, a string or an integer, and the colon.
func (p *parser) key(body []byte) ([]byte, *Error) {
	at := p.tok.at
	switch p.tok.kind {
	case tokenWord, tokenName, tokenString:
		body = msgp.AppendString(body, p.tok.text)
		if err := p.advance(); err != nil {
			return nil, err
		}
	default:
		start := len(body)
		var err *Error
		if body, err = p.element(body); err != nil {
			return nil, err
		}
		if msgp.KindOf(body[start:]) != msgp.Int {
			return nil, placed(refuse("write {name: value}", "a key that is neither a name nor an integer"), at)
		}
	}
	if p.tok.kind == tokenNamed { // {a:true} has no parameter in it
		p.lex.pos = p.tok.at + 1
		return body, p.advance()
	}
	return body, p.expect(":")
}

// element reads a constant inside a container. Null is a value there.
func (p *parser) element(body []byte) ([]byte, *Error) {
	minus, err := p.accept("-")
	if err != nil {
		return nil, err
	}
	if minus {
		if p.tok.kind != tokenNumber {
			return nil, p.unexpected("a number")
		}
		p.tok.text = "-" + p.tok.text
	}
	v, err := p.literal()
	return append(body, v...), err
}
