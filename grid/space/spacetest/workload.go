package spacetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// workRequests is how many requests the suite's own workload makes.
const workRequests = 400

func workload(s *Scene) {
	seed := rand.Uint64() >> 12
	s.define(workSpace())
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	w := Work(ctx, s.f, s.space, seed, workRequests)
	if w.Err != nil {
		s.t.Fatal(w.Err)
	}
	s.t.Logf("seed %d: %d requests, %d of them refused; not offered: %v", seed, w.Done, w.Refused, w.NotOffered)
	if w.Done < workRequests/4 {
		s.t.Errorf("only %d of %d requests are offered", w.Done, workRequests)
	}
}

// workSpace is the definition of a space that a workload can run in.
func workSpace() space.Definition {
	return space.Definition{ScanLimit: -1, ClaimLease: time.Hour}
}

// WorkSpace returns the definition of a space of a name that [Work] can run in.
func WorkSpace(name string) space.Definition {
	def := workSpace()
	def.Name = name
	return def
}

// Worked is what came of a workload.
type Worked struct {
	Done       int // requests that were carried out or refused
	Refused    int
	NotOffered []Verb // verbs that the front has no way to say, in one form at least
	Err        error  // the first difference, with the seed
}

// Work sends so many random requests of one client to a front, one after the
// other, in an empty space that was defined as WorkSpace says, and to a model, and
// compares what comes back: entries, attempts, codes, and versions and tokens as
// far as they mean the same. It does not need to know how many partitions the
// front has: all keys have the same tag.
func Work(ctx context.Context, f Front, spaceName string, seed uint64, requests int) Worked {
	w := &worker{f: f, name: spaceName, m: NewModel(history), versions: map[space.Seq]space.Seq{}, tokens: map[space.Token]string{}}
	def := WorkSpace(spaceName)
	def.ID = 1
	c := space.DefineCommand(&def)
	w.m.Apply(0, &c)
	return rapid.Custom(func(t *rapid.T) Worked {
		for i := range requests {
			if err := w.step(ctx, t); err != nil {
				w.done.Err = fmt.Errorf("spacetest: seed %d, request %d: %w", seed, i+1, err)
				break
			}
		}
		return w.done
	}).Example(int(seed)) // any 64 bits are a seed
}

type worker struct {
	f        Front
	name     string
	m        *Model
	versions map[space.Seq]space.Seq // the front's, by the model's
	tokens   map[space.Token]string  // likewise
	held     []heldClaim
	last     space.Seq // the highest version of the front
	done     Worked
}

type heldClaim struct {
	key   string
	token space.Token
}

func (w *worker) step(ctx context.Context, t *rapid.T) error {
	r, match, token := w.draw(t)
	r.Space = w.name
	got, err := w.f.Do(ctx, r)
	if errors.Is(err, ErrNotOffered) {
		if !slices.Contains(w.done.NotOffered, r.Verb) {
			w.done.NotOffered = append(w.done.NotOffered, r.Verb)
		}
		return nil
	}
	code, known := CodeOf(err)
	if !known {
		return fmt.Errorf("%s: %w", r.String(), err)
	}
	w.done.Done++
	if code != space.OK {
		w.done.Refused++
	}
	want, wanted, err := w.expect(r, match, token)
	if err != nil {
		return err
	}
	if code != wanted {
		return fmt.Errorf("%s: %q, the model says %q", r.String(), code, wanted)
	}
	if code != space.OK {
		return nil
	}
	return w.compare(&r, &got, &want)
}

// expect asks the model.
func (w *worker) expect(r Request, match space.Seq, token space.Token) (space.Result, space.Code, error) {
	counting := r.Verb == Count
	if counting {
		r.Verb, r.Limit = Read, space.MaxOps
	}
	r.Token = token.String()
	o, err := r.Op(1)
	if err != nil {
		return space.Result{}, 0, fmt.Errorf("%s: %w", r.String(), err)
	}
	o.Match = match
	reply := w.m.Apply(0, &space.Command{Ops: []space.Op{o}})
	result := reply.Results[0]
	if counting {
		return space.Result{Count: len(result.Entries)}, space.OK, nil
	}
	return result, result.Code, nil
}

func (w *worker) compare(r *Request, got *Response, want *space.Result) error {
	if r.Verb == Count {
		if got.Count != int64(want.Count) {
			return fmt.Errorf("%s: %d, the model says %d", r.String(), got.Count, want.Count)
		}
		return nil
	}
	if r.Verb == Write || r.Verb == Change && r.Key != "" {
		if err := w.same(want.Version, got.Version); err != nil {
			return fmt.Errorf("%s: %w", r.String(), err)
		}
	}
	if len(got.Entries) != len(want.Entries) {
		return fmt.Errorf("%s: %d entries, in the model %d", r.String(), len(got.Entries), len(want.Entries))
	}
	for i := range got.Entries {
		g, m := &got.Entries[i], EntryOf(&want.Entries[i])
		if g.String() != m.String() {
			return fmt.Errorf("%s: %s, in the model %s", r.String(), g, m)
		}
		if err := w.same(m.Version, g.Version); err != nil {
			return fmt.Errorf("%s: %s: %w", r.String(), g, err)
		}
		if r.Verb != Claim {
			continue
		}
		if g.Token == "" || g.Attempts != m.Attempts {
			return fmt.Errorf("%s: token %q and %d attempts, in the model %d", r.String(), g.Token, g.Attempts, m.Attempts)
		}
		token := want.Entries[i].Token
		w.tokens[token] = g.Token
		w.held = append(w.held, heldClaim{g.Key, token})
	}
	return nil
}

// same checks that two versions mean the same: they were made by the same write,
// and later ones are higher. A front need not tell.
func (w *worker) same(model, front space.Seq) error {
	if front == 0 || model == 0 {
		return nil
	}
	if known, ok := w.versions[model]; ok {
		if known != front {
			return fmt.Errorf("version %d, which was %d", front, known)
		}
		return nil
	}
	// One that nobody was told of before, as after a release, lies in between.
	for m, v := range w.versions {
		if (m < model) != (v < front) {
			return fmt.Errorf("version %d of %d: %d was told of %d", front, model, v, m)
		}
	}
	w.versions[model] = front
	w.last = max(w.last, front)
	return nil
}

const workKeys = 6

// draw draws a request, with the version that the model has to ask for where the
// front is asked for its own, and the model's token for that of the front.
func (w *worker) draw(t *rapid.T) (r Request, match space.Seq, token space.Token) {
	key := tag + fmt.Sprint(rapid.IntRange(0, workKeys).Draw(t, "key"))
	r.Verb = rapid.SampledFrom([]Verb{Write, Write, Write, Write, Read, Read, Take, Change, Change, Claim, Ack, Nack, Nack, Extend, Count}).Draw(t, "verb")
	switch r.Verb {
	case Ack, Nack, Extend:
		return w.drawHeld(t, r)
	case Count:
		w.drawFilter(t, &r)
		return r, 0, token
	}
	if r.Verb != Write && rapid.Bool().Draw(t, "by filter") {
		r.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
		w.drawFilter(t, &r)
		if r.Verb == Change {
			r.Mutations = drawUserMutations(t)
		}
		return r, 0, token
	}
	r.Key = key
	switch r.Verb {
	case Write:
		r.Fields = DrawFields(t)
		if rapid.IntRange(0, 5).Draw(t, "bytes") == 0 {
			r.Fields, r.Bytes = nil, []byte(rapid.StringN(0, 5, -1).Draw(t, "value"))
		}
		r.IfAbsent = rapid.IntRange(0, 5).Draw(t, "if absent") == 0
		r.IfPresent = !r.IfAbsent && rapid.IntRange(0, 5).Draw(t, "if present") == 0
	case Change:
		r.Mutations = drawUserMutations(t)
		r.Create = rapid.IntRange(0, 3).Draw(t, "create") == 0
	}
	if r.Verb != Read && r.Verb != Claim {
		match = w.drawVersion(t, &r)
	}
	if r.Verb == Change && rapid.IntRange(0, 3).Draw(t, "condition") == 0 && r.Version == 0 && !r.Create {
		r.Where = DrawCondition(t)
	}
	return r, match, token
}

// drawVersion draws a version that an entry has, or had.
func (w *worker) drawVersion(t *rapid.T, r *Request) (match space.Seq) {
	if rapid.IntRange(0, 3).Draw(t, "versioned") > 0 || len(w.versions) == 0 || r.IfAbsent || r.IfPresent || r.Create {
		return 0
	}
	if e, ok := w.m.Entry(1, []byte(r.Key)); ok && rapid.Bool().Draw(t, "right") {
		match = e.Version
	} else {
		known := make([]space.Seq, 0, len(w.versions))
		for m := range w.versions {
			known = append(known, m)
		}
		slices.Sort(known)
		match = rapid.SampledFrom(known).Draw(t, "version")
	}
	if r.Version = w.versions[match]; r.Version == 0 {
		return 0
	}
	return match
}

func (w *worker) drawFilter(t *rapid.T, r *Request) {
	if rapid.Bool().Draw(t, "template") {
		r.Template = DrawFields(t)
	}
	if rapid.IntRange(0, 2).Draw(t, "where") == 0 {
		r.Where = DrawCondition(t)
	}
}

// drawHeld draws what becomes of a claim, mostly a late one, which may have ended.
func (w *worker) drawHeld(t *rapid.T, r Request) (Request, space.Seq, space.Token) {
	if len(w.held) == 0 {
		r.Verb, r.Key = Read, tag+"0"
		return r, 0, space.Token{}
	}
	c := w.held[len(w.held)-1-rapid.IntRange(0, min(len(w.held)-1, 3)).Draw(t, "claim")]
	r.Key, r.Token = c.key, w.tokens[c.token]
	if r.Verb == Nack {
		r.Uncounted = rapid.IntRange(0, 2).Draw(t, "uncounted") == 0
		if rapid.IntRange(0, 2).Draw(t, "changed") == 0 {
			r.Mutations = drawUserMutations(t)
		}
	}
	return r, 0, c.token
}

func drawUserMutations(t *rapid.T) (ms []Mutation) {
	for range rapid.IntRange(1, 2).Draw(t, "mutations") {
		m := Mutation{
			Op:    rapid.SampledFrom([]string{"set", "unset", "default", "add", "add", "push", "insert", "remove", "lowest", "highest"}).Draw(t, "op"),
			Path:  rapid.SampledFrom([]string{"a", "b", "c", "d", "d.e", "d.0"}).Draw(t, "path"),
			Value: int64(rapid.IntRange(-2, 3).Draw(t, "value")),
		}
		switch {
		case m.Op == "unset":
			m.Value = nil
		case m.Op == "add" && rapid.Bool().Draw(t, "bounded"):
			m.Min = int64(0)
		case m.Op == "set" && strings.HasPrefix(m.Path, "d"):
			m.Value = rapid.SampledFrom([]any{int64(1), "text", []any{int64(1)}, map[string]any{}, nil, 1.5}).Draw(t, "any")
		}
		ms = append(ms, m)
	}
	return ms
}
