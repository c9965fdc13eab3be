package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// transfer has leaders hand groups over to others: one, or one after the other. There
// is nothing to heal: placement gives the groups back to whom it prefers.
type transfer struct{ storm bool }

func transfers() []Fault { return []Fault{transfer{}, transfer{storm: true}} }

const (
	stormTransfersMin = 4
	stormTransfersMax = 12
	// takeOverTime is how long the next leader may take to serve. After a second or
	// so placement has the group back where it was.
	takeOverTime = time.Second
)

// Name implements Fault.
func (f transfer) Name() string {
	if f.storm {
		return "transfer-storm"
	}
	return "transfer"
}

// Missing implements Fault: it can be done anywhere.
func (transfer) Missing(lab.Rights) string { return "" }

// Strike implements Fault.
func (f transfer) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		n := 1
		if f.storm {
			n = stormTransfersMin + r.IntN(stormTransfersMax-stormTransfersMin+1)
		}
		var done []string
		for range n {
			says, err := handOver(ctx, l, r)
			if err != nil {
				return unverified(f.Name(), "after %d transfers: %w", len(done), err)
			}
			done = append(done, says)
		}
		j.sayf("%s", strings.Join(done, ", "))
		return nil
	})
}

// handOver has one group handed over and waits until another member serves it.
func handOver(ctx context.Context, l *lab.Lab, r *rand.Rand) (says string, err error) {
	draw := r.Uint64()
	err = lab.Poll(ctx, leadTime, "have a group handed over", func(ctx context.Context) error {
		led := l.Leading(ctx)
		owner := map[int]string{}
		for name, groups := range led {
			for _, g := range groups {
				owner[g] = name
			}
		}
		groups := slices.Sorted(maps.Keys(owner))
		if len(groups) == 0 {
			return errors.New("nobody says that it leads")
		}
		g := groups[draw%uint64(len(groups))]
		from := memberNamed(l, owner[g])
		if err := from.HandOver(ctx, g); err != nil {
			return err
		}
		return lab.Poll(ctx, takeOverTime, "see who leads now", func(ctx context.Context) error {
			for name, groups := range l.Leading(ctx) {
				if name != from.Name() && slices.Contains(groups, g) {
					says = fmt.Sprintf("group %d from %s to %s", g, from.Name(), name)
					return nil
				}
			}
			return fmt.Errorf("nobody but %s leads group %d", from.Name(), g)
		})
	})
	return says, err
}

func memberNamed(l *lab.Lab, name string) *lab.Member {
	for _, m := range l.All() {
		if m.Name() == name {
			return m
		}
	}
	panic("fault: the lab has no member " + name)
}
