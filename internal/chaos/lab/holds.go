package lab

import (
	"fmt"
	"sync"
)

// holds says which members something is being done to. Faults that end, freeze or
// damage a member hold it meanwhile, so that two of them do not undo each other,
// and so that together they do not take more members than a cluster survives.
type holds struct {
	mu sync.Mutex
	by map[*Member]bool
}

// HeldError is returned when members cannot be held now. Something else may be done
// meanwhile, or the same later.
type HeldError struct {
	Reason string
}

// Error gives the reason.
func (e *HeldError) Error() string { return "lab: " + e.Reason + " (wait until that is healed)" }

// Hold reserves members for one fault until release is called, once. Unless all are
// asked for, no more than a minority is held at a time.
func (l *Lab) Hold(members ...*Member) (release func(), err error) {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	if l.holds.by == nil {
		l.holds.by = map[*Member]bool{}
	}
	for _, m := range members {
		if l.holds.by[m] {
			return nil, &HeldError{fmt.Sprintf("something is being done to member %s", m.name)}
		}
	}
	if n := len(l.holds.by) + len(members); n > (len(l.members)-1)/2 && len(members) < len(l.members) {
		return nil, &HeldError{fmt.Sprintf("%d of %d members are not a minority", n, len(l.members))}
	}
	for _, m := range members {
		l.holds.by[m] = true
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			l.holds.mu.Lock()
			defer l.holds.mu.Unlock()
			for _, m := range members {
				delete(l.holds.by, m)
			}
		})
	}, nil
}
