package grid

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/spacegrid/spacegrid/grid/space"
)

// ChangePart is a part of a change: a mutation ([Set], [Add], [Push], …) or a
// condition or option ([If], [IfVersion], [OrCreate], [WithLease], [AllowScan]). A part that
// was made of what cannot be stored says so when the change is carried out.
type ChangePart interface {
	amend(*space.Op) error
}

//nolint:unparam // other parts fail
func (o WriteOption) amend(op *space.Op) error {
	o(op)
	return nil
}

// OrCreate makes a change begin with an entry without fields if the key is
// absent, where it would fail with [ErrNotFound]. The field that holds the key,
// if the space has one, is set, and [WithLease] says how long the entry lives.
func OrCreate() WriteOption {
	return func(o *space.Op) { o.Flags |= space.FlagCreate }
}

// AllowScan lets a change by template examine any number of entries if no index
// serves, where it would fail with [ErrScanRefused].
func AllowScan() WriteOption {
	return func(o *space.Op) { o.Flags |= space.FlagAllowScan }
}

// Changed is what a change has made of an entry.
type Changed[T any] struct {
	Value   T
	Version Version
	// Fields counts the fields and elements that were added or removed. A value
	// that was replaced is not counted.
	Fields int
}

// Change changes the entry under a key where it is, without sending it here and
// back, and returns what it has become. The parts take effect in order and
// together or not at all, and once, however often the grid has to send them;
// nobody sees the entry in between. Other members of the grid are told what is to
// be done, subscribers and stores what came of it.
//
//	seats.Change(ctx, "A1", grid.Add("stock", -2).Min(0), grid.Set("owner.name", "ada"))
//
// It fails with [ErrNotFound] if there is no entry (see [OrCreate]), with
// [ErrUnmet] or [ErrConflict] if a condition does not hold, with [ErrRange] if a
// number would leave its bounds or a position its array, with [ErrWrongKind] if
// something that is there is not what a mutation works on, and with
// [ErrTooLarge]; nothing has changed then. Should the fields not fit T any more,
// the error says so, and Changed has the version that was made all the same.
func (s *Space[T]) Change(ctx context.Context, key any, parts ...ChangePart) (Changed[T], error) {
	e, err := s.g.change(ctx, &s.def, key, s.codec.keyField, parts)
	if err != nil {
		return Changed[T]{}, err
	}
	return s.changed(e)
}

// ChangeMatch changes the first entries that pass a filter, at most limit of
// one partition, and returns what they have become, or ErrNotFound. They are
// changed together or not at all, otherwise as by [Space.Change]. Within a
// partition they are the oldest ones; which partition is asked first is left to
// chance.
func (s *Space[T]) ChangeMatch(ctx context.Context, f Filter, limit int, parts ...ChangePart) ([]Changed[T], error) {
	es, err := s.g.changeMatch(ctx, &s.typed, f, limit, parts)
	if err != nil {
		return nil, err
	}
	list := make([]Changed[T], len(es))
	for i, e := range es {
		var unfit error
		list[i], unfit = s.changed(Changed[Entry]{Value: e, Version: e.Version})
		err = errors.Join(err, unfit)
	}
	return list, err
}

func (s *Space[T]) changed(e Changed[Entry]) (Changed[T], error) {
	c := Changed[T]{Version: e.Version, Fields: e.Fields}
	if err := s.codec.decode(space.Entry{Value: e.Value.Value, Kind: e.Value.Kind}, &c.Value); err != nil {
		// Not wrapped: refusals say that nothing has changed.
		return c, fmt.Errorf("grid: changed to version %d, but the entry does not fit its Go type any more: %v", e.Version, err) //nolint:errorlint // see above
	}
	return c, nil
}

// Change changes the entry under a key of a space, as [Space.Change] does.
func (g *Grid) Change(ctx context.Context, spaceName string, key any, parts ...ChangePart) (Changed[Entry], error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return Changed[Entry]{}, err
	}
	return g.change(ctx, &def, key, keyField, parts)
}

// ChangeMatch changes the first entries of a space that pass a filter, as
// [Space.ChangeMatch] does.
func (g *Grid) ChangeMatch(ctx context.Context, spaceName string, f Filter, limit int, parts ...ChangePart) ([]Entry, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	return g.changeMatch(ctx, &def, f, limit, parts)
}

// change is Change once the space is known. field makes the value of the field
// that holds the key.
func (g *Grid) change(ctx context.Context, def *space.Definition, key any, field func(key any) (any, error), parts []ChangePart) (Changed[Entry], error) {
	k, err := Key(key)
	if err != nil {
		return Changed[Entry]{}, err
	}
	op, err := changeOp(space.OpChange, def, parts)
	if err != nil {
		return Changed[Entry]{}, err
	}
	op.Key = k
	if def.Key != "" && op.Flags&space.FlagCreate != 0 {
		first := space.Mutation{Code: space.MutDefault, Field: def.Key}
		v, err := field(key)
		if err == nil {
			first.Arg, err = valueOf(v)
		}
		if err != nil {
			return Changed[Entry]{}, err
		}
		op.Mutations = append([]space.Mutation{first}, op.Mutations...)
	}
	r, err := g.do(ctx, op)
	if err != nil {
		return Changed[Entry]{}, err
	}
	return Changed[Entry]{Value: entryOf(r.Entries[0]), Version: r.Version, Fields: r.Count}, nil
}

// keyField returns what the field of a key holds in an entry without a Go type:
// the key as it is given, text if its bytes are.
func keyField(key any) (any, error) {
	if b, ok := key.([]byte); ok && utf8.Valid(b) {
		return string(b), nil
	}
	return key, nil
}

// keyField returns what T's key field holds under a key.
func (c *codec[T]) keyField(given any) (any, error) {
	key, err := Key(given)
	if err != nil {
		return nil, err
	}
	if c.routing >= 0 {
		key = unrouted(key)
	}
	f := reflect.New(reflect.TypeFor[T]().Field(c.key).Type).Elem()
	switch {
	case f.Kind() == reflect.String:
		f.SetString(string(key))
	case f.CanInt():
		n, _ := strconv.ParseInt(string(key), 10, 64)
		f.SetInt(n)
	case f.CanUint():
		n, _ := strconv.ParseUint(string(key), 10, 64)
		f.SetUint(n)
	default:
		f.SetBytes(key)
	}
	if !bytes.Equal(keyOf(f), key) {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%q is no key of type %s", key, f.Type()), Hint: "give the key as the key field's type"}
	}
	return f.Interface(), nil
}

// changeMatch is ChangeMatch once the space is known.
func (g *Grid) changeMatch(ctx context.Context, def *space.Definition, f Filter, limit int, parts []ChangePart) ([]Entry, error) {
	template, condition, err := filterFor(def, f)
	if err != nil {
		return nil, err
	}
	op, err := changeOp(space.OpChangeMatch, def, parts)
	if err == nil && condition != nil {
		err = asCondition(condition).amend(&op)
	}
	op.Template = template
	switch {
	case err != nil:
		return nil, err
	case op.Match != 0 || op.Flags&space.FlagCreate != 0 || op.Mode != space.ModeUpsert || op.Lease != 0:
		return nil, &space.Error{Code: space.CodeInvalid, Detail: "a change by template looks for entries: it knows no version, and creates none", Hint: "use If, or Change with a key"}
	}
	op.Limit = limit
	return g.doMatch(ctx, op)
}

// changeOp puts the parts of a change together.
func changeOp(code space.OpCode, def *space.Definition, parts []ChangePart) (space.Op, error) {
	op := space.Op{Code: code, Space: def.ID, Flags: space.FlagReturn, Kind: space.KindFields}
	for _, p := range parts {
		if err := p.amend(&op); err != nil {
			return space.Op{}, err
		}
	}
	if len(op.Mutations) == 0 {
		return space.Op{}, &space.Error{Code: space.CodeInvalid, Detail: "a change that changes nothing", Hint: "add a Set, an Add or another mutation"}
	}
	for i := range op.Mutations {
		if def.Key != "" && op.Mutations[i].Field == def.Key {
			return space.Op{}, &space.Error{
				Code: space.CodeInvalid, Detail: fmt.Sprintf("%q holds the entry's key, which does not change", def.Key),
				Hint: "take the entry and write it under its new key",
			}
		}
	}
	if op.Mode != space.ModeUpsert || op.Flags&space.FlagKeepLease != 0 {
		return space.Op{}, &space.Error{Code: space.CodeInvalid, Detail: "IfAbsent and IfPresent are for writes", Hint: "a change needs the entry, unless OrCreate is given"}
	}
	return op, nil
}

// errPath wraps what is wrong with a mutation, or returns nil.
func errPath(what, path string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*space.Error](err); ok {
		return &space.Error{Code: e.Code, Detail: fmt.Sprintf("%s %q: %s", what, path, e.Detail), Hint: e.Hint}
	}
	return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%s %q: %v", what, path, err)}
}
