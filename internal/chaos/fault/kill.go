package fault

import (
	"context"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// kill ends members with SIGKILL, all of them at once. They are started again when
// it is healed.
type kill struct{ who victims }

func kills() []Fault { return []Fault{kill{anyone}, kill{leader}, kill{minority}, kill{everyone}} }

// Name implements Fault.
func (k kill) Name() string { return "kill-" + k.who.String() }

// Missing implements Fault: it can be done anywhere.
func (kill) Missing(lab.Rights) string { return "" }

// Strike implements Fault.
func (k kill) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members, err := k.who.hold(ctx, j, l, r)
		if err != nil {
			return err
		}
		j.start(members...)
		return killed(k.Name(), l, members, func() { j.sayf("kill -9 of %s", names(members)) })
	})
}

// killed kills members, makes sure that they died of it, and calls then.
func killed(name string, l *lab.Lab, members []*lab.Member, then func()) error {
	dying := make([]*lab.Process, len(members))
	for i, m := range members {
		dying[i] = m.Process()
	}
	l.Kill(members...)
	for i, m := range members {
		if p := dying[i]; !p.Killed() {
			return unverified(name, "%s ended before it was killed: %w: %s", m.Name(), lab.ErrEnded, p.Tail())
		}
	}
	then()
	return nil
}
