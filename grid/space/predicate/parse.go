package predicate

import (
	"fmt"
	"strings"
)

// Parse reads a predicate. The package comment describes the language.
//
// Arguments take the place of constants: of `?` in order, of `$1` by number, or
// of `:name`, for which the one argument is a map[string]any. They may be
// anything that [msgp.AppendValue] takes, except nil. A list behind `in`, with
// or without parentheses, stands for its elements. A text uses one sort of
// parameter; positional and numbered arguments must all be used.
//
// Whatever is wrong with text or arguments is an [*Error] that says where.
func Parse(text string, args ...any) (*Predicate, error) {
	if len(text) > MaxText {
		return nil, placed(refuse("pass long lists as arguments", "a text of %d bytes, more than %d", len(text), MaxText), 0)
	}
	p := parser{lex: lexer{text: text}, args: arguments{values: args}}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	whole, err := finish(root)
	if err != nil {
		return nil, placed(err, 0)
	}
	return whole, nil
}

// maxNesting bounds the parser's recursion. A level of the tree takes two at
// most, a sign and a parenthesis; more are redundant.
const maxNesting = 2 * MaxDepth

// parser is a recursive descent, one method for each level of binding. Its
// field tok is the token to look at next.
type parser struct {
	lex   lexer
	tok   token
	args  arguments
	depth int // of recursion
	nodes int // terms made so far, so that no text builds more than it may keep
	bytes int // of constants so far
}

// expr is what a piece of text says: a condition, or a term, which may still
// become one.
type expr struct {
	at   int
	term term // op termNone if it is a condition
	cond cond
}

func (p *parser) parse() (cond, *Error) {
	if err := p.advance(); err != nil {
		return cond{}, err
	}
	e, err := p.disjunction()
	if err != nil {
		return cond{}, err
	}
	if p.tok.kind != tokenEnd {
		return cond{}, p.unexpected("the end")
	}
	root, err := e.condition()
	if err != nil {
		return cond{}, err
	}
	return root, p.args.finish(p.tok.at)
}

func (p *parser) advance() (err *Error) {
	p.tok, err = p.lex.next()
	return err
}

// symbol reports whether the next token is the sign.
func (p *parser) symbol(s string) bool { return p.tok.kind == tokenSymbol && p.tok.text == s }

// keyword reports whether the next token is the keyword.
func (p *parser) keyword(w keyword) bool { return p.tok.kind == tokenWord && p.tok.word == w }

// accept steps over a sign if it is next.
func (p *parser) accept(s string) (bool, *Error) {
	if !p.symbol(s) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(s string) *Error {
	ok, err := p.accept(s)
	if err == nil && !ok {
		err = p.unexpected(s)
	}
	return err
}

func (p *parser) unexpected(want string) *Error {
	found := "the end"
	if p.tok.kind != tokenEnd {
		found = fmt.Sprintf("%q", excerpt(p.lex.text[p.tok.at:p.lex.pos]))
	}
	hint := ""
	if p.tok.word != 0 {
		hint = "a field of that name is put in double quotes"
	}
	return placed(refuse(hint, "%s where %s should be", found, want), p.tok.at)
}

// descend runs fn one level deeper.
func (p *parser) descend(fn func() (expr, *Error)) (expr, *Error) {
	if p.depth++; p.depth > maxNesting {
		return expr{}, placed(refuse("write it flatter", "nested more than %d levels deep", maxNesting), p.tok.at)
	}
	defer func() { p.depth-- }()
	return fn()
}

// condition makes a condition of the expression: a field alone asks whether it
// is true.
func (e expr) condition() (cond, *Error) {
	switch {
	case e.term.op == termNone:
		return e.cond, nil
	case e.term.op == termField:
		return comparison(opEq, e.term, term{op: termConstant, value: encodedTrue})
	case e.term.op == termConstant && classOf(e.term.value) == classBool:
		return truth(e.term.value[0] == encodedTrue[0]), nil
	}
	return cond{}, placed(refuse("compare it with something", "a value where a condition should be"), e.at)
}

// value makes a term of the expression.
func (e expr) value() (term, *Error) {
	if e.term.op == termNone {
		return term{}, placed(refuse("join conditions with `and` and `or`; for a range write `x between a and b`", "a condition where a value should be"), e.at)
	}
	return e.term, nil
}

func (p *parser) disjunction() (expr, *Error) {
	return p.joined(opOr, wordOr, func() (expr, *Error) { return p.joined(opAnd, wordAnd, p.negation) })
}

func (p *parser) joined(op condOp, word keyword, part func() (expr, *Error)) (expr, *Error) {
	first, err := part()
	if err != nil || !p.keyword(word) {
		return first, err
	}
	c, err := first.condition()
	if err != nil {
		return expr{}, err
	}
	parts := []cond{c}
	for p.keyword(word) {
		if err := p.advance(); err != nil {
			return expr{}, err
		}
		next, err := part()
		if err != nil {
			return expr{}, err
		}
		if c, err = next.condition(); err != nil {
			return expr{}, err
		}
		parts = append(parts, c)
	}
	return expr{at: first.at, cond: junction(op, parts)}, nil
}

func (p *parser) negation() (expr, *Error) {
	if !p.keyword(wordNot) {
		return p.comparison()
	}
	at := p.tok.at
	if err := p.advance(); err != nil {
		return expr{}, err
	}
	e, err := p.descend(p.negation)
	if err != nil {
		return expr{}, err
	}
	c, err := e.condition()
	if err != nil {
		return expr{}, err
	}
	return expr{at: at, cond: negate(c)}, nil
}

var comparisons = map[string]condOp{"=": opEq, "<>": opNe, "!=": opNe, "<": opLt, "<=": opLe, ">": opGt, ">=": opGe}

// comparison reads a term and what is asked of it, if anything.
func (p *parser) comparison() (expr, *Error) {
	left, err := p.sum()
	if err != nil {
		return expr{}, err
	}
	at := p.tok.at
	ask := p.question()
	if ask == nil {
		return left, nil
	}
	t, err := left.value()
	if err != nil {
		return expr{}, err
	}
	c, err := ask(t)
	if err != nil {
		return expr{}, placed(err, at)
	}
	if p.question() != nil {
		return expr{}, placed(refuse("join conditions with `and`; for a range write `x between a and b`", "a second question about one value"), p.tok.at)
	}
	return expr{at: left.at, cond: c}, nil
}

// question returns what reads the rest of a condition about a term that has
// been read, nil if nothing is asked of it.
func (p *parser) question() func(term) (cond, *Error) {
	if p.tok.kind == tokenSymbol {
		if op, ok := comparisons[p.tok.text]; ok {
			return func(left term) (cond, *Error) { return p.compared(op, left) }
		}
		return nil
	}
	switch p.tok.word {
	case wordIs:
		return p.is
	case wordNot:
		return p.notAsked
	}
	return p.asked()
}

// asked is question for the keywords that may follow a not.
func (p *parser) asked() func(term) (cond, *Error) {
	if p.tok.kind != tokenWord {
		return nil
	}
	switch p.tok.word {
	case wordIn:
		return p.in
	case wordBetween:
		return p.between
	case wordPrefix:
		return p.prefix
	case wordLike:
		return p.like
	case wordContains:
		return p.contains
	}
	return nil
}

func (p *parser) notAsked(left term) (cond, *Error) {
	if err := p.advance(); err != nil {
		return cond{}, err
	}
	ask := p.asked()
	if ask == nil {
		return cond{}, p.unexpected("`in`, `between`, `prefix`, `like` or `contains`")
	}
	c, err := ask(left)
	return negatedIf(true, c, err)
}

// operand steps over the token that asks and reads a term.
func (p *parser) operand() (term, *Error) {
	if err := p.advance(); err != nil {
		return term{}, err
	}
	e, err := p.sum()
	if err != nil {
		return term{}, err
	}
	return e.value()
}

func (p *parser) compared(op condOp, left term) (cond, *Error) {
	right, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	return comparison(op, left, right)
}

func (p *parser) is(left term) (cond, *Error) {
	if err := p.advance(); err != nil {
		return cond{}, err
	}
	not := p.keyword(wordNot)
	if not {
		if err := p.advance(); err != nil {
			return cond{}, err
		}
	}
	if !p.keyword(wordNull) {
		return cond{}, p.unexpected("`null` or `not null`")
	}
	if err := p.advance(); err != nil {
		return cond{}, err
	}
	c, err := isNull(left)
	return negatedIf(not, c, err)
}

func (p *parser) between(left term) (cond, *Error) {
	low, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	if !p.keyword(wordAnd) {
		return cond{}, p.unexpected("`and`")
	}
	high, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	above, err := comparison(opGe, left, low)
	if err != nil {
		return cond{}, err
	}
	below, err := comparison(opLe, left, high)
	if err != nil {
		return cond{}, err
	}
	return junction(opAnd, []cond{above, below}), nil
}

func (p *parser) prefix(left term) (cond, *Error) {
	prefix, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	return beginning(left, prefix)
}

func (p *parser) contains(left term) (cond, *Error) {
	element, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	return containing(left, element)
}

// like takes the patterns that are a beginning, or no pattern at all.
func (p *parser) like(left term) (cond, *Error) {
	pattern, err := p.operand()
	if err != nil {
		return cond{}, err
	}
	text, ok := content(pattern.value)
	if !ok || classOf(pattern.value) != classString {
		return cond{}, refuse("write a pattern such as 'abc%'", "a pattern is a string")
	}
	start, open := strings.CutSuffix(string(text), "%")
	if strings.ContainsAny(start, `%_\`) {
		return cond{}, refuse("for an exact beginning write `prefix`, for a whole value =", "only patterns that end in their one %% are known, without _ and \\")
	}
	fixed := term{op: termConstant, value: appendText(start)}
	if open {
		return beginning(left, fixed)
	}
	return comparison(opEq, left, fixed)
}
