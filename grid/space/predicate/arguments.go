package predicate

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
