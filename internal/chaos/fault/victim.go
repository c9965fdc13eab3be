package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// victims says which members a fault is about.
type victims uint8

const (
	anyone   victims = iota // one member
	leader                  // the one that leads the most groups
	minority                // as many as a cluster survives, at least one
	everyone
)

var victimWords = [...]string{anyone: "one", leader: "leader", minority: "minority", everyone: "all"}

// String returns the word that names of faults have for it.
func (v victims) String() string { return victimWords[v] }

// leadTime is how long a fault waits until somebody leads.
const leadTime = 10 * time.Second

// hold chooses running members and holds them until the injury is healed. As much
// is drawn from r whatever the members do.
func (v victims) hold(ctx context.Context, j *injury, l *lab.Lab, r *rand.Rand) ([]*lab.Member, error) {
	order := r.Perm(l.Members())
	want := 1
	switch v {
	case leader:
		m, err := leading(ctx, l)
		if err != nil {
			return nil, err
		}
		return []*lab.Member{m}, j.hold(l, m)
	case everyone:
		for _, m := range l.All() {
			if err := m.Died(); err != nil {
				return nil, err
			}
		}
		return l.All(), j.hold(l, l.All()...)
	case minority:
		want = max(1, (l.Members()-1)/2)
	}
	var chosen []*lab.Member
	var held error
	for _, i := range order {
		if m := l.Member(i); len(chosen) < want && m.Running() {
			if err := j.hold(l, m); err != nil {
				held = errors.Join(held, err)
				continue
			}
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.Join(errors.New("fault: no member to do it to"), held)
	}
	return chosen, nil
}

// wholeTime is how long a fault that damages what a member has kept waits until no
// other copy is missing.
const wholeTime = 5 * time.Second

// holdCopy holds one member whose disk is to be damaged, when all others have all
// that they should: no copy of what it loses is missing elsewhere.
func holdCopy(ctx context.Context, j *injury, l *lab.Lab, r *rand.Rand) (*lab.Member, error) {
	if err := lab.Poll(ctx, wholeTime, "wait for all copies", l.Whole); err != nil {
		return nil, errors.Join(&lab.HeldError{Reason: "not all copies are there"}, err)
	}
	members, err := anyone.hold(ctx, j, l, r)
	if err != nil {
		return nil, err
	}
	return members[0], nil
}

// leading returns the member that leads the most groups.
func leading(ctx context.Context, l *lab.Lab) (m *lab.Member, err error) {
	err = lab.Poll(ctx, leadTime, "see who leads", func(ctx context.Context) error {
		led := l.Leading(ctx)
		if len(led) == 0 {
			return errors.New("nobody says that it leads")
		}
		m = l.Busiest(led)
		return nil
	})
	return m, err
}

// names lists members.
func names(members []*lab.Member) string {
	all := make([]string, 0, len(members))
	for _, m := range members {
		all = append(all, m.Name())
	}
	return strings.Join(all, ", ")
}

// between draws a duration, evenly.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(r.Int64N(int64(high-low)))).Round(time.Millisecond)
}
