package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// power takes the power of members' disks and of the members: what was not synced is
// gone. They are started again when it is healed.
type power struct{ who victims }

func powerFailures() []Fault { return []Fault{power{anyone}, power{leader}, power{everyone}} }

// Name implements Fault.
func (p power) Name() string { return "power-" + p.who.String() }

// Missing implements Fault.
func (power) Missing(rights lab.Rights) string {
	if rights.Disk != "" {
		return rights.Disk
	}
	return rights.Freeze
}

// Strike implements Fault. Members are frozen first, so that none of them sees that
// its disk has gone: power takes them in the same moment. Two files witness it.
func (p power) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members, err := p.who.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		j.start(members...)
		j.later(func(ctx context.Context) error {
			for _, m := range members {
				if err := m.Mount(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		var witnesses []canaries
		for _, m := range members {
			c := canaries{m.Disk()}
			if err := c.put(); err != nil {
				return err
			}
			witnesses = append(witnesses, c)
		}
		if err := freeze(ctx, members); err != nil {
			return errors.Join(err, resume(members))
		}
		for _, m := range members {
			err = errors.Join(err, m.CutPower())
		}
		l.Kill(members...)
		for _, m := range members {
			err = errors.Join(err, m.Remount(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return err
		}
		j.sayf("power failure of %s", names(members))
		for _, c := range witnesses {
			err = errors.Join(err, c.look(p.Name()))
		}
		return err
	})
}

// canaries are two files on a disk: one that was synced and one that was not.
type canaries struct{ dir string }

func (c canaries) synced() string   { return filepath.Join(c.dir, "canary-synced") }
func (c canaries) unsynced() string { return filepath.Join(c.dir, "canary-unsynced") }

const canarySong = "written before the power failed"

// put writes both. The synced one is first: syncing it may write the journal, and the
// other one's name with it, but never what is in it.
func (c canaries) put() error {
	f, err := os.Create(c.synced())
	if err != nil {
		return err
	}
	_, err = f.WriteString(canarySong)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	d, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return err
	}
	return os.WriteFile(c.unsynced(), []byte(canarySong), 0o644)
}

// look makes sure that only the synced one is left, and removes both.
func (c canaries) look(name string) error {
	kept, err := os.ReadFile(c.synced())
	if err != nil || string(kept) != canarySong {
		return unverified(name, "a synced file is not there: %q, %w", kept, err)
	}
	lost, err := os.ReadFile(c.unsynced())
	switch {
	case err == nil && len(lost) > 0:
		return unverified(name, "a file that was never synced is there: %q", lost)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	return errors.Join(os.Remove(c.synced()), os.RemoveAll(c.unsynced()))
}
