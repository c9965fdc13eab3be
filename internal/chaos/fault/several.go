package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// several is two or three other faults at the same time, healed in another order.
type several struct{ of []Fault }

const (
	severalMin = 2
	severalMax = 3
	// severalSpare is how many more are tried for those that are left out.
	severalSpare = 3
)

// Name implements Fault.
func (*several) Name() string { return "several" }

// Missing implements Fault: there is always something that can be done.
func (*several) Missing(lab.Rights) string { return "" }

// Strike implements Fault. A fault that does not show beside one before it is left
// out: its members are in use, or nobody can commit what it would show in.
func (f *several) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		var able []Fault
		for _, x := range f.of {
			if x.Missing(l.Rights()) == "" {
				able = append(able, x)
			}
		}
		want := severalMin + r.IntN(severalMax-severalMin+1)
		order := r.Perm(len(able))[:min(len(able), want+severalSpare)]
		heal := r.Perm(len(order))
		seeds := make([]uint64, len(order))
		for i := range seeds {
			seeds[i] = r.Uint64()
		}
		done := make([]Injury, len(order))
		// Last of all: what came of each.
		j.later(func(context.Context) error { j.sayf("%s", join(done)); return nil })
		for _, i := range heal {
			j.later(func(ctx context.Context) error {
				if done[i] == nil {
					return nil
				}
				return done[i].Heal(ctx)
			})
		}
		var left error
		for i, n := range order {
			if want == 0 {
				break
			}
			var err error
			done[i], err = able[n].Strike(ctx, l, rand.New(rand.NewPCG(seeds[i], 0)))
			if err == nil {
				want--
			}
			left = errors.Join(left, err)
			if err != nil && !errors.As(err, new(*lab.HeldError)) && !errors.As(err, new(*UnverifiedError)) {
				return err
			}
		}
		j.sayf("%s", join(done))
		if j.String() == "" {
			return left
		}
		return nil
	})
}

func join(all []Injury) string {
	var says []string
	for _, x := range all {
		if x != nil {
			says = append(says, x.String())
		}
	}
	return strings.Join(says, "; and ")
}
