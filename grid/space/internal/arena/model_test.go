package arena

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// entry is what the model knows of an entry.
type entry struct {
	key   string
	meta  Meta
	value string
}

// model is a table beside the obvious way to write one. Every operation is done to
// both, and what they say is compared.
type model struct {
	t       *Table
	byKey   map[string]entry
	byOrder map[uint64]string
	version uint64
	images  []cut
}

// cut is an image and what it must contain.
type cut struct {
	image *Image
	want  []entry
}

func newModel() *model {
	return &model{t: New(maphash.MakeSeed()), byKey: map[string]entry{}, byOrder: map[uint64]string{}}
}

func (m *model) put(key string, meta Meta, value string) error {
	m.version++
	meta.Version = m.version
	was, present := m.byKey[key]
	if present {
		meta.Order = was.meta.Order
	}
	// A repeated write passes an order that must be ignored.
	passed := meta
	if present {
		passed.Order += 12345
	}
	old, replaced := m.t.Put([]byte(key), passed, []byte(value))
	m.byKey[key] = entry{key, meta, value}
	m.byOrder[meta.Order] = key
	if replaced != present {
		return fmt.Errorf("put %q: replaced %v, want %v", key, replaced, present)
	}
	if present {
		return same(old, was)
	}
	return nil
}

func (m *model) delete(key string) error {
	was, present := m.byKey[key]
	old, removed := m.t.Delete([]byte(key))
	if removed != present {
		return fmt.Errorf("delete %q: removed %v, want %v", key, removed, present)
	}
	if !present {
		return nil
	}
	delete(m.byKey, key)
	delete(m.byOrder, was.meta.Order)
	return same(old, was)
}

func (m *model) get(key string) error {
	want, present := m.byKey[key]
	rec, ok := m.t.Get([]byte(key))
	if ok != present {
		return fmt.Errorf("get %q: %v, want %v", key, ok, present)
	}
	if !ok {
		return nil
	}
	return same(rec, want)
}

func (m *model) getByOrder(order uint64) error {
	key, present := m.byOrder[order]
	rec, ok := m.t.ByOrder(order)
	if ok != present {
		return fmt.Errorf("order %d: %v, want %v", order, ok, present)
	}
	if !ok {
		return nil
	}
	return same(rec, m.byKey[key])
}

func (m *model) cut() { m.images = append(m.images, cut{m.t.Image(), m.sorted(0)}) }

// sorted returns the model's entries from an order on.
func (m *model) sorted(from uint64) []entry {
	var all []entry
	for _, e := range m.byKey {
		if e.meta.Order >= from {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.meta.Order < b.meta.Order {
			return -1
		}
		return 1
	})
	return all
}

// check compares everything, and the table with itself.
func (m *model) check() error {
	if m.t.Len() != len(m.byKey) {
		return fmt.Errorf("%d entries, want %d", m.t.Len(), len(m.byKey))
	}
	for key := range m.byKey {
		if err := m.get(key); err != nil {
			return err
		}
	}
	for order := range m.byOrder {
		if err := m.getByOrder(order); err != nil {
			return err
		}
	}
	all := m.sorted(0)
	if err := sameAll(m.t.Ascend(0), all); err != nil {
		return fmt.Errorf("ascend: %w", err)
	}
	if len(all) > 0 {
		from := all[len(all)/2].meta.Order
		if err := sameAll(m.t.Ascend(from), m.sorted(from)); err != nil {
			return fmt.Errorf("ascend from %d: %w", from, err)
		}
		if err := sameAll(m.t.Ascend(from+1), m.sorted(from+1)); err != nil {
			return fmt.Errorf("ascend from %d: %w", from+1, err)
		}
	}
	for i, c := range m.images {
		if c.image.Len() != len(c.want) {
			return fmt.Errorf("image %d: %d entries, want %d", i, c.image.Len(), len(c.want))
		}
		if err := sameAll(c.image.Ascend(), c.want); err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
	}
	return audit(m.t)
}

func sameAll(got iter.Seq[Record], want []entry) error {
	i := 0
	for rec := range got {
		if i == len(want) {
			return fmt.Errorf("more than the %d entries", len(want))
		}
		if err := same(rec, want[i]); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		i++
	}
	if i != len(want) {
		return fmt.Errorf("%d entries, want %d", i, len(want))
	}
	return nil
}

func same(rec Record, want entry) error {
	if string(rec.Key()) != want.key || string(rec.Value()) != want.value || rec.Meta() != want.meta {
		return fmt.Errorf("got %q %+v and %d bytes, want %q %+v and %d bytes",
			rec.Key(), rec.Meta(), len(rec.Value()), want.key, want.meta, len(want.value))
	}
	return nil
}

// A table answers like a map with a sorted list of orders beside it, whatever is
// done to it in whatever sequence; images stay as they were cut.
func TestTableIsAMapWithOrders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel()
		keys := rapid.SampledFrom([]int{5, 60, 2000}).Draw(rt, "keys")
		// How far orders lie apart, and whether they only grow.
		stride := rapid.SampledFrom([]uint64{1, 3, 40, 1 << 20}).Draw(rt, "stride")
		shuffled := rapid.Bool().Draw(rt, "shuffled")
		if rapid.Bool().Draw(rt, "reserved") {
			m.t.Reserve(keys)
		}
		seed := rapid.Uint64().Draw(rt, "seed")
		rnd := rand.New(rand.NewPCG(seed, 0))
		next := uint64(0)
		newOrder := func() uint64 {
			for {
				next += 1 + rnd.Uint64N(2*stride-1)
				o := next
				if shuffled {
					o = rnd.Uint64N(next*4 + 1000)
				}
				if _, taken := m.byOrder[o]; !taken {
					return o
				}
			}
		}
		key := func() string { return fmt.Sprintf("k%d", rnd.IntN(keys)) }
		value := func() string {
			n := rnd.IntN(200)
			switch rnd.IntN(200) {
			case 0:
				n = 40_000 + rnd.IntN(40_000)
			case 1:
				n = rnd.IntN(ownSlabLen)
			}
			return string(bytes.Repeat([]byte{byte(rnd.Uint32())}, n))
		}
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		put := func() {
			meta := Meta{Order: newOrder(), Kind: byte(rnd.Uint32())}
			if rnd.IntN(3) == 0 {
				meta.Deadline = int64(rnd.Uint64())
			}
			if rnd.IntN(3) == 0 {
				meta.Extra = rnd.Uint64()
			}
			must(m.put(key(), meta, value()))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1000).Draw(rt, "n") {
					put()
				}
			},
			"delete": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1000).Draw(rt, "n") {
					must(m.delete(key()))
				}
			},
			"churn": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1000).Draw(rt, "n") {
					put()
					must(m.delete(key()))
					must(m.get(key()))
				}
			},
			"drain": func(rt *rapid.T) {
				all := m.sorted(0)
				for _, e := range all[:len(all)*rapid.IntRange(0, 4).Draw(rt, "quarters")/4] {
					must(m.delete(e.key))
				}
			},
			"image": func(rt *rapid.T) {
				if len(m.images) == 3 {
					m.images = m.images[1:]
				}
				m.cut()
			},
			"": func(rt *rapid.T) { must(m.check()) },
		})
	})
}

// No program of writes makes table and model differ, or the table's accounts wrong.
func FuzzTable(f *testing.F) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		program := make([]byte, 3000)
		for i := range program {
			program[i] = byte(rnd.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		m := newModel()
		order := uint64(0)
		for len(program) >= 3 {
			op, a, b := program[0], program[1], program[2]
			program = program[3:]
			key := string(binary.BigEndian.AppendUint16(nil, uint16(a)*uint16(op>>4)))
			var err error
			switch op % 8 {
			case 0, 1, 2, 3:
				order += 1 + uint64(b)<<(op%8*3)
				err = m.put(key, Meta{Order: order, Kind: b}, string(make([]byte, int(a)*int(b)/8)))
			case 4, 5:
				err = m.delete(key)
			case 6:
				err = m.get(key)
			case 7:
				if m.images = nil; b < 16 {
					m.cut()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
	})
}

// audit recomputes every count that the table keeps and follows every reference
// both ways.
func audit(t *Table) error {
	if err := auditSlabs(t); err != nil {
		return err
	}
	if err := auditIndex(t); err != nil {
		return err
	}
	if err := auditPages(t); err != nil {
		return err
	}
	want := Bytes{
		Live:    t.slabs.live,
		Garbage: t.slabs.used - t.slabs.live,
		Slabs:   t.slabs.capacity,
		Index:   t.index.bytes(),
		Pages:   t.pages.bytes,
	}
	if got := t.Bytes(); got != want || got.Total() != want.Slabs+want.Index+want.Pages {
		return fmt.Errorf("sizes %+v, want %+v", got, want)
	}
	return nil
}

func auditSlabs(t *Table) error {
	s := &t.slabs
	var capacity, used, dead, sealedUsed, sealedDead int
	if dir := s.dir.Load(); dir != nil {
		for i := range dir.chunks {
			chunk := dir.chunks[i].Load()
			if chunk == nil {
				continue
			}
			count := 0
			for j := range chunk.slabs {
				sl := chunk.slabs[j].Load()
				if sl == nil {
					continue
				}
				count++
				if sl.use.id != uint64(i*chunkLen+j) || sl.use.slab != sl {
					return fmt.Errorf("slab %d in the place of %d", sl.use.id, i*chunkLen+j)
				}
				live := 0
				for at := 0; at < sl.use.used; {
					rec := recordAt(sl.buf[at:])
					if t.pages.at(rec.Order()) == makeRef(sl.use.id, at) {
						live += rec.Size()
					}
					at += rec.Size()
				}
				if live != sl.use.used-sl.use.dead {
					return fmt.Errorf("slab %d: %d live bytes, account says %d", sl.use.id, live, sl.use.used-sl.use.dead)
				}
				if live == 0 && sl.use != s.tail {
					return fmt.Errorf("slab %d is dead and still there", sl.use.id)
				}
				capacity += len(sl.buf)
				used += sl.use.used
				dead += sl.use.dead
				if sl.use != s.tail && !sl.use.own {
					sealedUsed += sl.use.used
					sealedDead += sl.use.dead
				}
			}
			if count != chunk.count || count == 0 {
				return fmt.Errorf("chunk %d: %d slabs, account says %d", i, count, chunk.count)
			}
		}
	}
	got := []int{s.capacity, s.used, s.live, s.sealedUsed, s.sealedDead}
	if want := []int{capacity, used, used - dead, sealedUsed, sealedDead}; !slices.Equal(got, want) {
		return fmt.Errorf("slab accounts (capacity, used, live, sealed, its dead) %v, want %v", got, want)
	}
	return nil
}

func auditIndex(t *Table) error {
	dir := t.index.dir.Load()
	if dir == nil {
		return nil
	}
	segments := map[*segment]bool{}
	for i := range dir.segments {
		segments[dir.segments[i].Load()] = true
	}
	slots, entries := 0, 0
	for g := range maps.Keys(segments) {
		live, used := 0, 0
		for i := range g.slots {
			v := g.slots[i]
			if v != 0 {
				used++
			}
			if r := ref(v & refMask); r != 0 {
				live++
				if rec := t.slabs.mustRecord(r); t.pages.at(rec.Order()) != r {
					return fmt.Errorf("index leads to a dead record of %q", rec.Key())
				}
			}
		}
		if live != g.live || used != g.used || 4*used > 3*len(g.slots) {
			return fmt.Errorf("segment of %d: %d live and %d used, account says %d and %d", len(g.slots), live, used, g.live, g.used)
		}
		slots += len(g.slots)
		entries += live
	}
	if slots != t.index.slots || entries != t.Len() {
		return fmt.Errorf("index of %d slots and %d entries, account says %d and %d", slots, entries, t.index.slots, t.Len())
	}
	return nil
}

func auditPages(t *Table) error {
	root := t.pages.root.Load()
	if root == nil {
		return nil
	}
	size, entries, covered := 0, 0, uint64(0)
	for li := range root.leaves {
		leaf := root.leaves[li].Load()
		if root.firsts[li] < covered || li == 0 && root.firsts[li] != 0 {
			return fmt.Errorf("leaf %d begins at %d, below %d", li, root.firsts[li], covered)
		}
		covered = root.firsts[li]
		if len(leaf.pages) == 0 || len(leaf.pages) > maxLeaf {
			return fmt.Errorf("leaf %d has %d pages", li, len(leaf.pages))
		}
		if li > 0 && len(leaf.pages)+len(root.leaves[li-1].Load().pages) <= maxLeaf/2 {
			return fmt.Errorf("leaves %d and %d should be one", li-1, li)
		}
		for pi := range leaf.pages {
			p := leaf.pages[pi].Load()
			if p.first != leaf.firsts[pi] || p.first < covered || p.first != block(p.first) {
				return fmt.Errorf("page %d of leaf %d begins at %d, listed as %d, below %d", pi, li, p.first, leaf.firsts[pi], covered)
			}
			live := 0
			for i := range p.len() {
				if p.order(i) < covered {
					return fmt.Errorf("order %d below %d", p.order(i), covered)
				}
				covered = p.order(i)
				if p.slots[i] != 0 {
					live++
				}
			}
			last := li == len(root.leaves)-1 && pi == len(leaf.pages)-1
			if live != p.live || !last && live == 0 || !last && p.dense() && live < minDense {
				return fmt.Errorf("page at %d: %d live, account says %d", p.first, live, p.live)
			}
			entries += live
			size += p.size()
		}
	}
	if size != t.pages.bytes || entries != t.Len() {
		return fmt.Errorf("pages of %d bytes and %d entries, account says %d and %d", size, entries, t.pages.bytes, t.Len())
	}
	return nil
}
