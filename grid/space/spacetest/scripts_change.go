package spacetest

import (
	"math"

	"github.com/spacegrid/spacegrid/grid/space"
)

func changeScripts() []Script {
	//nolint:unparam // it reads better with its key
	change := func(key string, ms ...Mutation) Request { return Request{Verb: Change, Key: key, Mutations: ms} }
	return []Script{
		{"changes/mutations take effect in order and together", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1, "gone": 1})
			out := s.do(change("a",
				Mutation{Op: "add", Path: "n", Value: 4}, Mutation{Op: "set", Path: "copy", Value: "x"}, Mutation{Op: "unset", Path: "gone"},
				Mutation{Op: "append", Path: "copy", Value: "y"}, Mutation{Op: "push", Path: "list", Value: 1}, Mutation{Op: "push", Path: "list", Value: 2},
			))
			want := f{"n": 5, "copy": "xy", "list": []any{1, 2}}
			if w := (Entry{Key: "a", Fields: want}).String(); len(out.Entries) != 1 || out.Entries[0].String() != w {
				s.t.Errorf("returned %v, want %s", out.Entries, w)
			}
			s.holds("a", want)
			s.refused(space.ErrWrongKind, change("a", Mutation{Op: "add", Path: "n", Value: 1}, Mutation{Op: "push", Path: "copy", Value: 1}))
			s.holds("a", want)
		}},
		{"changes/of an entry that is not there", func(s *Scene) {
			s.define(fields)
			s.refused(space.ErrNotFound, change("a", Mutation{Op: "set", Path: "n", Value: 1}))
			r := change("a", Mutation{Op: "add", Path: "n", Value: 2})
			r.Create = true
			s.do(r)
			s.holds("a", f{"n": 2})
		}},
		{"changes/a bounded decrement sells what there is and no more", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"stock": 5})
			sell := change("a", Mutation{Op: "add", Path: "stock", Value: -2, Min: 0})
			s.do(sell)
			s.do(sell)
			s.refused(space.ErrRange, sell)
			s.holds("a", f{"stock": 1})
			s.refused(space.ErrRange, change("a", Mutation{Op: "add", Path: "stock", Value: 9, Max: 9}))
			s.holds("a", f{"stock": 1})
		}},
		{"changes/an integer does not overflow", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": int64(math.MaxInt64)})
			s.refused(space.ErrRange, change("a", Mutation{Op: "add", Path: "n", Value: 1}))
			s.holds("a", f{"n": int64(math.MaxInt64)})
		}},
		{"changes/a condition decides", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"stock": 2, "closed": false})
			r := change("a", Mutation{Op: "add", Path: "stock", Value: -1})
			r.Where = "stock >= 2 and not closed"
			s.do(r)
			s.refused(space.ErrUnmet, r)
			s.holds("a", f{"stock": 1, "closed": false})
		}},
		{"changes/a version decides", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			r := change("a", Mutation{Op: "add", Path: "n", Value: 1})
			r.Version = s.do(Request{Verb: Read, Key: "a"}).Entries[0].Version
			s.do(r)
			s.refused(space.ErrConflict, r)
			s.holds("a", f{"n": 2})
		}},
		{"changes/paths lead into maps and arrays", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"at": f{"x": 1}, "list": []any{1, f{"n": 1}}})
			s.do(change("a", Mutation{Op: "set", Path: "at.y.z", Value: 3}, Mutation{Op: "add", Path: "list.1.n", Value: 1}, Mutation{Op: "unset", Path: "at.x"}))
			s.holds("a", f{"at": f{"y": f{"z": 3}}, "list": []any{1, f{"n": 2}}})
			s.refused(space.ErrRange, change("a", Mutation{Op: "set", Path: "list.7", Value: 1}))
			s.refused(space.ErrWrongKind, change("a", Mutation{Op: "set", Path: "list.x", Value: 1}))
			s.refused(space.ErrWrongKind, change("a", Mutation{Op: "set", Path: "at.y.z.w", Value: 1}))
			s.holds("a", f{"at": f{"y": f{"z": 3}}, "list": []any{1, f{"n": 2}}})
		}},
		{"changes/an array is a set to insert and remove", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"tags": []any{"x"}})
			insert := Mutation{Op: "insert", Path: "tags", Value: "y"}
			s.do(change("a", insert, insert, Mutation{Op: "insert", Path: "n", Value: 1}, Mutation{Op: "insert", Path: "n", Value: 1.0}))
			s.holds("a", f{"tags": []any{"x", "y"}, "n": []any{1}})
			s.do(change("a", Mutation{Op: "remove", Path: "tags", Value: "x"}))
			s.holds("a", f{"tags": []any{"y"}, "n": []any{1}})
		}},
		{"changes/the lowest and the highest stay", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"low": 5, "high": 5})
			s.do(change("a", Mutation{Op: "lowest", Path: "low", Value: 7}, Mutation{Op: "highest", Path: "high", Value: 7}, Mutation{Op: "default", Path: "low", Value: 0}))
			s.holds("a", f{"low": 5, "high": 7})
		}},
		{"changes/of what matches, together or not at all", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1, "g": 1})
			s.write("b", f{"n": "text", "g": 1})
			s.write("c", f{"n": 3, "g": 2})
			r := Request{Verb: Change, Template: f{"g": 1}, Limit: 5, Mutations: []Mutation{{Op: "set", Path: "seen", Value: true}}}
			if got := keysOf(s.do(r).Entries); len(got) != 2 || got[0] != "a" || got[1] != "b" {
				s.t.Errorf("changed %q", got)
			}
			r.Mutations = []Mutation{{Op: "add", Path: "n", Value: 1}}
			s.refused(space.ErrWrongKind, r)
			s.holds("a", f{"n": 1, "g": 1, "seen": true})
			r.Where = "n = 1"
			s.do(r)
			s.holds("a", f{"n": 2, "g": 1, "seen": true})
			r.Template = f{"g": 9}
			s.refused(space.ErrNotFound, r)
		}},
	}
}
