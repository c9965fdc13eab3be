package space

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Bounds of what one space may be waited for with, because each entry that
// becomes available is compared with it.
const (
	maxShapes   = 64  // different sets of field names: a hash of the entry's values for each
	maxFiltered = 256 // different pairs of template and predicate: a predicate to evaluate for each, at worst
)

// lines finds the waiters of one space that an entry fits without looking at all
// of them. Those who name a key are under that key. The others are under a hash
// of the values that their template asks for, in one table for each set of field
// names: the entry's own values of these fields lead to them.
type lines struct {
	keys     map[string][]*line
	shapes   []*shape
	filtered int // lines with a predicate
	waiters  int
}

// shape is the lines whose templates name the same fields.
type shape struct {
	fields []string
	byHash map[uint64][]*line
	lines  int
}

// line is the queue of those who wait for the same thing, oldest first.
type line struct {
	keyed     bool
	key       []byte
	template  []byte
	predicate []byte
	filter    filter // of both; of a line outside of any table without the predicate
	hash      uint64 // of the template's values; without a key

	head, tail *waiter
}

func newLines() *lines { return &lines{keys: map[string][]*line{}} }

// fits reports whether an entry is what the line waits for.
func (l *line) fits(e *Entry) bool {
	if l.keyed && !bytes.Equal(l.key, e.Key) {
		return false
	}
	return l.filter.matches(e.Kind, e.Value)
}

// is reports whether two lines are for the same thing.
func (l *line) is(x *line) bool {
	return l.keyed == x.keyed && bytes.Equal(l.key, x.key) && bytes.Equal(l.template, x.template) && bytes.Equal(l.predicate, x.predicate)
}

// newLine returns the line that an operation belongs into, outside of any table.
func newLine(seed maphash.Seed, o *Op) *line {
	l := &line{keyed: o.keyed(), template: bytes.Clone(o.Template), predicate: bytes.Clone(o.Predicate)}
	l.filter, _ = newFilter(l.template, nil) // it was asked before
	if l.keyed {
		l.key = bytes.Clone(o.Key)
		return l
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for i := range l.filter.fields {
		hashValue(&h, l.filter.fields[i].value)
	}
	l.hash = h.Sum64()
	return l
}

// hashOf returns the hash under which the lines are that an entry may fit.
func (s *shape) hashOf(seed maphash.Seed, e *Entry) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(seed)
	if len(s.fields) > 0 && e.Kind != KindFields {
		return 0, false
	}
	for _, f := range s.fields {
		v, ok := msgp.Field(e.Value, f)
		if !ok {
			return 0, false
		}
		hashValue(&h, v)
	}
	return h.Sum64(), true
}

func (in *lines) shapeOf(l *line) *shape {
	for _, s := range in.shapes {
		if slices.EqualFunc(s.fields, l.filter.fields, func(name string, f templateField) bool { return name == string(f.name) }) {
			return s
		}
	}
	return nil
}

// find returns the line in the table that is for the same as l, or nil.
func (in *lines) find(l *line) *line {
	among := in.keys[string(l.key)]
	if !l.keyed {
		s := in.shapeOf(l)
		if s == nil {
			return nil
		}
		among = s.byHash[l.hash]
	}
	for _, x := range among {
		if x.is(l) {
			return x
		}
	}
	return nil
}

// room reports whether an operation may wait here, as far as the numbers of
// shapes and predicates go.
func (in *lines) room(seed maphash.Seed, o *Op) bool {
	if (len(o.Predicate) == 0 || in.filtered < maxFiltered) && (o.keyed() || len(in.shapes) < maxShapes) {
		return true
	}
	l := newLine(seed, o)
	switch {
	case in.find(l) != nil:
		return true
	case len(o.Predicate) > 0 && in.filtered >= maxFiltered:
		return false
	}
	return in.shapeOf(l) != nil
}

// join puts a waiter at the end of its line, which is made if it is the first.
func (in *lines) join(seed maphash.Seed, x *waiter) {
	l := newLine(seed, &x.op)
	if old := in.find(l); old != nil {
		l = old
	} else {
		in.insert(l)
	}
	x.line = l
	x.op.Key, x.op.Template, x.op.Predicate = l.key, l.template, l.predicate
	if x.prev = l.tail; x.prev == nil {
		l.head = x
	} else {
		x.prev.next = x
	}
	l.tail = x
	in.waiters++
}

func (in *lines) insert(l *line) {
	if len(l.predicate) > 0 {
		in.filtered++
		l.filter.predicate, _ = predicate.Decode(l.predicate) // mustWait has seen that it can be
	}
	if l.keyed {
		in.keys[string(l.key)] = append(in.keys[string(l.key)], l)
		return
	}
	s := in.shapeOf(l)
	if s == nil {
		s = &shape{byHash: map[uint64][]*line{}}
		for i := range l.filter.fields {
			s.fields = append(s.fields, string(l.filter.fields[i].name))
		}
		in.shapes = append(in.shapes, s)
	}
	s.byHash[l.hash] = append(s.byHash[l.hash], l)
	s.lines++
}

// leave takes a waiter out of its line, and the line out of the table if it was
// the last one.
func (in *lines) leave(x *waiter) {
	l := x.line
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		l.head = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		l.tail = x.prev
	}
	in.waiters--
	if l.head == nil {
		in.drop(l)
	}
}

func (in *lines) drop(l *line) {
	if len(l.predicate) > 0 {
		in.filtered--
	}
	if l.keyed {
		dropLine(in.keys, string(l.key), l)
		return
	}
	s := in.shapeOf(l)
	dropLine(s.byHash, l.hash, l)
	if s.lines--; s.lines == 0 {
		in.shapes = slices.DeleteFunc(in.shapes, func(x *shape) bool { return x == s })
	}
}

func dropLine[K comparable](m map[K][]*line, k K, l *line) {
	rest := slices.DeleteFunc(m[k], func(x *line) bool { return x == l })
	if len(rest) == 0 {
		delete(m, k)
		return
	}
	m[k] = rest
}

// oldest returns the waiter that came first of those that an entry fits, or nil.
// It depends on the waiters alone, not on the order in which they are looked at.
func (in *lines) oldest(seed maphash.Seed, e *Entry, eligible bool) *waiter {
	best := older(nil, in.keys[string(e.Key)], e)
	if !eligible {
		return best
	}
	for _, s := range in.shapes {
		if h, ok := s.hashOf(seed, e); ok {
			best = older(best, s.byHash[h], e)
		}
	}
	return best
}

// older returns the oldest of a waiter and the heads of the lines that an entry
// fits.
func older(best *waiter, among []*line, e *Entry) *waiter {
	for _, l := range among {
		if (best == nil || l.head.place < best.place) && l.fits(e) {
			best = l.head
		}
	}
	return best
}
