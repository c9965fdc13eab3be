package fault

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// pause freezes members where they are: their connections stay, and nobody answers.
// When it is healed they go on as if no time had passed.
type pause struct{ who victims }

func pauses() []Fault { return []Fault{pause{anyone}, pause{leader}, pause{minority}, pause{everyone}} }

// Name implements Fault.
func (p pause) Name() string { return "pause-" + p.who.String() }

// Missing implements Fault.
func (pause) Missing(rights lab.Rights) string { return rights.Freeze }

// Strike implements Fault.
func (p pause) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members, err := p.who.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		resumed := false
		j.later(func(context.Context) error {
			if resumed {
				return nil
			}
			resumed = true
			var err error
			for _, m := range members {
				// Whoever is no longer frozen has not been so all the time.
				if thawed := m.Frozen(); thawed != nil {
					err = errors.Join(err, unverified(p.Name(), "it did not last: %w", thawed))
				}
			}
			return errors.Join(resume(members), err)
		})
		j.sayf("froze %s", names(members))
		return freeze(ctx, members)
	})
}

// freeze freezes members one after the other.
func freeze(ctx context.Context, members []*lab.Member) error {
	for _, m := range members {
		if err := m.Pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func resume(members []*lab.Member) error {
	var err error
	for _, m := range members {
		err = errors.Join(err, m.Resume())
	}
	return err
}
