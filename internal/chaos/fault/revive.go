package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// takeTime is how long a member may take until it is ready with a disk that was
// damaged, or ends because it was.
const takeTime = 15 * time.Second

// revive starts a member whose disk is not what it was. One that refuses to run with
// it gets an empty one, as from somebody who has read what it said.
func (j *injury) revive(ctx context.Context, m *lab.Member) error {
	if err := m.Start(); err != nil {
		return err
	}
	p := m.Process()
	err := lab.Poll(ctx, takeTime, "see what "+m.Name()+" makes of it", func(ctx context.Context) error {
		if !p.Running() {
			return nil
		}
		var s lab.Status
		if err := m.Ask(ctx, "status", &s); err != nil {
			return err
		}
		if !s.Ready {
			return fmt.Errorf("it is not ready")
		}
		return nil
	})
	switch {
	case !p.Running():
		j.addf("it refused: %s", lastLine(p.Tail()))
		if err := m.Wipe(); err != nil {
			return err
		}
		return m.Start()
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err != nil:
		j.addf("it is not ready with it after %s", takeTime)
	default:
		j.addf("it runs with it")
	}
	return nil
}

// lastLine returns the last line that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "error:") || strings.HasPrefix(lines[i], "panic:") || strings.Contains(lines[i], "level=ERROR") {
			return lines[i]
		}
	}
	return lines[len(lines)-1]
}
