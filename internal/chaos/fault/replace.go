package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// replaced gives a member another disk: an empty one, or a copy of its own from some
// time before.
type replaced struct{ stale bool }

func replacements() []Fault { return []Fault{replaced{}, replaced{stale: true}} }

// Between a copy and its return the member lives on for a while.
const (
	staleMin = time.Second
	staleMax = 4 * time.Second
)

// Name implements Fault.
func (f replaced) Name() string {
	if f.stale {
		return "disk-stale"
	}
	return "disk-lost"
}

// Missing implements Fault: it can be done anywhere.
func (replaced) Missing(lab.Rights) string { return "" }

// Strike implements Fault. It leaves the member dead with its other disk.
func (f replaced) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		life := between(r, staleMin, staleMax)
		m, err := holdCopy(ctx, j, l, r)
		if err != nil {
			return err
		}
		j.later(func(ctx context.Context) error { return j.revive(ctx, m) })
		if err := killed(f.Name(), l, []*lab.Member{m}, func() {}); err != nil {
			return err
		}
		if !f.stale {
			j.sayf("the disk of %s was lost", m.Name())
			return lose(m)
		}
		backup := filepath.Join(l.Folder(), m.Name()+".backup")
		j.later(func(context.Context) error { return os.RemoveAll(backup) })
		if err := errors.Join(os.RemoveAll(backup), os.CopyFS(backup, os.DirFS(m.Dir()))); err != nil {
			return err
		}
		if err := f.liveOn(ctx, l, m, life); err != nil {
			return err
		}
		j.sayf("the disk of %s is a copy that is %s old", m.Name(), life)
		return f.restore(m, backup)
	})
}

// lose empties the folder of a member that does not run.
func lose(m *lab.Member) error {
	if err := m.Wipe(); err != nil {
		return err
	}
	if _, err := os.Stat(m.Dir()); !errors.Is(err, os.ErrNotExist) {
		return unverified("disk-lost", "there still is something at %s: %w", m.Dir(), err)
	}
	return nil
}

// mark is a file that a member's folder has since the copy was made.
const mark = "since-the-copy"

// liveOn lets the member run for a while, with something to do, and kills it again.
func (f replaced) liveOn(ctx context.Context, l *lab.Lab, m *lab.Member, life time.Duration) error {
	if err := os.WriteFile(filepath.Join(m.Dir(), mark), nil, 0o644); err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	stop, err := nudge(ctx, l)
	if err != nil {
		return err
	}
	defer stop()
	err = lab.Poll(ctx, takeTime, "have "+m.Name()+" back", func(ctx context.Context) error {
		var s lab.Status
		if err := m.Ask(ctx, "status", &s); err != nil {
			return err
		}
		if !s.Ready {
			return fmt.Errorf("%s is not ready", m.Name())
		}
		return nil
	})
	if err != nil {
		return err
	}
	sleep(ctx, life)
	return killed(f.Name(), l, []*lab.Member{m}, func() {})
}

// restore puts a copy in the place of a member's folder.
func (f replaced) restore(m *lab.Member, backup string) error {
	if _, err := os.Stat(filepath.Join(m.Dir(), mark)); err != nil {
		return unverified(f.Name(), "the folder lost what it had since the copy by itself: %w", err)
	}
	if err := errors.Join(m.Wipe(), os.CopyFS(m.Dir(), os.DirFS(backup))); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(m.Dir(), mark)); !errors.Is(err, os.ErrNotExist) {
		return unverified(f.Name(), "the folder is not the copy: %w", err)
	}
	return nil
}
