package check

import (
	"reflect"
	"slices"
	"testing"
)

// Watchers are good if each was told every change once, in order, the same as the
// others and as what was written, and ended with what is there.
func TestStreams(t *testing.T) {
	event := func(watcher string, verb StreamVerb, seq, previous uint64, key, value string) StreamEvent {
		return StreamEvent{Watcher: watcher, Verb: verb, Seq: seq, Previous: previous, Key: key, Value: value, Partition: 3}
	}
	good := func() *StreamHistory {
		h := &StreamHistory{
			Writes: []StreamWrite{
				{Key: "k", Value: "a", Partition: 3, Seq: 1, Outcome: Done},
				{Key: "k", Value: "b", Partition: 3, Seq: 2, Outcome: Done},
				{Key: "l", Value: "c", Outcome: Unknown},
				{Key: "l", Value: "d", Outcome: Refused},
				{Key: "k", Value: "e", Partition: 3, Seq: 5, Outcome: Done},
			},
			Events: []StreamEvent{
				0:  event("w", Began, 0, 0, "", ""),
				1:  event("w", Created, 1, 0, "k", "a"),
				2:  event("w", Replaced, 2, 1, "k", "b"),
				3:  {Watcher: "w", Verb: Began, At: 2}, // the second one is told again
				4:  event("w", Replaced, 2, 1, "k", "b"),
				5:  event("w", Created, 3, 0, "l", "c"),
				6:  event("w", Gone, 4, 3, "l", ""),
				7:  event("w", Replaced, 5, 2, "k", "e"),
				8:  event("x", Began, 0, 0, "", ""),
				9:  event("x", Found, 2, 0, "k", "b"),
				10: event("x", Created, 3, 0, "l", "c"),
				11: {Watcher: "x", Verb: Voided, Partition: 3},
				12: event("x", Found, 5, 0, "k", "e"),
			},
			Content: []StreamEntry{{"k", "e", 5}},
		}
		for i := range h.Events {
			h.Events[i].Line = i + 1
		}
		return h
	}
	drop := func(i int) func(*StreamHistory) {
		return func(h *StreamHistory) { h.Events = slices.Delete(h.Events, i, i+1) }
	}
	for name, c := range map[string]struct {
		change func(*StreamHistory)
		want   StreamVerdict
	}{
		"good":                     {func(*StreamHistory) {}, StreamVerdict{Changes: 7}},
		"good: nobody saw the end": {func(h *StreamHistory) { h.Content = nil }, StreamVerdict{Changes: 7, Unread: 1}},
		"a change that another was told is left out": {drop(5), StreamVerdict{Changes: 6, Gaps: 1}},
		"an acknowledged write is told to nobody": {
			func(h *StreamHistory) {
				h.Writes = append(h.Writes, StreamWrite{Key: "m", Value: "f", Partition: 3, Seq: 3, Outcome: Done})
				h.Events[5].Seq, h.Events[6].Seq, h.Events[7].Seq = 4, 5, 6
				h.Events[6].Previous = 4
				h.Events[10].Seq = 4
				h.Events[12].Seq, h.Content[0].Seq, h.Writes[4].Seq = 6, 6, 6
			}, StreamVerdict{Changes: 7, Gaps: 1},
		},
		"a change is told twice": {
			func(h *StreamHistory) { h.Events[5] = h.Events[4]; h.Events[5].Line = 6 },
			StreamVerdict{Changes: 7, Repeated: 1, Gaps: 1},
		},
		"a change is told late": {
			func(h *StreamHistory) {
				h.Events = append(h.Events, event("w", Created, 3, 0, "l", "c"))
				h.Events[13].Line = 14
			}, StreamVerdict{Changes: 8, Backward: 1},
		},
		"two are told different things": {
			func(h *StreamHistory) { h.Events[10].Value = "b" }, StreamVerdict{Changes: 7, Disagree: 1, Phantom: 1},
		},
		"the writer knows another value": {
			func(h *StreamHistory) { h.Writes[1].Seq = 1; h.Writes[0].Seq = 0 },
			StreamVerdict{Changes: 7, Disagree: 1, Twice: 1},
		},
		"the version before is wrong": {
			func(h *StreamHistory) { h.Events[7].Previous = 1 }, StreamVerdict{Changes: 7, Previous: 1},
		},
		"a change is taken for a new entry": {
			func(h *StreamHistory) { h.Events[7].Verb = Created }, StreamVerdict{Changes: 7, Previous: 1},
		},
		"a refused value is told": {
			func(h *StreamHistory) { h.Events[5].Value, h.Events[10].Value = "d", "d" }, StreamVerdict{Changes: 7, Phantom: 2},
		},
		"a write took effect twice": {
			func(h *StreamHistory) {
				h.Events = slices.Insert(h.Events, 8, event("w", Replaced, 6, 5, "k", "e"))
				h.Events[8].Line = 8
				h.Content[0].Seq, h.Events[13].Seq = 6, 6
			}, StreamVerdict{Changes: 8, Twice: 1},
		},
		"what was told does not add up": {
			func(h *StreamHistory) { h.Content = append(h.Content, StreamEntry{"n", "g", 9}) },
			StreamVerdict{Changes: 7, Diverged: 2},
		},
		"an entry is left that is not there": {
			func(h *StreamHistory) { h.Content = []StreamEntry{} }, StreamVerdict{Changes: 7, Diverged: 2},
		},
		"what was void is not": {drop(11), StreamVerdict{Changes: 7, Resets: -1, Diverged: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(h)
			got := Streams(h)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			c.want.Watchers, c.want.Resumed = 2, 1
			c.want.Resets++
			said := got.Complaints
			if got.Complaints = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v: %q", got, c.want, said)
			}
		})
	}
}
