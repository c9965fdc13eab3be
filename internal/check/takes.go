package check

// Entry is an entry as clients of a history of takes know it.
type Entry struct {
	Key    string `json:"key"`    // never used twice
	Kind   string `json:"kind"`   // what takers ask for
	Number int64  `json:"number"` // its writer's count
}

// Write is one request to write an entry.
type Write struct {
	Entry
	Outcome Outcome `json:"outcome"`
}

// Take is one request to take any entry of a kind. The entry is what it returned
// if it is done. Requests that found nothing need not be recorded.
type Take struct {
	Wanted  string  `json:"wanted"`
	Outcome Outcome `json:"outcome"`
	Entry
}

// TakeHistory is everything that was asked for in a run, and what was left.
type TakeHistory struct {
	Writes []Write
	Takes  []Take
	Left   []Entry // what the grid held when nobody asked any more
}

// TakeVerdict counts what a history of takes shows. Everything from Duplicated on
// should be zero.
type TakeVerdict struct {
	Written int // acknowledged, or known to have happened since they were seen
	Taken   int // answers with an entry
	Left    int
	// Resolved counts requests without an answer whose outcome follows from what
	// was there at the end.
	Resolved int

	Duplicated int // hand-outs of an entry that had been handed out or is still there
	Lost       int // acknowledged, never handed out, not there
	Phantom    int // handed out or there, and never written
	Altered    int // not as it was written, or not of the kind that was asked for
	// Indeterminate counts takes without an answer that may or may not have had
	// one of the entries that are missing.
	Indeterminate int
	Complaints    []string
}

// OK reports whether the history keeps the promise.
func (v *TakeVerdict) OK() bool {
	return v.Duplicated == 0 && v.Lost == 0 && v.Phantom == 0 && v.Altered == 0 && v.Indeterminate == 0
}

// Takes checks that every entry whose write was acknowledged was handed out
// exactly once or is still there, and nothing else was.
//
// A take without an answer may have taken one entry of its kind at most, so that
// many missing entries of a kind are put down to such takes and not counted as
// lost. If nothing is missing they took nothing.
func Takes(h *TakeHistory) TakeVerdict {
	v := TakeVerdict{Left: len(h.Left)}
	var said complaints
	written := make(map[string]*Write, len(h.Writes))
	for i := range h.Writes {
		w := &h.Writes[i]
		if w.Outcome == Refused {
			continue
		}
		if written[w.Key] != nil {
			panic("check: a history with two writes of one key: " + w.Key)
		}
		written[w.Key] = w
	}
	seen := make(map[string]int, len(h.Writes))
	see := func(e *Entry) {
		w := written[e.Key]
		switch {
		case w == nil:
			v.Phantom++
			said.addf("%q was never written", e.Key)
			return
		case w.Entry != *e:
			v.Altered++
			said.addf("%+v was written, and is %+v", w.Entry, *e)
		}
		if seen[e.Key]++; seen[e.Key] > 1 {
			v.Duplicated++
			said.addf("%q was handed out, and handed out or there once more", e.Key)
		}
	}
	open := map[string]int{} // takes without an answer, by what they asked for
	for i := range h.Takes {
		t := &h.Takes[i]
		switch t.Outcome {
		case Unknown:
			open[t.Wanted]++
		case Done:
			v.Taken++
			see(&t.Entry)
			if t.Kind != t.Wanted {
				v.Altered++
				said.addf("%q is of kind %q, and %q was asked for", t.Key, t.Kind, t.Wanted)
			}
		case Refused:
		}
	}
	for i := range h.Left {
		see(&h.Left[i])
	}
	v.missing(h.Writes, seen, open, &said)
	v.Complaints = said
	return v
}

// missing accounts for the writes whose entries nobody has seen, kind by kind: a
// take can only have had what it asked for.
func (v *TakeVerdict) missing(writes []Write, seen map[string]int, open map[string]int, said *complaints) {
	type account struct{ missing, doubtful int }
	kinds := map[string]*account{}
	for kind := range open {
		kinds[kind] = &account{}
	}
	for i := range writes {
		w := &writes[i]
		k := kinds[w.Kind]
		if k == nil {
			k = &account{}
			kinds[w.Kind] = k
		}
		switch {
		case w.Outcome == Refused:
		case seen[w.Key] > 0:
			v.Written++
			if w.Outcome == Unknown {
				v.Resolved++
			}
		case w.Outcome == Done:
			v.Written++
			if k.missing++; k.missing > open[w.Kind] {
				said.addf("%q was acknowledged and is nowhere", w.Key)
			}
		default:
			k.doubtful++
		}
	}
	for kind, k := range kinds {
		v.Lost += max(0, k.missing-open[kind])
		unsure := min(open[kind], k.missing+k.doubtful)
		v.Indeterminate += unsure
		v.Resolved += open[kind] - unsure
		if unsure == 0 {
			v.Resolved += k.doubtful // nobody can have taken them: they were not written
		}
	}
}
