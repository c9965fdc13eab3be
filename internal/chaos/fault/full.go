package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// full fills the disk of a member to the last block. When it is healed there is
// space again, and the member is started if it has ended.
type full struct{}

func fillings() []Fault { return []Fault{full{}} }

// Name implements Fault.
func (full) Name() string { return "disk-full" }

// Missing implements Fault.
func (full) Missing(rights lab.Rights) string { return rights.Disk }

// Strike implements Fault.
func (f full) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members, err := anyone.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		m := members[0]
		path := filepath.Join(m.Disk(), "filler")
		j.start(m)
		j.later(func(context.Context) error {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			if !m.Running() {
				j.addf("it had ended: %s", lastLine(m.Process().Tail()))
			}
			return tryWrite(m.Disk())
		})
		n, err := fill(path)
		if err != nil {
			return err
		}
		j.sayf("filled the last %d MiB of the disk of %s", n>>20, m.Name())
		if err := tryWrite(m.Disk()); !errors.Is(err, syscall.ENOSPC) {
			return unverified(f.Name(), "a write to the disk of %s: %w", m.Name(), err)
		}
		return nil
	})
}

// tryWrite writes a block and removes it again.
func tryWrite(dir string) error {
	path := filepath.Join(dir, "try")
	err := os.WriteFile(path, make([]byte, 64<<10), 0o644)
	return errors.Join(err, os.RemoveAll(path))
}
