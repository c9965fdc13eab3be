package check

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Stay is the time during which an entry was there for everybody who asked for its
// kind: since before From, until after Until.
type Stay struct {
	Key, Kind string
	From      int64 // its write had been answered
	Until     int64 // the take that got it was asked for; math.MaxInt64 if it was left
}

// Miss is a take that found nothing.
type Miss struct {
	Line         int
	Kind         string
	Call, Return int64
	// Wait is how long it was asked to wait, on the grid's clock, which does not go
	// faster than the history's but may stand still; 0 if it was not.
	Wait int64
}

// WaitVerdict counts what takes have missed.
type WaitVerdict struct {
	Misses     int // takes that found nothing
	Missed     int // of these, those that cannot have: should be zero
	Complaints []string
}

// Waits checks that a take finds an entry that is there, and that one that waits
// is woken by a write: nobody may go away empty from an entry that was there before
// he was asked to, or bound before he stopped to wait, and that nobody had asked for
// when he was sent away.
func Waits(stays []Stay, misses []Miss, bound int64) WaitVerdict {
	v := WaitVerdict{Misses: len(misses)}
	var said complaints
	by := map[string][]Stay{}
	for _, s := range stays {
		by[s.Kind] = append(by[s.Kind], s)
	}
	// longest[kind][i] is the one of the first i+1 stays that lasted longest.
	longest := map[string][]int{}
	for kind, of := range by {
		slices.SortFunc(of, func(a, b Stay) int { return cmp.Compare(a.From, b.From) })
		best, at := int64(math.MinInt64), 0
		for i, s := range of {
			if s.Until > best {
				best, at = s.Until, i
			}
			longest[kind] = append(longest[kind], at)
		}
	}
	for _, m := range misses {
		before := max(m.Call, m.Call+m.Wait-bound)
		of := by[m.Kind]
		n := sort.Search(len(of), func(i int) bool { return of[i].From >= before })
		if n == 0 {
			continue
		}
		if s := of[longest[m.Kind][n-1]]; s.Until > m.Return {
			v.Missed++
			said.addf("line %d found nothing of kind %q, and %q was there", m.Line, m.Kind, s.Key)
		}
	}
	v.Complaints = said
	return v
}
