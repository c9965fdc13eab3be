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

// arguments hands out the arguments of Parse.
type arguments struct {
	values []any
	sort   tokenKind // of the parameters seen; tokenEnd for none
	next   int       // of ?
	used   []bool    // by $n
}

func (t token) parameter() bool {
	return t.kind == tokenPositional || t.kind == tokenNumbered || t.kind == tokenNamed
}

// take returns the argument of a parameter.
func (a *arguments) take(t token) (any, *Error) {
	if a.sort != tokenEnd && a.sort != t.kind {
		return nil, refuse("use ? or $1 or :name throughout", "two sorts of parameters in one text")
	}
	a.sort = t.kind
	v, err := a.value(t)
	if err == nil && v == nil {
		return nil, refuse("write `is null` or `is not null`", "an argument is nil, which nothing is ever equal to")
	}
	return v, err
}

func (a *arguments) value(t token) (any, *Error) {
	switch t.kind {
	case tokenPositional:
		a.next++
		if a.next > len(a.values) {
			return nil, refuse("", "parameter %d, but %d arguments", a.next, len(a.values))
		}
		return a.values[a.next-1], nil
	case tokenNumbered:
		n := 0
		for _, digit := range []byte(t.text) {
			if !isDigit(digit) || n > len(a.values) {
				n = 0
				break
			}
			n = 10*n + int(digit-'0')
		}
		if n < 1 || n > len(a.values) {
			return nil, refuse("the first is $1", "parameter $%s, but %d arguments", excerpt(t.text), len(a.values))
		}
		if a.used == nil {
			a.used = make([]bool, len(a.values))
		}
		a.used[n-1] = true
		return a.values[n-1], nil
	}
	var named map[string]any
	if len(a.values) == 1 {
		named, _ = a.values[0].(map[string]any)
	}
	v, ok := named[t.text]
	if !ok {
		return nil, refuse("pass one map[string]any with all names", "no argument is named %s", excerpt(t.text))
	}
	return v, nil
}

// finish refuses arguments that were passed and not used: something is missing
// in the text. Names may be left over.
func (a *arguments) finish(at int) *Error {
	unused := 0
	switch a.sort {
	case tokenNamed:
		return nil
	case tokenNumbered:
		for i, used := range a.used {
			if !used {
				unused = i + 1
			}
		}
	default:
		if a.next < len(a.values) {
			unused = a.next + 1
		}
	}
	if unused > 0 {
		return placed(refuse("", "argument %d is not used, of %d", unused, len(a.values)), at)
	}
	return nil
}
