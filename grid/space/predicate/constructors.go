package predicate

// And is true where all of ps are; of none, everywhere.
func And(ps ...*Predicate) (*Predicate, error) { return join(opAnd, ps) }

// Or is true where one of ps is; of none, nowhere.
func Or(ps ...*Predicate) (*Predicate, error) { return join(opOr, ps) }

func join(op condOp, ps []*Predicate) (*Predicate, error) {
	parts := make([]cond, len(ps))
	for i, p := range ps {
		parts[i] = p.root
	}
	return finished(junction(op, parts), nil)
}

// Not is true where p is false. Where p is unknown, so is Not(p).
func Not(p *Predicate) (*Predicate, error) { return finished(negate(p.root), nil) }

// Eq is true where the field at a path, written as Paths gives it, equals a
// value: anything that Parse takes as an argument. Its kin below are alike.
func Eq(path string, v any) (*Predicate, error) { return compare(opEq, path, v) }

// Ne is true where the field has a value and it is another one.
func Ne(path string, v any) (*Predicate, error) { return compare(opNe, path, v) }

// Lt is true where the field is of v's kind and below it.
func Lt(path string, v any) (*Predicate, error) { return compare(opLt, path, v) }

// Le is true where the field is of v's kind and not above it.
func Le(path string, v any) (*Predicate, error) { return compare(opLe, path, v) }

// Gt is true where the field is of v's kind and above it.
func Gt(path string, v any) (*Predicate, error) { return compare(opGt, path, v) }

// Ge is true where the field is of v's kind and not below it.
func Ge(path string, v any) (*Predicate, error) { return compare(opGe, path, v) }

func compare(op condOp, path string, v any) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	right, err := constantTerm(v)
	if err != nil {
		return nil, err
	}
	return finished(comparison(op, left, right))
}

// In is true where the field's value is one of vs; of none, nowhere.
func In(path string, vs ...any) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(vs))
	for i, v := range vs {
		t, err := constantTerm(v)
		if err != nil {
			return nil, err
		}
		list[i] = t.value
	}
	return finished(membership(left, list))
}

// IsNull is true where the field is absent or nil.
func IsNull(path string) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	return finished(isNull(left))
}

func fieldTerm(name string) (term, error) {
	p, err := parsePath(name)
	if err != nil {
		return term{}, err
	}
	return term{op: termField, path: p}, nil
}

// constantTerm makes a constant of a Go value.
func constantTerm(v any) (term, error) {
	b, err := encoded(v)
	if err != nil {
		return term{}, err
	}
	return term{op: termConstant, value: b}, nil
}
