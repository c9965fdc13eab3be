package check

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// StreamVerb says what a watcher was told.
type StreamVerb uint8

// What watchers are told, and what they note of themselves.
const (
	// Began: the watcher began, or went on from the position after the line At; 0
	// is from nothing. What it was told since that line is told again.
	Began StreamVerb = iota
	// Voided: what the watcher has of Partition is void, or all that it has if that
	// is negative. Entries follow.
	Voided
	// Found: an entry that was there when the watcher began.
	Found
	// Created, Replaced, Gone: a change.
	Created
	Replaced
	Gone
)

// StreamEvent is one thing that a watcher was told. Value is that of the entry
// after it, Seq the number of the change in its partition, of an entry that was
// found the one that made it; Previous is the one that made the entry before.
type StreamEvent struct {
	Line          int
	Watcher       string
	Verb          StreamVerb
	At            int
	Partition     int
	Seq, Previous uint64
	Key, Value    string
	Time          int64
}

// StreamWrite is a request to write a value, which is used once in a history. Seq is
// 0 if the answer did not have it.
type StreamWrite struct {
	Line       int
	Key, Value string
	Partition  int
	Seq        uint64
	Call       int64
	Outcome    Outcome
}

// StreamEntry is an entry that was there at the end.
type StreamEntry struct {
	Key, Value string
	Seq        uint64
}

// StreamHistory is everything that was written and that watchers were told. Events
// of one watcher come in its order.
type StreamHistory struct {
	Writes []StreamWrite
	Events []StreamEvent
	// Content is what was there at the end, when every watcher had the time to
	// learn of it; nil if nobody could look.
	Content []StreamEntry
}

// StreamVerdict counts what a history of watchers shows. Everything from Gaps on
// should be zero.
type StreamVerdict struct {
	Watchers int
	Changes  int // that watchers were told
	Resumed  int // positions that were gone on from
	Resets   int
	Unread   int // 1 if nobody could look at the end

	Gaps       int // jumps over changes that others were told, or that were acknowledged
	Repeated   int // changes told again without need
	Backward   int // changes told after a later one of their partition
	Disagree   int // changes of which two watchers, or a watcher and the writer, know different things
	Previous   int // changes whose version before, or kind, is not what the watcher had
	Phantom    int // values that nobody had written by then, or whose write was refused
	Twice      int // values that were written by two changes
	Diverged   int // keys of which a watcher has not, in the end, what is there
	Complaints []string
}

// OK reports whether the history keeps the promises; it does not speak of what is
// unread.
func (v *StreamVerdict) OK() bool {
	return v.Gaps+v.Repeated+v.Backward+v.Disagree+v.Previous+v.Phantom+v.Twice+v.Diverged == 0
}

// Streams checks that every watcher is told every change of its space once, in the
// order of the changes' numbers in each partition, on every way from one position to
// a later one, whichever members it goes to; that all are told the same, which is
// what was written; and that what they were told adds up to what is there. Where a
// watcher has been told that what it has is void, it begins anew.
func Streams(h *StreamHistory) StreamVerdict {
	s := streams{
		h: h, log: map[place]logged{}, order: map[int][]uint64{},
		writes: map[string]*StreamWrite{}, watchers: map[string]*stream{}, made: map[string]place{},
		wanted: map[int]bool{},
	}
	s.gather()
	for i := range h.Events {
		s.event(&h.Events[i])
	}
	s.v.Watchers = len(s.watchers)
	if h.Content == nil {
		s.v.Unread = 1
	} else {
		for _, name := range slices.Sorted(maps.Keys(s.watchers)) {
			s.end(s.watchers[name])
		}
	}
	s.v.Complaints = s.said
	return s.v
}

// place is a change by its number.
type place struct {
	partition int
	seq       uint64
}

// logged is what is known of a change.
type logged struct {
	key, value string
	gone       bool
	line       int
}

// streams is a history while it is judged.
type streams struct {
	h        *StreamHistory
	log      map[place]logged
	order    map[int][]uint64 // the numbers of known changes, by partition
	writes   map[string]*StreamWrite
	made     map[string]place // by value
	watchers map[string]*stream
	wanted   map[int]bool // lines from which some watcher went on
	v        StreamVerdict
	said     complaints
}

// stream is a watcher.
type stream struct {
	name string
	streamState
	saved map[int]streamState // after lines from which it went on
}

// streamState is where a watcher stands.
type streamState struct {
	line int
	at   map[int]uint64 // the last change it was told, by partition
	has  map[string]StreamEntry
	in   map[string]int // the partition of each key
}

func newStreamState() streamState {
	return streamState{at: map[int]uint64{}, has: map[string]StreamEntry{}, in: map[string]int{}}
}

func (s streamState) clone() streamState {
	return streamState{line: s.line, at: maps.Clone(s.at), has: maps.Clone(s.has), in: maps.Clone(s.in)}
}

// gather learns of all changes, from whoever knows of them.
func (s *streams) gather() {
	for i := range s.h.Writes {
		w := &s.h.Writes[i]
		if w.Value == "" {
			continue
		}
		s.writes[w.Value] = w
		if w.Outcome == Done && w.Seq > 0 {
			s.learn(place{w.Partition, w.Seq}, logged{key: w.Key, value: w.Value, line: w.Line})
		}
	}
	for i := range s.h.Events {
		e := &s.h.Events[i]
		switch e.Verb {
		case Began:
			s.wanted[e.At] = true
		case Created, Replaced, Gone:
			s.v.Changes++
			s.learn(place{e.Partition, e.Seq}, logged{e.Key, e.Value, e.Verb == Gone, e.Line})
		case Voided, Found:
		}
	}
	for _, of := range s.order {
		slices.Sort(of)
	}
}

func (s *streams) learn(at place, is logged) {
	was, known := s.log[at]
	if !known {
		s.log[at] = is
		s.order[at.partition] = append(s.order[at.partition], at.seq)
		if first, again := s.made[is.value]; again && is.value != "" {
			s.v.Twice++
			s.said.addf("value %q was written by change %d and by change %d of partition %d", is.value, first.seq, at.seq, at.partition)
		}
		s.made[is.value] = at
		return
	}
	if was.key != is.key || was.value != is.value || was.gone != is.gone {
		s.v.Disagree++
		s.said.addf("change %d of partition %d is %s by line %d and %s by line %d", at.seq, at.partition, was, was.line, is, is.line)
	}
}

func (l logged) String() string {
	if l.gone {
		return fmt.Sprintf("the end of %q", l.key)
	}
	return fmt.Sprintf("%q = %q", l.key, l.value)
}

// event works in one thing that a watcher was told.
func (s *streams) event(e *StreamEvent) {
	w := s.watchers[e.Watcher]
	if w == nil {
		w = &stream{name: e.Watcher, streamState: newStreamState(), saved: map[int]streamState{}}
		s.watchers[e.Watcher] = w
	}
	switch e.Verb {
	case Began:
		s.began(w, e)
	case Voided:
		s.v.Resets++
		for key, p := range w.in {
			if p == e.Partition || e.Partition < 0 {
				delete(w.in, key)
				delete(w.has, key)
			}
		}
		if delete(w.at, e.Partition); e.Partition < 0 {
			clear(w.at)
		}
	case Found:
		s.written(e)
		w.has[e.Key], w.in[e.Key] = StreamEntry{e.Key, e.Value, e.Seq}, e.Partition
	case Created, Replaced, Gone:
		s.change(w, e)
	}
	w.line = e.Line
	if s.wanted[e.Line] {
		w.saved[e.Line] = w.clone()
	}
}

func (s *streams) began(w *stream, e *StreamEvent) {
	if e.At == 0 {
		w.streamState = newStreamState()
		return
	}
	s.v.Resumed++
	saved, ok := w.saved[e.At]
	if !ok {
		s.v.Disagree++
		s.said.addf("line %d: watcher %s goes on from line %d, which is none of its own", e.Line, w.name, e.At)
		return
	}
	w.streamState = saved.clone()
}

// change works in a change, and looks whether it is the next one.
func (s *streams) change(w *stream, e *StreamEvent) {
	s.written(e)
	last, begun := w.at[e.Partition]
	whole := true
	switch {
	case begun && e.Seq == last:
		s.v.Repeated++
		s.said.addf("line %d: watcher %s was told change %d of partition %d twice", e.Line, w.name, e.Seq, e.Partition)
		return
	case begun && e.Seq < last:
		s.v.Backward++
		s.said.addf("line %d: watcher %s was told change %d of partition %d after %d", e.Line, w.name, e.Seq, e.Partition, last)
		return
	case begun:
		of := s.order[e.Partition]
		if n := sort.Search(len(of), func(i int) bool { return of[i] > last }); of[n] != e.Seq {
			whole = false
			s.v.Gaps++
			s.said.addf("line %d: watcher %s was told change %d of partition %d, after %d, and not change %d: %s",
				e.Line, w.name, e.Seq, e.Partition, last, of[n], s.log[place{e.Partition, of[n]}])
		}
	}
	w.at[e.Partition] = e.Seq
	had, there := w.has[e.Key]
	if whole && (had.Seq != e.Previous || there == (e.Verb == Created)) {
		s.v.Previous++
		s.said.addf("line %d: change %d of partition %d was of version %d of %q, and watcher %s had %d",
			e.Line, e.Seq, e.Partition, e.Previous, e.Key, w.name, had.Seq)
	}
	if e.Verb == Gone {
		delete(w.has, e.Key)
		delete(w.in, e.Key)
		return
	}
	w.has[e.Key], w.in[e.Key] = StreamEntry{e.Key, e.Value, e.Seq}, e.Partition
}

// written looks for who wrote a value.
func (s *streams) written(e *StreamEvent) {
	if e.Verb == Gone {
		return
	}
	w := s.writes[e.Value]
	if w == nil || w.Outcome == Refused || w.Key != e.Key || w.Call > e.Time {
		s.v.Phantom++
		s.said.addf("line %d: watcher %s was told %q = %q, which nobody had written", e.Line, e.Watcher, e.Key, e.Value)
	}
}

// end compares what a watcher has with what is there.
func (s *streams) end(w *stream) {
	content := make(map[string]StreamEntry, len(s.h.Content))
	for _, e := range s.h.Content {
		content[e.Key] = e
		if w.has[e.Key] != e {
			s.v.Diverged++
			s.said.addf("watcher %s has %+v in the end, and there is %+v", w.name, w.has[e.Key], e)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.has)) {
		if _, ok := content[key]; !ok {
			s.v.Diverged++
			s.said.addf("watcher %s has %+v in the end, and there is nothing", w.name, w.has[key])
		}
	}
}
