package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// cold stops all members, which lets their stores catch up, and removes everything
// but the stores. When it is healed they are started, and have nothing else to start
// from.
type cold struct{}

func coldStarts() []Fault { return []Fault{cold{}} }

// Name implements Fault.
func (cold) Name() string { return "cold-start" }

// Missing implements Fault: it can be done anywhere.
func (cold) Missing(lab.Rights) string { return "" }

// Strike implements Fault.
func (f cold) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members, err := everyone.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		j.start(members...)
		// A member that does not end well may owe its store something: its log stays.
		if err := l.StopAll(); err != nil {
			return unverified(f.Name(), "%w", err)
		}
		for _, m := range members {
			err = errors.Join(err, m.RemoveLogs())
		}
		if err != nil {
			return err
		}
		for _, m := range members {
			if _, err := os.Stat(m.LogDir()); !errors.Is(err, os.ErrNotExist) {
				return unverified(f.Name(), "%s still has its log: %w", m.Name(), err)
			}
		}
		j.sayf("stopped all members and removed their logs")
		return nil
	})
}
