package pumpfaults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	// noticeTime is how long it may take until something that was done is seen.
	noticeTime = 30 * time.Second
	burstTimes = 10
	// burstLeast is how many times the rate clients must have got for a burst to have
	// been one.
	burstLeast = 4
	poisoned   = 3 // keys that a bad row is written to
	moveEvery  = time.Second
)

// proof is something that is done to a trial under load. It leaves all members
// running.
type proof struct {
	name    string
	missing func(lab.Rights) string
	do      func(*trial, context.Context) error
}

func always(lab.Rights) string { return "" }

func proofs() []proof {
	power, _ := fault.Named("power-all")
	return []proof{
		{"sink-down-owner-killed", always, (*trial).downKilled},
		{"sink-down-members-stopped", always, (*trial).downStopped},
		{"rolling-restart", always, (*trial).rolling},
		{"power-loss-of-all", power.Missing, (*trial).powerLoss},
		{"poison-row", always, (*trial).poison},
		{"paused-owner", func(r lab.Rights) string { return r.Freeze }, (*trial).pausedOwner},
		{"burst", always, (*trial).burst},
		{"leader-moved-every-second", always, (*trial).moved},
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// sinkDown crashes the server, sees that a member has noticed, and does something;
// it is down for Down at least.
func (t *trial) sinkDown(ctx context.Context, meanwhile func() error) error {
	began := time.Now()
	if err := t.server.Kill(); err != nil {
		return err
	}
	err := lab.Poll(ctx, noticeTime, "see that the sink is down", func(ctx context.Context) error {
		for _, m := range t.lab.All() {
			var all []grid.SinkStatus
			if err := m.Ask(ctx, "sinks", &all); err != nil {
				return err
			}
			for i := range all {
				if all[i].Sink == sinkName && all[i].State == "failing" && all[i].BacklogChanges > 0 {
					return nil
				}
			}
		}
		return errors.New("nobody says so")
	})
	if err == nil {
		err = meanwhile()
	}
	if err == nil {
		err = rest(ctx, t.Down-time.Since(began))
	}
	return errors.Join(err, t.server.Restart())
}

// owner returns the member that leads the most.
func (t *trial) owner(ctx context.Context) (m *lab.Member, err error) {
	err = lab.Poll(ctx, noticeTime, "see who leads", func(ctx context.Context) error {
		led, err := t.lab.Leaders(ctx)
		if err == nil {
			m = t.lab.Busiest(led)
		}
		return err
	})
	return m, err
}

// downKilled has the sink down and the owner dead for as long.
func (t *trial) downKilled(ctx context.Context) error {
	var dead *lab.Member
	err := t.sinkDown(ctx, func() (err error) {
		if dead, err = t.owner(ctx); err != nil {
			return err
		}
		p := dead.Process()
		if dead.Kill(); !p.Killed() {
			return fmt.Errorf("%s ended before it was killed", dead.Name())
		}
		return nil
	})
	if dead != nil {
		err = errors.Join(err, dead.Start())
	}
	return err
}

// downStopped has the sink down while every member in turn is asked to stop.
func (t *trial) downStopped(ctx context.Context) error {
	return t.sinkDown(ctx, func() error { return t.rolling(ctx) })
}

// rolling restarts every member in turn; the next one when the last is back.
func (t *trial) rolling(ctx context.Context) error {
	for _, m := range t.lab.All() {
		if err := m.Stop(); err != nil {
			return err
		}
		if err := errors.Join(m.Start(), t.lab.AwaitReady(ctx)); err != nil {
			return err
		}
	}
	return t.lab.AwaitWhole(ctx)
}

// strike carries out a fault of package fault and heals it at once.
func (t *trial) strike(ctx context.Context, name string) error {
	f, ok := fault.Named(name)
	if !ok {
		panic("pumpfaults: there is no fault " + name)
	}
	injury, err := f.Strike(ctx, t.lab, t.rand)
	if err != nil {
		return err
	}
	return injury.Heal(ctx)
}

// powerLoss takes the power of all members in the same moment.
func (t *trial) powerLoss(ctx context.Context) error { return t.strike(ctx, "power-all") }

// pausedOwner freezes the owner until others pump in its place, and lets it go on
// in the middle of that.
func (t *trial) pausedOwner(ctx context.Context) (err error) {
	m, err := t.owner(ctx)
	if err != nil {
		return err
	}
	if err := m.Pause(ctx); err != nil {
		return errors.Join(err, m.Resume())
	}
	defer func() { err = errors.Join(err, m.Resume()) }()
	began := time.Now()
	err = lab.Poll(ctx, noticeTime, "have others lead", func(ctx context.Context) error {
		for _, o := range t.lab.All() {
			if o == m {
				continue
			}
			var s lab.Status
			if err := o.Ask(ctx, "status", &s); err != nil {
				return err
			}
			for _, g := range s.Groups {
				if g.Group != 0 && g.Leader == m.Name() {
					return fmt.Errorf("%s believes that %s leads group %d", o.Name(), m.Name(), g.Group)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	before, err := t.journalled(ctx)
	if err != nil {
		return err
	}
	err = lab.Poll(ctx, noticeTime, "see the new owner pump", func(ctx context.Context) error {
		if now, err := t.journalled(ctx); err != nil || now <= before {
			return errors.Join(errors.New("nothing comes"), err)
		}
		return nil
	})
	return errors.Join(err, rest(ctx, t.Down-time.Since(began)), m.Frozen())
}

// burst asks for ten times as much.
func (t *trial) burst(ctx context.Context) error {
	before := t.record.count()
	t.load.rate.Store(int64(burstTimes * t.Rate))
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < t.Burst {
		err = errors.Join(rest(ctx, min(time.Second, t.Burst)), t.remember())
	}
	t.load.rate.Store(int64(t.Rate))
	got := float64(t.record.count()-before) / time.Since(began).Seconds()
	t.Logger.Info("pumpfaults: burst", "requests_per_second", int(got), "usual", t.Rate)
	if err == nil && got < float64(burstLeast*t.Rate) {
		err = fmt.Errorf("%.0f requests a second were no burst: %d are usual", got, t.Rate)
	}
	return err
}

// moved has a leadership handed over every second.
func (t *trial) moved(ctx context.Context) error {
	for end := time.Now().Add(t.Down); time.Now().Before(end); {
		began := time.Now()
		if err := t.strike(ctx, "transfer"); err != nil {
			return err
		}
		if err := rest(ctx, moveEvery-time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}
