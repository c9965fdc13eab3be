package spacetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Scripts returns the scripts of the suite. Each is a test and a statement: what
// it says holds at every front.
func Scripts() []Script {
	return slices.Concat(entryScripts(), matchScripts(), changeScripts(), claimScripts(), orderScripts(), waitScripts())
}

var (
	anyShape = space.Definition{ScanLimit: -1}
	fields   = space.Definition{Shape: space.ShapeFields, ScanLimit: -1}
)

func entryScripts() []Script {
	return []Script{
		{"entries/a write replaces, a read returns, a take removes", func(s *Scene) {
			s.define(fields)
			s.absent("a")
			s.write("a", f{"n": 1, "old": true})
			s.write("a", f{"n": 2})
			s.holds("a", f{"n": 2})
			s.takes(Request{Key: "a"}, "a")
			s.refused(space.ErrNotFound, Request{Verb: Take, Key: "a"})
		}},
		{"entries/an insert needs absence, an update presence, a version equality", func(s *Scene) {
			s.define(fields)
			s.refused(space.ErrNotFound, Request{Verb: Write, Key: "a", Fields: f{"n": 0}, IfPresent: true})
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 1}, IfAbsent: true})
			s.refused(space.ErrExists, Request{Verb: Write, Key: "a", Fields: f{"n": 2}, IfAbsent: true})
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 3}, IfPresent: true})
			first := s.do(Request{Verb: Read, Key: "a"}).Entries[0].Version
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 4}, Version: first})
			s.refused(space.ErrConflict, Request{Verb: Write, Key: "a", Fields: f{"n": 5}, Version: first})
			s.refused(space.ErrConflict, Request{Verb: Take, Key: "a", Version: first})
			s.holds("a", f{"n": 4})
			if again := s.do(Request{Verb: Read, Key: "a"}).Entries[0].Version; again <= first {
				s.t.Errorf("version %d after %d", again, first)
			}
		}},
		{"entries/bytes are kept as they are, and are no fields", func(s *Scene) {
			s.define(anyShape)
			s.do(Request{Verb: Write, Key: "b", Bytes: []byte("\x00\xff{}")})
			if got := s.do(Request{Verb: Read, Key: "b"}).Entries[0]; got.Fields != nil || string(got.Bytes) != "\x00\xff{}" {
				s.t.Errorf("there is %s", got)
			}
			s.write("f", f{"n": 1})
			s.sees(Request{}, "b", "f")
			s.sees(Request{Template: f{"n": 1}}, "f")
			s.refused(space.ErrWrongKind, Request{Verb: Change, Key: "b", Mutations: []Mutation{{Op: "set", Path: "n", Value: 1}}})
		}},
		{"entries/a space of fields takes no bytes", func(s *Scene) {
			s.define(fields)
			s.refused(space.ErrWrongKind, Request{Verb: Write, Key: "a", Bytes: []byte("x")})
			s.absent("a")
		}},
		{"entries/nested values come back as they were", func(s *Scene) {
			s.define(fields)
			v := f{"m": f{"b": []any{int64(1), 1.5, nil, "text", f{"z": false}}, "a": f{}}, "e": "", "l": []any{}, "big": int64(math.MaxInt64), "low": int64(math.MinInt64)}
			s.write("a", v)
			s.holds("a", v)
		}},
		{"entries/a value is nested 16 deep and no deeper", func(s *Scene) {
			s.define(fields)
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "a", Fields: nested(17)})
			s.absent("a")
			s.write("b", nested(16))
			s.holds("b", nested(16))
		}},
		{"entries/no number is not a number", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "a", Fields: f{"n": math.NaN()}})
			s.refused(space.ErrInvalid, Request{Verb: Read, Template: f{"n": math.NaN()}})
			s.refused(space.ErrInvalid, Request{Verb: Change, Key: "a", Mutations: []Mutation{{Op: "set", Path: "n", Value: math.NaN()}}})
			s.holds("a", f{"n": 1})
		}},
		{"entries/a key has 1 to 1024 bytes", func(s *Scene) {
			s.define(fields)
			s.raw = true
			longest := strings.Repeat("k", space.MaxKeyBytes)
			s.write(longest, f{"n": 1})
			s.holds(longest, f{"n": 1})
			s.refused(space.ErrTooLarge, Request{Verb: Write, Key: longest + "k", Fields: f{"n": 1}})
		}},
		{"entries/there is no space but those defined", func(s *Scene) {
			s.refused(space.ErrNoSpace, Request{Verb: Write, Key: "a", Fields: f{"n": 1}})
			s.refused(space.ErrNoSpace, Request{Verb: Read, Key: "a"})
			s.refused(space.ErrNoSpace, Request{Verb: Take, Template: f{"n": 1}})
		}},
		{"entries/a request that is repeated takes effect once", func(s *Scene) {
			r, ok := s.f.(Repeater)
			if !ok {
				s.offered(ErrNotOffered, "to repeat a request")
			}
			s.define(fields)
			s.write("a", f{"stock": 10})
			ctx, cancel := s.ctx()
			defer cancel()
			first, second, err := r.Repeat(ctx, Request{
				Verb: Change, Space: s.space, Key: s.key("a"), Mutations: []Mutation{{Op: "add", Path: "stock", Value: -3}},
			})
			s.check(err, "repeat a change")
			if a, b := first.Entries[0], second.Entries[0]; a.String() != b.String() || a.Version != b.Version {
				s.t.Errorf("first %s, then %s", a, b)
			}
			s.holds("a", f{"stock": 7})
			first, second, err = r.Repeat(ctx, Request{Verb: Take, Space: s.space, Key: s.key("a")})
			s.check(err, "repeat a take")
			if len(first.Entries) != 1 || len(second.Entries) != 1 {
				s.t.Errorf("first %v, then %v", first.Entries, second.Entries)
			}
			s.absent("a")
		}},
		{"leases/an entry is gone when its lease has ended, and not before", func(s *Scene) {
			s.define(fields)
			s.do(Request{Verb: Write, Key: "short", Fields: f{"n": 1}, Lease: 150 * time.Millisecond})
			s.do(Request{Verb: Write, Key: "long", Fields: f{"n": 1}, Lease: time.Hour})
			s.write("forever", f{"n": 1})
			s.holds("short", f{"n": 1})
			time.Sleep(160 * time.Millisecond)
			s.soon("the lease has ended", func() bool {
				_, err := s.try(Request{Verb: Read, Key: "short"})
				code, known := CodeOf(err)
				return known && code == space.CodeNotFound
			})
			s.sees(Request{}, "long", "forever")
		}},
		{"leases/a write grants a new lease", func(s *Scene) {
			s.define(fields)
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 1}, Lease: 100 * time.Millisecond})
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 2}, Lease: time.Hour})
			time.Sleep(200 * time.Millisecond)
			s.holds("a", f{"n": 2})
		}},
		{"leases/a lease is not negative", func(s *Scene) {
			s.define(fields)
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "a", Fields: f{"n": 1}, Lease: -5 * time.Second})
			s.absent("a")
		}},
		{"routing/an entry lies where its routing field says", func(s *Scene) {
			def := fields
			def.Routing = "cart"
			s.define(def)
			s.raw = true
			s.write("{c1}a", f{"cart": "c1", "n": 1})
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "{c2}b", Fields: f{"cart": "c1"}})
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "{c1}a", Fields: f{"cart": "c2"}})
			s.refused(space.ErrInvalid, Request{Verb: Write, Key: "{c1}c", Fields: f{"n": 1}})
			s.refused(space.ErrInvalid, Request{Verb: Change, Key: "{c1}a", Mutations: []Mutation{{Op: "set", Path: "cart", Value: "c2"}}})
			s.holds("{c1}a", f{"cart": "c1", "n": 1})
			s.do(Request{Verb: Change, Key: "{c1}a", Mutations: []Mutation{{Op: "set", Path: "n", Value: 2}}})
			s.sees(Request{Template: f{"cart": "c1"}}, "{c1}a")
		}},
	}
}

func nested(depth int) f {
	v := f{"x": int64(1)}
	for range depth - 1 {
		v = f{"x": v}
	}
	return v
}

func matchScripts() []Script {
	declared := fields
	declared.Fields = []space.Field{{Path: "n", Type: predicate.Int}, {Path: "s", Type: predicate.String}}
	return []Script{
		{"templates/equal is equal in canonical form", func(s *Scene) {
			s.define(fields)
			s.write("int", f{"n": int8(1)})
			s.write("float", f{"n": float32(1)})
			s.write("text", f{"n": "1"})
			s.sees(Request{Template: f{"n": uint64(1)}}, "int")
			s.sees(Request{Template: f{"n": 1.0}}, "float")
			s.sees(Request{Template: f{"n": "1"}}, "text")
			s.sees(Request{Template: f{"n": 2}})
		}},
		{"templates/zero values are values", func(s *Scene) {
			s.define(fields)
			s.write("zero", f{"n": 0, "s": "", "b": false})
			s.write("one", f{"n": 1, "s": "x", "b": true})
			s.write("none", f{})
			s.sees(Request{Template: f{"n": 0}}, "zero")
			s.sees(Request{Template: f{"s": ""}}, "zero")
			s.sees(Request{Template: f{"b": false}}, "zero")
		}},
		{"templates/null is a value, absence is none", func(s *Scene) {
			s.define(fields)
			s.write("null", f{"n": nil})
			s.write("absent", f{"m": 1})
			s.write("zero", f{"n": 0})
			s.sees(Request{Template: f{"n": nil}}, "null")
			s.sees(Request{Where: "n is null"}, "null", "absent")
			s.sees(Request{Where: "n is not null"}, "zero")
			s.sees(Request{Where: "n <> 5"}, "zero")
		}},
		{"templates/a nested map is equal as a whole", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"at": f{"x": 1, "y": 2}})
			s.write("b", f{"at": f{"x": 1}})
			s.sees(Request{Template: f{"at": f{"y": 2, "x": 1}}}, "a")
			s.sees(Request{Template: f{"at": f{"x": 1}}}, "b")
			s.sees(Request{Where: "at.x = 1"}, "a", "b")
		}},
		{"templates/one without fields matches everything", func(s *Scene) {
			s.define(anyShape)
			s.write("a", f{"n": 1})
			s.do(Request{Verb: Write, Key: "b", Bytes: []byte("x")})
			s.write("c", f{})
			s.sees(Request{}, "a", "b", "c")
			s.sees(Request{Template: f{}}, "a", "b", "c")
		}},
		{"templates/matches come in the order of their first writes", func(s *Scene) {
			s.define(fields)
			for _, key := range []string{"c", "a", "b"} {
				s.write(key, f{"n": 1})
			}
			s.write("c", f{"n": 1, "again": true})
			s.sees(Request{Template: f{"n": 1}}, "c", "a", "b")
			s.takes(Request{Template: f{"n": 1}}, "c")
			s.write("c", f{"n": 1})
			s.sees(Request{}, "a", "b", "c")
			s.takes(Request{}, "a")
		}},
		{"templates/an index changes nothing but the way", func(s *Scene) {
			def := space.Definition{Shape: space.ShapeFields, Indexes: []space.Index{{Name: "n", Fields: []string{"n"}}}}
			s.define(def)
			for i := range 20 {
				s.write(fmt.Sprint("k", i), f{"n": i % 4, "i": i})
			}
			s.sees(Request{Template: f{"n": 3}}, "k3", "k7", "k11", "k15", "k19")
			s.sees(Request{Template: f{"n": 3, "i": 7}}, "k7")
		}},
		{"templates/a take removes at most as many as it says", func(s *Scene) {
			s.define(fields)
			for i := range 5 {
				s.write(fmt.Sprint(i), f{"n": 1})
			}
			if got := keysOf(s.do(Request{Verb: Take, Template: f{"n": 1}, Limit: 3}).Entries); !slices.Equal(got, []string{"0", "1", "2"}) {
				s.t.Errorf("took %q", got)
			}
			if got := keysOf(s.do(Request{Verb: Take, Limit: 3}).Entries); !slices.Equal(got, []string{"3", "4"}) {
				s.t.Errorf("took %q", got)
			}
			s.refused(space.ErrNotFound, Request{Verb: Take, Limit: 3})
		}},
		{"conditions/numbers are compared by what they amount to", func(s *Scene) {
			s.define(fields)
			s.write("int", f{"n": 1})
			s.write("float", f{"n": 1.0})
			s.write("half", f{"n": 0.5})
			s.sees(Request{Where: "n = 1"}, "int", "float")
			s.sees(Request{Where: "n < 1"}, "half")
			s.sees(Request{Where: "n in (0.5, 7)"}, "half")
		}},
		{"conditions/both a template and a condition must hold", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"kind": "x", "n": 1})
			s.write("b", f{"kind": "x", "n": 5})
			s.write("c", f{"kind": "y", "n": 5})
			s.sees(Request{Template: f{"kind": "x"}, Where: "n > 2"}, "b")
			s.takes(Request{Template: f{"kind": "y"}, Where: "n > 2"}, "c")
			s.sees(Request{Where: "n > 2 or kind = 'x'"}, "a", "b")
		}},
		{"conditions/a text that cannot be read is refused", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.refused(space.ErrInvalid, Request{Verb: Read, Where: "n >"})
			s.refused(space.ErrInvalid, Request{Verb: Take, Where: "n = = 1"})
			s.holds("a", f{"n": 1})
		}},
		{"conditions/a write over an entry may have one", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.refused(space.ErrUnmet, Request{Verb: Write, Key: "a", Fields: f{"n": 9}, Where: "n = 2"})
			s.holds("a", f{"n": 1})
			s.do(Request{Verb: Write, Key: "a", Fields: f{"n": 9}, Where: "n = 1"})
			s.holds("a", f{"n": 9})
			s.refused(space.ErrUnmet, Request{Verb: Take, Key: "a", Where: "n = 1"})
			s.takes(Request{Key: "a", Where: "n = 9"}, "a")
		}},
		{"fields/where they are declared an unknown one is refused", func(s *Scene) {
			s.define(declared)
			s.write("a", f{"n": 1, "s": "x"})
			s.sees(Request{Where: "n = 1"}, "a")
			s.refused(space.ErrInvalid, Request{Verb: Read, Where: "m = 1"})
			s.refused(space.ErrInvalid, Request{Verb: Read, Template: f{"m": 1}})
			s.refused(space.ErrInvalid, Request{Verb: Take, Template: f{"n": "one"}})
			s.holds("a", f{"n": 1, "s": "x"})
		}},
		{"counts/a count counts what passes", func(s *Scene) {
			s.define(fields)
			for i := range 10 {
				s.write(fmt.Sprint(i), f{"n": i % 3})
			}
			for want, r := range map[int64]Request{10: {}, 4: {Template: f{"n": 0}}, 6: {Where: "n >= 1"}} {
				r.Verb = Count
				if got := s.do(r).Count; got != want {
					s.t.Errorf("%s: %d, want %d", r.String(), got, want)
				}
			}
		}},
		{"aggregates/sums and groups", func(s *Scene) {
			s.define(fields)
			for i := range 6 {
				s.write(fmt.Sprint(i), f{"n": i, "even": i%2 == 0})
			}
			rows := s.do(Request{Verb: Aggregate, Columns: []string{"count", "sum(n)"}, GroupBy: "even", Where: "n > 0"}).Rows
			got := map[string]bool{}
			for _, row := range rows {
				got[fmt.Sprint(row["even"], row["count"], row["sum_n"])] = true
			}
			if !got["true26"] && !got["true 2 6"] || len(got) != 2 {
				s.t.Errorf("rows %v", rows)
			}
			s.refused(space.ErrWrongKind, Request{Verb: Aggregate, Columns: []string{"sum(even)"}})
		}},
	}
}
