package check

import (
	"reflect"
	"testing"
)

// A history of takes is good if every entry that was acknowledged was handed out
// once or is there, whatever became of requests without an answer, and bad in all
// other cases.
func TestTakes(t *testing.T) {
	entry := func(key string) Entry { return Entry{Key: key, Kind: "red", Number: 1} }
	write := func(key string, o Outcome) Write { return Write{Entry: entry(key), Outcome: o} }
	took := func(key string) Take { return Take{Wanted: "red", Outcome: Done, Entry: entry(key)} }
	open := Take{Wanted: "red"}
	good := func() *TakeHistory {
		return &TakeHistory{
			Writes: []Write{write("a", Done), write("b", Done), write("c", Done), write("d", Unknown), write("e", Refused)},
			Takes:  []Take{took("a"), took("b"), {Wanted: "red", Outcome: Refused}},
			Left:   []Entry{entry("c")},
		}
	}
	for name, c := range map[string]struct {
		change func(*TakeHistory)
		want   TakeVerdict
	}{
		"good": {
			func(*TakeHistory) {}, TakeVerdict{Written: 3, Taken: 2, Left: 1, Resolved: 1},
		},
		"good: a write without an answer that happened": {
			func(h *TakeHistory) { h.Takes = append(h.Takes, took("d")) }, TakeVerdict{Written: 4, Taken: 3, Left: 1, Resolved: 1},
		},
		"lost": {
			func(h *TakeHistory) { h.Left = nil }, TakeVerdict{Written: 3, Taken: 2, Resolved: 1, Lost: 1},
		},
		"handed out twice": {
			func(h *TakeHistory) { h.Takes = append(h.Takes, took("a")) }, TakeVerdict{Written: 3, Taken: 3, Left: 1, Resolved: 1, Duplicated: 1},
		},
		"handed out and there": {
			func(h *TakeHistory) { h.Left = append(h.Left, entry("a")) }, TakeVerdict{Written: 3, Taken: 2, Left: 2, Resolved: 1, Duplicated: 1},
		},
		"there twice": {
			func(h *TakeHistory) { h.Left = append(h.Left, entry("c")) }, TakeVerdict{Written: 3, Taken: 2, Left: 2, Resolved: 1, Duplicated: 1},
		},
		"nobody wrote it": {
			func(h *TakeHistory) { h.Takes = append(h.Takes, took("x")) }, TakeVerdict{Written: 3, Taken: 3, Left: 1, Resolved: 1, Phantom: 1},
		},
		"its write was refused": {
			func(h *TakeHistory) { h.Takes = append(h.Takes, took("e")) }, TakeVerdict{Written: 3, Taken: 3, Left: 1, Resolved: 1, Phantom: 1},
		},
		"not as it was written": {
			func(h *TakeHistory) { h.Takes[0].Number = 2 }, TakeVerdict{Written: 3, Taken: 2, Left: 1, Resolved: 1, Altered: 1},
		},
		"not what was asked for": {
			func(h *TakeHistory) { h.Takes[0].Wanted = "blue" }, TakeVerdict{Written: 3, Taken: 2, Left: 1, Resolved: 1, Altered: 1},
		},
		"a missing entry may be with a taker who had no answer": {
			func(h *TakeHistory) { h.Takes[1] = open }, TakeVerdict{Written: 3, Taken: 1, Left: 1, Indeterminate: 1},
		},
		"one open take has one entry at most": {
			func(h *TakeHistory) { h.Takes = []Take{open} }, TakeVerdict{Written: 3, Left: 1, Lost: 1, Indeterminate: 1},
		},
		"lost: the open take asked for another kind": {
			func(h *TakeHistory) { h.Takes[1] = Take{Wanted: "blue"} }, TakeVerdict{Written: 3, Taken: 1, Left: 1, Lost: 1, Resolved: 2},
		},
		"nothing is missing but a write in doubt": {
			func(h *TakeHistory) { h.Takes = append(h.Takes, open) }, TakeVerdict{Written: 3, Taken: 2, Left: 1, Indeterminate: 1},
		},
		"good: an open take when nothing is missing": {
			func(h *TakeHistory) { h.Writes, h.Takes = h.Writes[:3], append(h.Takes, open) },
			TakeVerdict{Written: 3, Taken: 2, Left: 1, Resolved: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(h)
			got := Takes(h)
			if got.OK() != (name[:4] == "good") || got.Duplicated+got.Phantom+got.Altered+got.Lost > 0 && len(got.Complaints) == 0 {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			got.Complaints = nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}

// Complaints are bounded, counts are not.
func TestComplaintsAreBounded(t *testing.T) {
	h := &TakeHistory{}
	for range 10 * maxComplaints {
		h.Takes = append(h.Takes, Take{Outcome: Done, Entry: Entry{Key: "x"}})
	}
	if v := Takes(h); v.Phantom != 10*maxComplaints || len(v.Complaints) != maxComplaints {
		t.Errorf("%d phantoms, %d complaints", v.Phantom, len(v.Complaints))
	}
}

// Outcomes are words in a recorded history, and other words are refused.
func TestOutcomesAreWords(t *testing.T) {
	for _, o := range []Outcome{Unknown, Done, Refused} {
		b, err := o.MarshalText()
		var got Outcome
		if err != nil || got.UnmarshalText(b) != nil || got != o {
			t.Errorf("%v became %q and then %v", o, b, got)
		}
	}
	var o Outcome
	if o.UnmarshalText([]byte("perhaps")) == nil {
		t.Error("perhaps is an outcome")
	}
}
