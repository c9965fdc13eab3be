package spacetest

import (
	"errors"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

func claimScripts() []Script {
	settle := func(verb Verb, e Entry) Request { return Request{Verb: verb, Key: e.Key, Token: e.Token} }
	return []Script{
		{"claims/hide an entry from everybody, and an ack removes it", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.write("b", f{"n": 1})
			held := s.takes(Request{Verb: Claim, Template: f{"n": 1}}, "a")
			if held.Token == "" || held.Attempts != 0 {
				s.t.Errorf("token %q, %d attempts", held.Token, held.Attempts)
			}
			s.absent("a")
			s.sees(Request{Template: f{"n": 1}}, "b")
			s.refused(space.ErrClaimed, Request{Verb: Write, Key: "a", Fields: f{"n": 2}})
			s.refused(space.ErrClaimed, Request{Verb: Take, Key: "a"})
			s.refused(space.ErrClaimed, Request{Verb: Change, Key: "a", Mutations: []Mutation{{Op: "set", Path: "n", Value: 2}}})
			s.refused(space.ErrClaimed, Request{Verb: Claim, Key: "a"})
			s.do(settle(Ack, held))
			s.refused(space.ErrNotFound, Request{Verb: Claim, Key: "a"})
			s.write("a", f{"n": 3})
			s.holds("a", f{"n": 3})
		}},
		{"claims/a nack shows the entry again, in its place, with its attempts", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.write("b", f{"n": 1})
			s.do(settle(Nack, s.takes(Request{Verb: Claim}, "a")))
			s.sees(Request{}, "a", "b")
			again := s.takes(Request{Verb: Claim}, "a")
			if again.Attempts != 1 {
				s.t.Errorf("%d attempts after one", again.Attempts)
			}
			r := settle(Nack, again)
			r.Uncounted, r.Mutations = true, []Mutation{{Op: "set", Path: "why", Value: "busy"}}
			s.do(r)
			s.holds("a", f{"n": 1, "why": "busy"})
			if got := s.takes(Request{Verb: Claim, Key: "a"}, "a").Attempts; got != 1 {
				s.t.Errorf("%d attempts, the last of which does not count", got)
			}
		}},
		{"claims/a nack may keep the entry away for a while", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			r := settle(Nack, s.takes(Request{Verb: Claim}, "a"))
			r.Lease = 200 * time.Millisecond
			s.do(r)
			s.absent("a")
			s.refused(space.ErrFenced, r)
			s.comesBack("a")
		}},
		{"claims/one whose time is up ends by itself", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			held := s.takes(Request{Verb: Claim, Lease: 150 * time.Millisecond}, "a")
			s.absent("a")
			s.comesBack("a")
			s.refused(space.ErrFenced, settle(Ack, held))
			s.holds("a", f{"n": 1})
			if got := s.takes(Request{Verb: Claim, Key: "a"}, "a").Attempts; got != 1 {
				s.t.Errorf("%d attempts", got)
			}
		}},
		{"claims/an extended one lasts longer", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			held := s.takes(Request{Verb: Claim, Lease: 2 * time.Second}, "a")
			r := settle(Extend, held)
			r.Lease = time.Hour
			s.do(r)
			time.Sleep(2200 * time.Millisecond)
			s.absent("a")
			s.do(settle(Ack, held))
		}},
		{"claims/an old token is fenced", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			first := s.takes(Request{Verb: Claim}, "a")
			s.do(settle(Nack, first))
			second := s.takes(Request{Verb: Claim}, "a")
			if first.Token == second.Token {
				s.t.Errorf("two claims have the token %s", first.Token)
			}
			for _, verb := range []Verb{Ack, Nack, Extend} {
				s.refused(space.ErrFenced, settle(verb, first))
			}
			s.do(settle(Ack, second))
			for _, verb := range []Verb{Ack, Nack, Extend} {
				s.refused(space.ErrFenced, settle(verb, second))
			}
			s.absent("a")
		}},
		{"claims/a token that is none is refused", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.refused(space.ErrInvalid, Request{Verb: Ack, Key: "a", Token: "no token"})
			s.holds("a", f{"n": 1})
		}},
		{"claims/a lease that is negative or endless is refused", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			s.refused(space.ErrInvalid, Request{Verb: Claim, Key: "a", Lease: -time.Second})
			s.refused(space.ErrInvalid, Request{Verb: Claim, Lease: space.MaxClaimLease + time.Hour})
			s.holds("a", f{"n": 1})
			held := s.takes(Request{Verb: Claim}, "a")
			r := settle(Extend, held)
			r.Lease = -time.Second
			s.refused(space.ErrInvalid, r)
			r.Verb = Nack
			s.refused(space.ErrInvalid, r)
			s.do(settle(Ack, held))
		}},
		{"claims/a nack that is refused keeps the claim", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": "text"})
			held := s.takes(Request{Verb: Claim}, "a")
			r := settle(Nack, held)
			r.Mutations = []Mutation{{Op: "add", Path: "n", Value: 1}}
			s.refused(space.ErrWrongKind, r)
			s.absent("a")
			s.do(settle(Ack, held))
		}},
		{"claims/an entry without attempts left goes to the dead letters", func(s *Scene) {
			s.define(space.Definition{Name: s.space + "-dead", Shape: space.ShapeFields, ScanLimit: -1})
			def := fields
			def.MaxAttempts = 2
			s.defineWith(def, s.space+"-dead")
			s.write("a", f{"n": 1})
			s.do(settle(Nack, s.takes(Request{Verb: Claim}, "a")))
			s.do(settle(Nack, s.takes(Request{Verb: Claim}, "a")))
			s.absent("a")
			s.sees(Request{Space: s.space + "-dead"}, "a")
		}},
	}
}

func orderScripts() []Script {
	return []Script{
		{"groups/of each the oldest is handed out, one at a time", func(s *Scene) {
			def := fields
			def.Group = "g"
			s.define(def)
			for _, key := range []string{"x1", "x2", "y1", "y2"} {
				s.write(key, f{"g": key[:1]})
			}
			s.write("free", f{"n": 1})
			x1 := s.takes(Request{Verb: Claim}, "x1")
			y1 := s.takes(Request{Verb: Claim}, "y1")
			s.takes(Request{Verb: Claim}, "free")
			s.refused(space.ErrNotFound, Request{Verb: Claim})
			s.refused(space.ErrNotFound, Request{Verb: Take})
			s.sees(Request{}, "x2", "y2")
			s.do(Request{Verb: Nack, Key: "x1", Token: x1.Token})
			s.takes(Request{Verb: Claim}, "x1")
			s.do(Request{Verb: Ack, Key: "y1", Token: y1.Token})
			s.takes(Request{}, "y2")
			s.takes(Request{Key: "x2"}, "x2") // by its key it is taken out of turn
		}},
	}
}

func waitScripts() []Script {
	return []Script{
		{"waits/a take that waits is woken by a write", func(s *Scene) {
			s.define(fields)
			for _, verb := range []Verb{Take, Claim} {
				for _, r := range []Request{{Template: f{"n": 1}}, {Key: "a"}} {
					r.Verb, r.Wait = verb, 10*time.Second
					came := s.later(r)
					s.write("other", f{"n": 2})
					s.write("a", f{"n": 1})
					out := <-came
					s.check(out.err, r.String())
					if got := keysOf(out.Entries); len(got) != 1 || got[0] != "a" {
						s.t.Fatalf("%s takes %q", r.String(), got)
					}
					if verb == Claim {
						s.do(Request{Verb: Ack, Key: "a", Token: out.Entries[0].Token})
					}
					s.absent("a")
				}
			}
			s.holds("other", f{"n": 2})
		}},
		{"waits/one entry wakes one, who came first", func(s *Scene) {
			s.define(fields)
			var order []<-chan answer
			for range 3 {
				order = append(order, s.later(Request{Verb: Take, Template: f{"n": 1}, Wait: 10 * time.Second}))
				time.Sleep(30 * time.Millisecond) // so that it waits before the next one does
			}
			for i, key := range []string{"a", "b", "c"} {
				s.write(key, f{"n": 1})
				out := <-order[i]
				s.check(out.err, "the wait")
				if got := keysOf(out.Entries); len(got) != 1 || got[0] != key {
					s.t.Errorf("waiting take %d has %q, want %q", i+1, got, key)
				}
			}
		}},
		{"waits/nothing came, nothing is taken", func(s *Scene) {
			s.define(fields)
			began := time.Now()
			s.refused(space.ErrNotFound, Request{Verb: Take, Template: f{"n": 1}, Wait: 200 * time.Millisecond})
			if took := time.Since(began); took < 150*time.Millisecond {
				s.t.Errorf("waited %v of 200 ms", took)
			}
			s.write("a", f{"n": 1})
			s.holds("a", f{"n": 1})
		}},
		{"waits/a claim that ends wakes who waits", func(s *Scene) {
			s.define(fields)
			s.write("a", f{"n": 1})
			held := s.takes(Request{Verb: Claim}, "a")
			came := s.later(Request{Verb: Take, Template: f{"n": 1}, Wait: 10 * time.Second})
			s.do(Request{Verb: Nack, Key: "a", Token: held.Token})
			out := <-came
			s.check(out.err, "the wait")
			s.absent("a")
		}},
	}
}

// answer is what came of a request beside others.
type answer struct {
	Response
	err error
}

// later sends a request and returns where its answer comes, once the front had
// some time to carry it out. The scene waits for it at its end.
func (s *Scene) later(r Request) <-chan answer {
	s.t.Helper()
	// What is not offered is found out here, where the scene can end.
	probe := r
	probe.Wait, probe.Template, probe.Key = time.Millisecond, f{"none": "such"}, ""
	if _, err := s.try(probe); errors.Is(err, ErrNotOffered) {
		s.offered(err, r.String())
	}
	came := make(chan answer, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		out, err := s.try(r)
		came <- answer{out, err}
	})
	s.t.Cleanup(wg.Wait)
	time.Sleep(60 * time.Millisecond)
	return came
}
