package fault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// takeTime is how long a member may take until it is ready with a disk that was
// damaged, or ends because it was.
const takeTime = 15 * time.Second

// try starts a member whose disk is not what it was, and notes what it makes of that.
func (j *injury) try(ctx context.Context, m *lab.Member) error {
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
			return errors.New("it is not ready")
		}
		return nil
	})
	switch {
	case !p.Running():
		j.addf("it refused: %s", lastLine(p.Tail()))
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		j.addf("it is not ready with it after %s", takeTime)
	default:
		j.addf("it ran with it")
	}
	return nil
}

// revive tries a member with its disk, and gives it an empty one if it refuses, as
// somebody would who has read what it says.
func (j *injury) revive(ctx context.Context, m *lab.Member) error {
	if err := j.try(ctx, m); err != nil || m.Running() {
		return err
	}
	return replace(m)
}

// replace gives a member an empty disk, whatever state it is in, and starts it.
func replace(m *lab.Member) error {
	m.Kill()
	if err := m.Wipe(); err != nil {
		return err
	}
	return m.Start()
}

// lastLine returns the last line that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.HasPrefix(line, "error:") || strings.HasPrefix(line, "panic:") || strings.Contains(line, "level=ERROR") {
			return line
		}
	}
	return lines[len(lines)-1]
}
