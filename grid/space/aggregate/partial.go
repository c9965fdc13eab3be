package aggregate

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Partial is the answer for some of the entries. Feed it with Add, combine it
// with Merge, send it with Append and DecodePartial, finish it with Result. It is
// used by one goroutine. After an error it must not be used any more.
type Partial struct {
	spec   *Spec
	groups map[string]*group // by the canonical values of the groups' paths, nil for null
	// values and bytes are what is held, against MaxDistinct and MaxBytes.
	values int
	bytes  int

	key  []byte // scratch: a group's key
	room []byte // scratch: a plain number
}

// group is the state of one row: a cell for each column.
type group struct {
	cells []cell
}

// cell is the state of one column in one group. Which fields count follows from
// the function.
type cell struct {
	n     uint64              // values seen; for FuncDistinct the size of set
	sum   *exact              // FuncSum, FuncAvg
	value []byte              // FuncMin, FuncMax: canonical
	set   map[string]struct{} // FuncDistinct: canonical values
	best  []Ranked            // FuncTop, FuncBottom: the best first
}

// Ranked is an entry of a Top or Bottom column.
type Ranked struct {
	Key    []byte
	Fields []byte // canonical msgpack map
	by     []byte // the value at the column's path: a part of Fields
}

// What things take in memory beyond their bytes, roughly.
const (
	groupBytes  = 128 // key, map slot, header
	cellBytes   = 96
	valueBytes  = 48 // a string in a map
	rankedBytes = 80
)

// New returns an empty partial for a specification, which must not change any
// more. The error is that of Spec.Validate.
func New(s *Spec) (*Partial, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p := &Partial{spec: s, groups: map[string]*group{}}
	if len(s.GroupBy) == 0 {
		if _, err := p.group(nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Add takes in an entry: its key and its fields, a canonical msgpack map, or nil
// for one of opaque bytes. It copies what it keeps. An error says which limit is
// exceeded, or which entry has something in a sum that is no number.
func (p *Partial) Add(key, fields []byte) error {
	p.key = p.key[:0]
	for _, path := range p.spec.GroupBy {
		v, ok := valueAt(fields, path)
		if !ok {
			p.key = msgp.AppendNil(p.key)
			continue
		}
		p.key = append(p.key, p.plain(v)...)
	}
	g, err := p.group(p.key)
	if err != nil {
		return err
	}
	for i := range p.spec.Columns {
		c := &p.spec.Columns[i]
		if c.Path == "" {
			g.cells[i].n++
			continue
		}
		v, ok := valueAt(fields, c.Path)
		if !ok {
			continue
		}
		if err := p.take(c, &g.cells[i], v, key, fields); err != nil {
			return err
		}
	}
	return nil
}

// valueAt returns the value at a path, false if it is null. Names in quotes are
// rare, so their path is split anew for each entry.
func valueAt(fields []byte, path string) (v []byte, ok bool) {
	if strings.IndexByte(path, '"') < 0 {
		v, ok = msgp.FieldPath(fields, path)
		return v, ok && msgp.KindOf(v) != msgp.Nil
	}
	steps, err := predicate.SplitPath(path)
	if err != nil {
		return nil, false // Spec.Validate refuses it
	}
	v = fields
	for _, step := range steps {
		if v, ok = msgp.Field(v, step); !ok {
			return nil, false
		}
	}
	return v, msgp.KindOf(v) != msgp.Nil
}

// take adds a value to a cell.
func (p *Partial) take(c *Column, x *cell, v, key, fields []byte) error {
	switch c.Func {
	case FuncCount:
		x.n++
	case FuncSum, FuncAvg:
		return p.sum(c, x, v, key)
	case FuncMin, FuncMax:
		x.n++
		return p.extreme(c, x, v)
	case FuncDistinct:
		return p.distinct(c, x, p.plain(v))
	case FuncTop, FuncBottom:
		x.n++
		return p.rank(c, x, Ranked{Key: key, Fields: fields, by: v}, true)
	}
	return nil
}

// group returns the state under a key, made if there is none.
func (p *Partial) group(key []byte) (*group, error) {
	if g := p.groups[string(key)]; g != nil {
		return g, nil
	}
	if len(p.groups) == MaxGroups {
		return nil, tooMuch("group by fewer paths, or narrow the filter", "more than %d groups", MaxGroups)
	}
	if err := p.hold(groupBytes + len(key) + cellBytes*len(p.spec.Columns)); err != nil {
		return nil, err
	}
	g := &group{cells: make([]cell, len(p.spec.Columns))}
	p.groups[string(key)] = g
	return g, nil
}

// hold accounts for memory, or gives some back.
func (p *Partial) hold(n int) error {
	if p.bytes += n; p.bytes > MaxBytes {
		return tooMuch("ask for fewer columns or groups, or narrow the filter", "the answer takes more than %d MiB", MaxBytes>>20)
	}
	return nil
}

func (p *Partial) sum(c *Column, x *cell, v, key []byte) error {
	number := numeral(v)
	if number.form == noNumber {
		return &space.Error{
			Code: space.CodeWrongKind, Detail: fmt.Sprintf("aggregate: %s: the entry %.100q has a %v there", c.Title(), key, msgp.KindOf(v)),
			Hint: "repair the entry, or add a condition on the field to the filter",
		}
	}
	x.n++
	if x.sum == nil {
		x.sum = &exact{}
	}
	before := cap(x.sum.limbs)
	if number.form == floatNumber {
		x.sum.addFloat(number.f)
	} else {
		x.sum.addInt(number.bits, number.form == negativeNumber)
	}
	return p.hold(8 * (cap(x.sum.limbs) - before))
}

// numeral reads a canonical number.
type number struct {
	form uint8
	bits uint64 // of an integer
	f    float64
}

const (
	noNumber = iota
	positiveNumber
	negativeNumber
	floatNumber
)

func numeral(v []byte) number {
	switch msgp.KindOf(v) {
	case msgp.Int:
		if u, _, err := msgp.ReadUint(v); err == nil {
			return number{form: positiveNumber, bits: u}
		}
		if i, _, err := msgp.ReadInt(v); err == nil {
			return number{form: negativeNumber, bits: uint64(i)}
		}
	case msgp.Float:
		if f, _, err := msgp.ReadFloat(v); err == nil && !math.IsNaN(f) {
			return number{form: floatNumber, f: f}
		}
	}
	return number{}
}

// plain returns a value in the form in which equal numbers have equal bytes: a
// float that is an integer of 64 bits becomes one. The result may be scratch.
func (p *Partial) plain(v []byte) []byte {
	if msgp.KindOf(v) != msgp.Float {
		return v
	}
	f, _, err := msgp.ReadFloat(v)
	if err != nil || f != math.Trunc(f) || f < -1<<63 || f >= 1<<64 {
		return v
	}
	if f < 0 {
		p.room = msgp.AppendInt(p.room[:0], int64(f))
	} else {
		p.room = msgp.AppendUint(p.room[:0], uint64(f))
	}
	return p.room
}

// extreme keeps the lower or higher value. Of equal numbers in two forms the
// one with the lower bytes stays, whichever came first.
func (p *Partial) extreme(c *Column, x *cell, v []byte) error {
	if x.value != nil {
		order := msgp.Compare(v, x.value)
		if c.Func == FuncMax {
			order = -order
		}
		if order > 0 || order == 0 && bytes.Compare(v, x.value) >= 0 {
			return nil
		}
	}
	before := len(x.value)
	x.value = append(x.value[:0:0], v...)
	return p.hold(len(v) - before)
}

// distinct enters a plain value.
func (p *Partial) distinct(c *Column, x *cell, v []byte) error {
	if _, ok := x.set[string(v)]; ok {
		return nil
	}
	if p.values == MaxDistinct {
		return tooMuch("narrow the filter, or group by the path and count the groups of each part",
			"%s: more than %d different values to tell apart", c.Title(), MaxDistinct)
	}
	if x.set == nil {
		x.set = map[string]struct{}{}
	}
	x.set[string(v)] = struct{}{}
	x.n++
	p.values++
	return p.hold(valueBytes + len(v))
}

// rank enters an entry if it is among the best; its bytes are copied if they
// are borrowed.
func (p *Partial) rank(c *Column, x *cell, e Ranked, borrowed bool) error {
	at, there := slices.BinarySearchFunc(x.best, e, c.compare)
	if at == c.N || there {
		return nil
	}
	if borrowed {
		e = Ranked{Key: bytes.Clone(e.Key), Fields: bytes.Clone(e.Fields)}
		e.by, _ = valueAt(e.Fields, c.Path)
	}
	held := e.bytes()
	if len(x.best) == c.N {
		last := len(x.best) - 1
		held -= x.best[last].bytes()
		x.best[last] = Ranked{}
		x.best = x.best[:last]
	}
	x.best = slices.Insert(x.best, at, e)
	return p.hold(held)
}

func (e *Ranked) bytes() int { return rankedBytes + len(e.Key) + len(e.Fields) }

// compare orders the entries of a Top or Bottom column, the best first.
func (c *Column) compare(a, b Ranked) int {
	order := msgp.Compare(a.by, b.by)
	if c.Func == FuncTop {
		order = -order
	}
	if order == 0 {
		order = bytes.Compare(a.Key, b.Key)
	}
	return order
}

// Merge takes in another partial for the same specification. q must not be used
// any more: p keeps parts of it.
func (p *Partial) Merge(q *Partial) error {
	for key, from := range q.groups {
		to, err := p.group([]byte(key))
		if err != nil {
			return err
		}
		for i := range p.spec.Columns {
			if err := p.combine(&p.spec.Columns[i], &to.cells[i], &from.cells[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Partial) combine(c *Column, to, from *cell) error {
	if c.Func != FuncDistinct {
		to.n += from.n
	}
	switch {
	case from.sum != nil:
		if to.sum == nil {
			to.sum = &exact{}
		}
		before := cap(to.sum.limbs)
		to.sum.merge(from.sum)
		return p.hold(8 * (cap(to.sum.limbs) - before))
	case from.value != nil:
		return p.extreme(c, to, from.value)
	case len(from.best) > 0:
		for _, e := range from.best {
			if err := p.rank(c, to, e, false); err != nil {
				return err
			}
		}
	}
	for v := range from.set {
		if err := p.distinct(c, to, []byte(v)); err != nil {
			return err
		}
	}
	return nil
}

func tooMuch(hint, format string, args ...any) error {
	return &space.Error{Code: space.CodeTooLarge, Detail: "aggregate: " + fmt.Sprintf(format, args...), Hint: hint}
}

// CountsOnly reports whether all that s asks for is the number of entries, so
// that they need not be read: see AddCount.
func (s *Spec) CountsOnly() bool {
	return len(s.GroupBy) == 0 && !slices.ContainsFunc(s.Columns, func(c Column) bool { return c.Func != FuncCount || c.Path != "" })
}

// AddCount takes in n entries of which nothing but their number is asked for. It
// panics unless CountsOnly.
func (p *Partial) AddCount(n int) {
	if !p.spec.CountsOnly() {
		panic("aggregate: entries counted that have to be read")
	}
	cells := p.groups[""].cells
	for i := range cells {
		cells[i].n += uint64(n)
	}
}
