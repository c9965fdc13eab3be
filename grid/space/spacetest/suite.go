package spacetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Script is a piece of the semantics: a sentence, and what a user does to see it.
type Script struct {
	Name string // "claims/an old token is fenced": subject and promise
	Run  func(s *Scene)
}

// Run runs every script against the front that open makes, each in a space of its
// own, and the random workload. notOffered names the scripts that the front has
// no way to run, or all of a subject by the word before the slash: if it does run
// one of them, or cannot run another, that is a failure. What is not offered is
// listed.
func Run(t *testing.T, f Front, notOffered ...string) {
	var missing []string
	for i, script := range append(Scripts(), Script{"workload/of one client equals the model", workload}) {
		t.Run(script.Name, func(t *testing.T) {
			s := &Scene{t: t, f: f, space: fmt.Sprint("s", i+1)}
			defer func() {
				subject, _, _ := strings.Cut(script.Name, "/")
				declared := slices.Contains(notOffered, script.Name) || slices.Contains(notOffered, subject)
				switch {
				case s.lacks != "" && declared:
					missing = append(missing, script.Name)
					t.Skipf("not offered: %s", s.lacks)
				case s.lacks != "":
					t.Errorf("not offered, and not declared as such: %s", s.lacks)
				case declared && slices.Contains(notOffered, script.Name) && !t.Failed():
					t.Error("it is offered by now: declare it no longer")
				}
			}()
			s.run(script)
		})
	}
	for _, name := range missing {
		t.Logf("not offered: %s", name)
	}
}

// Scene is where a script runs: a space, and what a user can say and see there.
// Keys have a common tag, so that all entries lie in one partition and have an
// order.
type Scene struct {
	t     *testing.T
	f     Front
	space string
	raw   bool   // keys are used as they are
	lacks string // what the front does not offer, if the scene ended over it
}

// lacking ends a scene whose front does not offer something.
type lacking struct{}

func (s *Scene) run(x Script) {
	s.t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(lacking); !ok {
				panic(r)
			}
		}
	}()
	x.Run(s)
}

// patience is how long a request may take, and how long something may take to
// happen that is to happen.
const patience = 20 * time.Second

func (s *Scene) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.t.Context(), patience)
}

const tag = "{t}"

func (s *Scene) key(k string) string {
	if s.raw || k == "" {
		return k
	}
	return tag + k
}

// define creates the scene's space, or another of its own beside it.
func (s *Scene) define(def space.Definition) {
	s.t.Helper()
	s.defineWith(def, "")
}

func (s *Scene) defineWith(def space.Definition, deadLetter string) {
	s.t.Helper()
	ctx, cancel := s.ctx()
	defer cancel()
	def.Name = cmp.Or(def.Name, s.space)
	s.check(s.f.Define(ctx, def, deadLetter), "define "+def.Name)
}

// check ends the scene if a request failed.
func (s *Scene) check(err error, what string) {
	s.t.Helper()
	s.offered(err, what)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func (s *Scene) offered(err error, what string) {
	if errors.Is(err, ErrNotOffered) {
		s.lacks = what
		panic(lacking{})
	}
}

func (s *Scene) try(r Request) (Response, error) {
	ctx, cancel := s.ctx()
	defer cancel()
	r.Space, r.Key = cmp.Or(r.Space, s.space), s.key(r.Key)
	out, err := s.f.Do(ctx, r)
	for i := range out.Entries {
		out.Entries[i].Key = strings.TrimPrefix(out.Entries[i].Key, tag)
	}
	return out, err
}

// do carries out what has to succeed.
func (s *Scene) do(r Request) Response {
	s.t.Helper()
	out, err := s.try(r)
	s.check(err, r.String())
	return out
}

// refused carries out what has to be refused with an error that is want.
func (s *Scene) refused(want error, r Request) {
	s.t.Helper()
	_, err := s.try(r)
	s.offered(err, r.String())
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", r.String(), err, want)
	}
}

func (s *Scene) write(key string, fields f) {
	s.t.Helper()
	s.do(Request{Verb: Write, Key: key, Fields: fields})
}

// f are fields.
type f = map[string]any

// sees checks that these are the entries that pass, in this order, as their keys.
func (s *Scene) sees(r Request, keys ...string) {
	s.t.Helper()
	r.Verb, r.Limit = Read, 100
	out, err := s.try(r)
	s.offered(err, r.String())
	if errors.Is(err, space.ErrNotFound) {
		err = nil
	}
	s.check(err, r.String())
	if got := keysOf(out.Entries); !slices.Equal(got, keys) {
		s.t.Errorf("%s finds %q, want %q", r.String(), got, keys)
	}
}

func keysOf(es []Entry) []string {
	var keys []string
	for _, e := range es {
		keys = append(keys, e.Key)
	}
	return keys
}

// holds checks the fields of an entry.
func (s *Scene) holds(key string, want f) {
	s.t.Helper()
	out := s.do(Request{Verb: Read, Key: key})
	if w := (Entry{Key: key, Fields: want}).String(); out.Entries[0].String() != w {
		s.t.Errorf("there is %s, want %s", out.Entries[0], w)
	}
}

// absent checks that nothing can be seen under a key.
//
//nolint:unparam // it reads better with its key
func (s *Scene) absent(key string) {
	s.t.Helper()
	s.refused(space.ErrNotFound, Request{Verb: Read, Key: key})
}

// takes checks which entry a request takes or claims, and returns it.
func (s *Scene) takes(r Request, key string) Entry {
	s.t.Helper()
	r.Verb = cmp.Or(r.Verb, Take)
	out := s.do(r)
	if got := keysOf(out.Entries); !slices.Equal(got, []string{key}) {
		s.t.Fatalf("%s takes %q, want %q", r.String(), got, key)
	}
	return out.Entries[0]
}

// soon waits until something is so.
func (s *Scene) soon(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// comesBack waits until an entry can be seen.
func (s *Scene) comesBack(key string) {
	s.t.Helper()
	s.soon(key+" is seen", func() bool {
		_, err := s.try(Request{Verb: Read, Key: key})
		return err == nil
	})
}

// String returns the request in one line.
func (r *Request) String() string {
	var b strings.Builder
	fmt.Fprint(&b, r.Verb)
	show := func(name string, v any, there bool) {
		if there {
			fmt.Fprintf(&b, " %s%v", name, v)
		}
	}
	show("", r.Key, r.Key != "")
	show("", r.Fields, r.Fields != nil)
	show("bytes ", r.Bytes, r.Bytes != nil)
	show("template ", r.Template, len(r.Template) > 0)
	show("where ", r.Where, r.Where != "")
	show("limit ", r.Limit, r.Limit != 0)
	show("if absent ", r.IfAbsent, r.IfAbsent)
	show("if present ", r.IfPresent, r.IfPresent)
	show("or create ", r.Create, r.Create)
	show("version ", r.Version, r.Version != 0)
	show("lease ", r.Lease, r.Lease != 0)
	show("wait ", r.Wait, r.Wait != 0)
	for i := range r.Mutations {
		m := &r.Mutations[i]
		fmt.Fprintf(&b, " %s %s %v", m.Op, m.Path, m.Value)
		show("min ", m.Min, m.Min != nil)
		show("max ", m.Max, m.Max != nil)
	}
	show("token ", r.Token, r.Token != "")
	show("uncounted ", r.Uncounted, r.Uncounted)
	show("", r.Columns, len(r.Columns) > 0)
	show("by ", r.GroupBy, r.GroupBy != "")
	return b.String()
}
