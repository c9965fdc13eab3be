package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// syncFault makes a member's syncs fail, or take long.
type syncFault struct{ slow bool }

func syncFailures() []Fault { return []Fault{syncFault{}, syncFault{slow: true}} }

const (
	syncCalls   = "fsync,fdatasync"
	slowSyncMin = 200 * time.Millisecond
	slowSyncMax = 2 * time.Second
)

// Name implements Fault.
func (f syncFault) Name() string {
	if f.slow {
		return "sync-slow"
	}
	return "sync-error"
}

// Missing implements Fault.
func (syncFault) Missing(rights lab.Rights) string { return rights.Trace }

// Strike implements Fault.
func (f syncFault) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		slow := between(r, slowSyncMin, slowSyncMax)
		members, err := anyone.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		m := members[0]
		j.start(m)
		if f.slow {
			t, err := j.trace(ctx, l, m, syncCalls, fmt.Sprintf("delay_exit=%d", slow.Microseconds()))
			if err != nil {
				return err
			}
			j.sayf("syncs of %s take %s longer", m.Name(), slow)
			return f.await(ctx, l, "see a slow sync", t.changed)
		}
		t, err := j.trace(ctx, l, m, syncCalls, "error=EIO")
		if err != nil {
			return err
		}
		j.sayf("a sync of %s failed, and it ended", m.Name())
		if err := f.await(ctx, l, "see "+m.Name()+" end after a failed sync", func(context.Context) error {
			return errors.Join(t.changed(ctx), stillThere(m))
		}); err != nil {
			return err
		}
		if m.Process().Err() == nil || m.Process().Killed() {
			return unverified(f.Name(), "%s ended as if all were well: %s", m.Name(), m.Process().Tail())
		}
		return nil
	})
}

func stillThere(m *lab.Member) error {
	if m.Running() {
		return fmt.Errorf("%s still runs", m.Name())
	}
	return nil
}

// await keeps the members writing until something is seen.
func (f syncFault) await(ctx context.Context, l *lab.Lab, what string, yes func(context.Context) error) error {
	stop, err := nudge(ctx, l)
	if err != nil {
		return err
	}
	defer stop()
	if err := lab.Poll(ctx, noticeTime, what, yes); err != nil {
		return unverified(f.Name(), "%w", err)
	}
	return nil
}

// changed returns nil once a call was changed.
func (t *tracer) changed(context.Context) error {
	n, err := t.saw()
	if err == nil && n == 0 {
		err = errors.New("no call of it has been changed yet")
	}
	return err
}
