package sim

import (
	"math"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

// good is a small run in which all is well: a register that is written and read,
// an element that was acknowledged, a job that was taken, a transfer.
func good() (*history, *remains) {
	b := bill{"b", accountName(0), accountName(1), 3}
	h := &history{
		elements: map[string]check.Outcome{"e": check.Done, "f": check.Unknown, "g": check.Refused},
		acked:    []string{"e"},
		mirror:   map[string]grid.Version{"e": 7},
		bills:    map[string]check.Outcome{"b": check.Done, "c": check.Unknown, "d": check.Refused},
		sent:     map[string]bill{"b": b, "c": {"c", accountName(1), accountName(2), 1}, "d": {"d", accountName(1), accountName(2), 1}},
	}
	h.registers = []porcupine.Operation{
		operation(access{register: "x", write: "1"}, seen{done: true}, 1, 2),
		operation(access{register: "x", swap: true, old: "1", write: "2"}, seen{}, 3, math.MaxInt64), // nobody knows
		operation(access{register: "x", swap: true, old: "0", write: "3"}, seen{lost: true}, 4, 5),
		operation(access{register: "x"}, seen{value: "2", done: true}, 6, 7),
	}
	e := check.Entry{Key: "j", Kind: "k", Number: 1}
	h.jobs.Writes = []check.Write{{Entry: e, Outcome: check.Done}, {Entry: check.Entry{Key: "l", Kind: "k", Number: 2}, Outcome: check.Done}}
	h.jobs.Takes = []check.Take{{Wanted: "k", Outcome: check.Done, Entry: e}}
	left := &remains{
		elements: map[string]grid.Version{"e": 7}, jobs: []job{{"l", "k", 2}},
		accounts: map[string]int{}, bills: map[string]bill{"b": b},
	}
	for i := range accounts {
		left.accounts[accountName(i)] = coins
	}
	left.accounts[b.From] -= 3
	left.accounts[b.To] += 3
	return h, left
}

func operation(in access, out seen, from, to int64) porcupine.Operation {
	return porcupine.Operation{Input: in, Output: out, Call: from, Return: to}
}

// A run in which all is well is found to be so, whatever became of requests
// without an answer; and of what may go wrong each is found, by its own name.
func TestJudge(t *testing.T) {
	h, left := good()
	if f := left.judge(h); len(f) > 0 {
		t.Fatalf("a good run is blamed: %q", f)
	}
	for name, c := range map[string]struct {
		says  string
		spoil func(h *history, left *remains)
	}{
		"a read of an old value": {"not linearizable", func(h *history, _ *remains) {
			h.registers = append(h.registers, operation(access{register: "x"}, seen{value: "1", done: true}, 8, 9))
		}},
		"a swap that was refused though it fits": {"not linearizable", func(h *history, _ *remains) {
			h.registers = append(h.registers, operation(access{register: "x", swap: true, old: "2", write: "4"}, seen{lost: true}, 8, 9))
		}},
		"a swap of what was not there": {"not linearizable", func(h *history, _ *remains) {
			h.registers = append(h.registers, operation(access{register: "x", swap: true, old: "9", write: "4"}, seen{done: true}, 8, 9))
		}},
		"an element that is lost": {"element e was acknowledged and is lost", func(_ *history, left *remains) { delete(left.elements, "e") }},
		"an element that was refused": {"element g was refused and is there", func(h *history, left *remains) {
			left.elements["g"], h.mirror["g"] = 9, 9
		}},
		"a change that no follower heard of": {"never heard of element e", func(h *history, _ *remains) { delete(h.mirror, "e") }},
		"a change that never was":            {"which is not there", func(h *history, _ *remains) { h.mirror["f"] = 8 }},
		"a change of another version":        {"heard of version 6", func(h *history, _ *remains) { h.mirror["e"] = 6 }},
		"a job that was handed out twice": {"1 handed out twice", func(h *history, _ *remains) {
			h.jobs.Takes = append(h.jobs.Takes, h.jobs.Takes[0])
		}},
		"a job that is lost":   {"1 lost", func(_ *history, left *remains) { left.jobs = nil }},
		"coins out of nothing": {"by the bills they should hold", func(_ *history, left *remains) { left.accounts[accountName(2)]++ }},
		"half a transfer":      {"by the bills they should hold", func(_ *history, left *remains) { left.accounts[accountName(0)] += 3 }},
		"a transfer that is lost": {"its bill is lost", func(_ *history, left *remains) {
			delete(left.bills, "b")
			left.accounts[accountName(0)], left.accounts[accountName(1)] = coins, coins
		}},
		"a transfer that was refused": {"refused and its bill is there", func(h *history, left *remains) {
			left.bills["d"] = h.sent["d"]
			left.accounts[accountName(1)]--
			left.accounts[accountName(2)]++
		}},
	} {
		h, left := good()
		c.spoil(h, left)
		if f := left.judge(h); len(f) == 0 || !strings.Contains(strings.Join(f, "\n"), c.says) {
			t.Errorf("%s: it says %q, want %q", name, f, c.says)
		}
	}
}

// A run lacks the states that it was not told of, and no others.
func TestReached(t *testing.T) {
	var r, all Reached
	for _, s := range States()[1:] {
		r.Note(s)
	}
	all.Merge(&r)
	if m := all.Missing(); len(m) != 1 || m[0] != States()[0] {
		t.Errorf("missing is %q", m)
	}
	all.Note(States()[0])
	if m := all.Missing(); len(m) > 0 {
		t.Errorf("missing is %q", m)
	}
}
