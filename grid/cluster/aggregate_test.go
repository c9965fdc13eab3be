package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// encoded returns a canonical map.
func encoded(t testing.TB, fields map[string]any) []byte {
	t.Helper()
	b, err := msgp.AppendValue(nil, fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeSeats writes n entries in sections A to D, priced by their number.
func writeSeats(t *testing.T, r *Router, id space.ID, n int) {
	t.Helper()
	var calls []*Call
	for i := range n {
		key := fmt.Append(nil, "seat", i)
		value := encoded(t, map[string]any{"section": string(rune('A' + i%4)), "price": i})
		calls = append(calls, &Call{Partition: at(r, string(key)), Ops: []space.Op{
			{Code: space.OpWrite, Space: id, Key: key, Value: value, Kind: space.KindFields},
		}})
	}
	r.Do(t.Context(), calls)
	for _, c := range calls {
		if err := errors.Join(c.Err, c.Reply.Err()); err != nil {
			t.Fatal(err)
		}
	}
}

func rowsOf(t *testing.T, p *aggregate.Partial, err error) [][]any {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Result()
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	for _, row := range res.Rows {
		rows = append(rows, append(row.Groups, row.Values...))
	}
	return rows
}

// What a grid answers over all partitions, from inside and over connections, is
// what the entries amount to; filters narrow it, and a space that is not there is
// an error.
func TestAggregateOverAllPartitions(t *testing.T) {
	local := alone(t, NodeConfig{Partitions: 16}).Router()
	for name, r := range map[string]*Router{"in process": local, "from afar": afar(t, 16)} {
		t.Run(name, func(t *testing.T) {
			id := defaultSpace(t, r)
			writeSeats(t, r, id, 400)
			write(t, r, id, "opaque", "x")
			cheap, err := predicate.Parse("price < 100")
			if err != nil {
				t.Fatal(err)
			}
			spec := &aggregate.Spec{GroupBy: []string{"section"}, Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("price"), aggregate.Max("price")}}
			for _, c := range []struct {
				name  string
				level Level
				q     Aggregate
				want  [][]any
			}{
				{"all", Linearizable, Aggregate{Spec: spec}, [][]any{
					{nil, int64(1), nil, nil},
					{"A", int64(100), int64(19800), int64(396)}, {"B", int64(100), int64(19900), int64(397)},
					{"C", int64(100), int64(20000), int64(398)}, {"D", int64(100), int64(20100), int64(399)},
				}},
				{"a template", Linearizable, Aggregate{Spec: spec, Template: encoded(t, map[string]any{"section": "B"})}, [][]any{
					{"B", int64(100), int64(19900), int64(397)},
				}},
				{"both, locally", Local, Aggregate{Spec: spec, Template: encoded(t, map[string]any{"section": "B"}), Predicate: cheap.Append(nil)}, [][]any{
					{"B", int64(25), int64(25 * 49), int64(97)},
				}},
				{"a count", Linearizable, Aggregate{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count()}}}, [][]any{{int64(401)}}},
				{"a local count", Local, Aggregate{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count()}}}, [][]any{{int64(401)}}},
				{"one partition", Linearizable, Aggregate{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count()}}, Partitions: []space.PartitionID{at(r, "opaque")}}, nil},
			} {
				c.q.Space = id
				p, err := r.Aggregate(t.Context(), c.level, c.q)
				got := rowsOf(t, p, err)
				if c.want == nil {
					if n := got[0][0].(int64); n < 1 || n > 100 {
						t.Errorf("%s: %d entries", c.name, n)
					}
				} else if !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s: %v, want %v", c.name, got, c.want)
				}
			}
			if _, err := r.Aggregate(t.Context(), Linearizable, Aggregate{Spec: spec}); !errors.Is(err, space.ErrNoSpace) {
				t.Errorf("of a space that is not there: %v", err)
			}
			if _, err := r.Aggregate(t.Context(), Linearizable, Aggregate{Space: id, Spec: spec, Template: []byte{0xc1}}); !errors.Is(err, space.ErrInvalid) {
				t.Errorf("with a template that is none: %v", err)
			}
			_, err = r.Aggregate(t.Context(), Linearizable, Aggregate{Space: id, Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Sum("section")}}})
			if e := new(space.Error); !errors.As(err, &e) || e.Code != space.CodeWrongKind || e.Hint == "" {
				t.Errorf("a sum of words: %v", err)
			}
		})
	}
}

// With an index or without, few candidates or many: the answer is the same, also
// while the index is being built.
func TestIndexesDoNotChangeAggregates(t *testing.T) {
	r := alone(t, NodeConfig{Partitions: 2}).Router()
	made, err := r.Control(t.Context(), &CreateSpace{Definition: space.Definition{Name: "seats", Shape: space.ShapeFields}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 6000
	writeSeats(t, r, made.Space, n)
	spec := &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("price")}}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			text string
			want []any
		}{
			{"price = 17", []any{int64(1), int64(17)}},
			{"price >= 10 and price < 20", []any{int64(10), int64(145)}},
			{"price >= 1000", []any{int64(n - 1000), int64(n*(n-1)/2 - 1000*999/2)}},
			{"section = 'B'", []any{int64(n / 4), int64(n/4 + 4*(n/4)*(n/4-1)/2)}},
			{"price < 0", []any{int64(0), nil}},
		} {
			p, err := predicate.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			part, err := r.Aggregate(t.Context(), Linearizable, Aggregate{Space: made.Space, Spec: spec, Predicate: p.Append(nil)})
			if got := rowsOf(t, part, err)[0]; !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %v, want %v", c.text, got, c.want)
			}
		}
	}
	check()
	_, err = r.Control(t.Context(), &AlterSpace{Space: made.Space, AddIndexes: []space.Index{
		{Name: "price", Fields: []string{"price"}, Ordered: true}, {Name: "section", Fields: []string{"section"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 { // more commands than building the index takes
		check()
		write(t, r, defaultSpace(t, r), "other", "x")
	}
}

// An entry whose lease has ended counts for nobody, whether entries are read for
// the answer or not.
func TestAggregatesLeaveEndedLeasesOut(t *testing.T) {
	for name, spec := range map[string]*aggregate.Spec{
		"counted": {Columns: []aggregate.Column{aggregate.Count()}},
		"read":    {Columns: []aggregate.Column{aggregate.CountOf("v")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := alone(t, NodeConfig{Partitions: 2}).Router()
				id := defaultSpace(t, r)
				for i := range 40 {
					lease := time.Duration(i%2) * time.Minute // 0: no end
					key := fmt.Sprint(i)
					if reply := one(t, r, key, space.Op{
						Code: space.OpWrite, Space: id, Key: []byte(key), Kind: space.KindFields,
						Value: encoded(t, map[string]any{"v": i}), Lease: lease,
					}); reply.Err() != nil {
						t.Fatal(reply.Err())
					}
				}
				count := func() any {
					p, err := r.Aggregate(t.Context(), Linearizable, Aggregate{Space: id, Spec: spec})
					return rowsOf(t, p, err)[0][0]
				}
				if n := count(); n != int64(40) {
					t.Errorf("%v entries", n)
				}
				time.Sleep(time.Minute)
				if n := count(); n != int64(20) {
					t.Errorf("%v entries after half of the leases", n)
				}
			})
		})
	}
}

// Beside a writer that moves amounts between the entries of one partition, in one
// command each, the sum is always the same: a partition is seen at one moment.
func TestAggregatesSeeOneMoment(t *testing.T) {
	r := alone(t, NodeConfig{Partitions: 1}).Router()
	id := defaultSpace(t, r)
	const accounts, each = 2000, 100
	set := func(i, amount int) space.Op {
		return space.Op{Code: space.OpWrite, Space: id, Key: fmt.Append(nil, i), Kind: space.KindFields, Value: encoded(t, map[string]any{"amount": amount})}
	}
	for i := 0; i < accounts; i += 500 {
		var ops []space.Op
		for k := range 500 {
			ops = append(ops, set(i+k, each))
		}
		if reply := one(t, r, "0", ops...); reply.Err() != nil {
			t.Fatal(reply.Err())
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			from, to := i%(accounts/2), accounts-1-i%(accounts/2)
			for _, amount := range []int{i % 50, 0} {
				r.Do(ctx, []*Call{{Ops: []space.Op{set(from, each-amount), set(to, each+amount)}}})
			}
		}
	})
	for range 100 {
		p, err := r.Aggregate(t.Context(), Linearizable, Aggregate{Space: id, Spec: &aggregate.Spec{
			Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("amount")},
		}})
		if got := rowsOf(t, p, err)[0]; got[0] != int64(accounts) || got[1] != int64(accounts*each) {
			t.Fatalf("%v", got)
		}
	}
	stop()
	wg.Wait()
}

// Three members answer for all groups alike, from any of them; while one of them
// crashes the answer takes longer and stays whole.
func TestAggregatesOverMembersAndThroughACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		const n = 240
		writeSeats(t, r, id, n)
		spec := &aggregate.Spec{GroupBy: []string{"section"}, Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("price")}}
		var want [][]any
		for i := range 4 {
			want = append(want, []any{string(rune('A' + i)), int64(n / 4), int64(n/4*i + 4*(n/4)*(n/4-1)/2)})
		}
		check := func(asked string, level Level) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p, err := g.nodes[asked].Router().Aggregate(ctx, level, Aggregate{Space: id, Spec: spec})
			if got := rowsOf(t, p, err); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, level %d: %v, want %v", asked, level, got, want)
			}
		}
		g.agree()
		for _, asked := range []string{"a", "b", "c"} {
			check(asked, Linearizable)
			check(asked, Local)
		}
		g.crash("b")
		for range 5 {
			check("a", Linearizable)
			check("c", Linearizable)
		}
	})
}

// No bytes of a request or an answer make a decoder panic.
func FuzzAggregateFrames(f *testing.F) {
	spec := &aggregate.Spec{GroupBy: []string{"section"}, Columns: []aggregate.Column{aggregate.Count(), aggregate.Top(3, "price")}}
	q := Aggregate{Space: 7, Template: []byte{0x80}, Spec: spec, Partitions: []space.PartitionID{1, 5}}
	a := Aggregated{Done: 2, Partial: []byte("partial")}
	f.Add(appendAggregate(nil, 3, Local, &q), appendAggregated(nil, &a))
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		if g, level, q, err := parseAggregate(request); err == nil {
			again := appendAggregate(nil, g, level, &q)
			if g2, level2, q2, err := parseAggregate(again); err != nil || g2 != g || level2 != level || !reflect.DeepEqual(q2, q) {
				t.Fatalf("%+v reads as %+v, %v", q, q2, err)
			}
		}
		if a, err := parseAggregated(answer); err == nil {
			if b, err := parseAggregated(appendAggregated(nil, &a)); err != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v reads as %+v, %v", a, b, err)
			}
		}
	})
}

// BenchmarkAggregate measures a grouped sum over 100,000 entries of 16 partitions,
// and the count of them.
func BenchmarkAggregate(b *testing.B) {
	n, err := OpenNode(b.Context(), NodeConfig{Partitions: 16})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	if err := n.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	r := n.Router()
	def, _ := r.State().Space(DefaultSpace)
	const entries = 100_000
	for i := 0; i < entries; {
		calls := map[space.PartitionID]*Call{}
		for range 2000 {
			key := fmt.Append(nil, "seat", i)
			p := at(r, string(key))
			if calls[p] == nil {
				calls[p] = &Call{Partition: p}
			}
			value := encoded(b, map[string]any{"section": string(rune('A' + i%10)), "price": i, "buyer": "somebody with a name", "row": i % 50})
			calls[p].Ops = append(calls[p].Ops, space.Op{Code: space.OpWrite, Space: def.ID, Key: key, Value: value, Kind: space.KindFields})
			i++
		}
		r.Do(b.Context(), slices.Collect(maps.Values(calls)))
	}
	for name, spec := range map[string]*aggregate.Spec{
		"grouped": {GroupBy: []string{"section"}, Columns: []aggregate.Column{aggregate.Count(), aggregate.Sum("price"), aggregate.Avg("price")}},
		"count":   {Columns: []aggregate.Column{aggregate.Count()}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := r.Aggregate(b.Context(), Linearizable, Aggregate{Space: def.ID, Spec: spec})
				if err != nil {
					b.Fatal(err)
				}
				if name == "count" {
					if res, err := p.Result(); err != nil || res.Rows[0].Values[0] != int64(entries) {
						b.Fatal(res, err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
		})
	}
}

// What a claim hides counts for nobody until the claim ends, whichever way the
// answer is found.
func TestAggregatesLeaveClaimedEntriesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 2}).Router()
		made, err := r.Control(t.Context(), &CreateSpace{Definition: space.Definition{
			Name: "seats", Shape: space.ShapeFields, Indexes: []space.Index{{Name: "section", Fields: []string{"section"}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		writeSeats(t, r, made.Space, 40)
		counts := func() (all []int64) {
			for _, q := range []Aggregate{
				{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count()}}},
				{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.CountOf("price")}}},
				{Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.Count()}}, Template: encoded(t, map[string]any{"section": "A"})},
			} {
				q.Space = made.Space
				p, err := r.Aggregate(t.Context(), Linearizable, q)
				all = append(all, rowsOf(t, p, err)[0][0].(int64))
			}
			return all
		}
		for _, key := range []string{"seat0", "seat4", "seat8"} { // all in section A
			reply := one(t, r, key, space.Op{Code: space.OpClaim, Space: made.Space, Key: []byte(key), Lease: time.Minute})
			if reply.Err() != nil {
				t.Fatal(reply.Err())
			}
		}
		if got := counts(); !slices.Equal(got, []int64{37, 37, 7}) {
			t.Errorf("beside three claims: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := counts(); !slices.Equal(got, []int64{40, 40, 10}) {
			t.Errorf("after them: %v", got)
		}
	})
}
