package fault

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// loss loses packets between all members by chance.
type loss struct{}

func losses() []Fault { return []Fault{loss{}} }

const (
	lossMin = 10 // percent
	lossMax = 50
	// lossPackets are enough for it to be next to impossible that none is lost at the
	// lowest rate: 0.9 to the power of that.
	lossPackets = 200
)

// Name implements Fault.
func (loss) Name() string { return "loss" }

// Missing implements Fault.
func (loss) Missing(rights lab.Rights) string { return rights.Network }

// Strike implements Fault.
func (f loss) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		if err := alone(ctx); err != nil {
			return err
		}
		rate := lossMin + r.IntN(lossMax-lossMin+1)
		links := everyLink(l)
		j.later(func(ctx context.Context) error { return carry(ctx, f.Name(), links, allPorts) })
		if err := j.apply(ctx, l, r, &filter{links: links, chance: rate}); err != nil {
			return err
		}
		j.sayf("%d %% of the packets between members are lost", rate)
		return each(links, func(p probe) error {
			n, err := p.arrive(ctx, lossPackets)
			if n == 0 || n == lossPackets {
				err = errors.Join(unverified(f.Name(), "%d of %d packets arrive over %s", n, lossPackets, p.link), err)
			}
			return err
		})
	})
}
