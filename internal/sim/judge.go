package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/spacegrid/spacegrid/internal/check"
)

// checkTime bounds the search for an order of the operations on registers.
const checkTime = time.Minute

// findings are what is wrong with a run, in words.
type findings []string

func (f *findings) addf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// judge compares what was left with what clients were told.
func (r *remains) judge(h *history) findings {
	var f findings
	switch result := porcupine.CheckOperationsTimeout(registerModel, h.registers, checkTime); result {
	case porcupine.Ok:
	case porcupine.Unknown:
		f.addf("whether the registers are linearizable is not known after %v", checkTime)
	default:
		f.addf("the registers are not linearizable: %s", worst(h.registers))
	}
	r.judgeElements(h, &f)
	r.judgeFollower(h, &f)
	for _, j := range r.jobs {
		h.jobs.Left = append(h.jobs.Left, check.Entry{Key: j.ID, Kind: j.Kind, Number: j.Number})
	}
	// An answer to a take that never arrived is lost with what it carried.
	if v := check.Takes(&h.jobs); v.Duplicated+v.Lost+v.Phantom+v.Altered > 0 {
		f.addf("jobs: %d handed out twice, %d lost, %d never written, %d altered: %q", v.Duplicated, v.Lost, v.Phantom, v.Altered, v.Complaints)
	}
	r.judgeCoins(h, &f)
	return f
}

func (r *remains) judgeElements(h *history, f *findings) {
	for _, id := range slices.Sorted(maps.Keys(h.elements)) {
		_, there := r.elements[id]
		switch out := h.elements[id]; {
		case out == check.Done && !there:
			f.addf("element %s was acknowledged and is lost", id)
		case out == check.Refused && there:
			f.addf("element %s was refused and is there", id)
		}
	}
}

// judgeFollower compares what a follower of the changes knows with what is there.
func (r *remains) judgeFollower(h *history, f *findings) {
	for _, id := range slices.Sorted(maps.Keys(r.elements)) {
		if _, heard := h.mirror[id]; !heard {
			f.addf("a follower never heard of element %s", id)
		}
	}
	for id, v := range h.mirror {
		switch there, ok := r.elements[id]; {
		case !ok:
			f.addf("a follower heard of element %s, which is not there", id)
		case there != v && !r.cold:
			f.addf("a follower heard of version %d of element %s, which is %d", v, id, there)
		}
	}
}

// judgeCoins settles all bills that are there.
func (r *remains) judgeCoins(h *history, f *findings) {
	want := map[string]int{}
	for i := range accounts {
		want[accountName(i)] = coins
	}
	for id, b := range r.bills {
		if h.sent[id] != b {
			f.addf("bill %+v was sent as %+v", b, h.sent[id])
		}
		if h.bills[id] == check.Refused {
			f.addf("transfer %s was refused and its bill is there", id)
		}
		want[b.From] -= b.Coins
		want[b.To] += b.Coins
	}
	for id, out := range h.bills {
		if _, there := r.bills[id]; out == check.Done && !there {
			f.addf("transfer %s was acknowledged and its bill is lost", id)
		}
	}
	if !maps.Equal(want, r.accounts) {
		f.addf("the accounts hold %v, by the bills they should hold %v", r.accounts, want)
	}
}

// registerModel says what registers do, one at a time.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		return slices.Collect(maps.Values(byRegister(history)))
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(access), output.(seen)
		switch {
		case in.write == "":
			return state == out.value, state
		case in.swap && state != in.old:
			// An unknown outcome may be that it was refused.
			return !out.done, state
		case out.lost:
			return false, state
		}
		return true, in.write
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v %+v", input, output) },
}

func byRegister(history []porcupine.Operation) map[string][]porcupine.Operation {
	by := map[string][]porcupine.Operation{}
	for _, op := range history {
		name := op.Input.(access).register
		by[name] = append(by[name], op)
	}
	return by
}

// worst writes down the history of one register that is not linearizable.
func worst(history []porcupine.Operation) (s string) {
	for name, ops := range byRegister(history) {
		if porcupine.CheckOperations(registerModel, ops) {
			continue
		}
		s = "register " + name
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, op := range ops {
			s += fmt.Sprintf("\n  %d to %d, client %d: %s", op.Call, op.Return, op.ClientId, registerModel.DescribeOperation(op.Input, op.Output))
		}
		return s
	}
	return s
}
