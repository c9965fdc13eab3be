package fault

import (
	"context"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// reset resets connections between members: all of one member's, which then looks
// dead to the others though it is not, or some everywhere by chance.
type reset struct{ storm bool }

func resets() []Fault { return []Fault{reset{}, reset{storm: true}} }

const (
	// stormMin and stormMax are how many packets in a hundred are answered with a
	// reset. Few are enough: the first one ends a connection.
	stormMin, stormMax = 1, 20
	// stormTries is how often a connection is tried until one is refused: at the
	// lowest rate that fails once in 20000 times.
	stormTries = 1000
)

// Name implements Fault.
func (f reset) Name() string {
	if f.storm {
		return "reset-storm"
	}
	return "reset-one"
}

// Missing implements Fault.
func (reset) Missing(rights lab.Rights) string { return rights.Network }

// Strike implements Fault.
func (f reset) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		if err := alone(ctx); err != nil {
			return err
		}
		all := shuffled(l, r)
		rate := stormMin + r.IntN(stormMax-stormMin+1)
		links, tries := both(all[:1], all[1:]), 1
		j.sayf("all connections between %s and other members are reset", all[0].Name())
		if f.storm {
			links, tries = everyLink(l), stormTries
			j.sayf("one in %d packets between members resets its connection", 100/rate)
		} else {
			rate = 100
		}
		j.later(func(ctx context.Context) error { return carry(ctx, f.Name(), links, allPorts) })
		if err := j.apply(ctx, l, r, &filter{links: links, chance: rate, reset: true}); err != nil {
			return err
		}
		// Any one link of a storm shows that it is there.
		if f.storm {
			links = links[:1]
		}
		return each(links, func(p probe) error {
			for range tries {
				if no, err := p.refused(ctx); no || err != nil {
					return err
				}
			}
			return unverified(f.Name(), "connections over %s are not refused", p.link)
		})
	})
}
