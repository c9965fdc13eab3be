package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// Fault is something that can be done to a lab.
type Fault interface {
	// Name is what people call it by: words with dashes.
	Name() string
	// Missing says why it cannot be done with these rights, "" if it can.
	Missing(lab.Rights) string
	// Strike injures and makes sure that it did. It blocks for as long as that
	// takes, some seconds at most. A lab.HeldError says that members it needs are
	// in use.
	Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error)
}

// Injury is what a fault has done.
type Injury interface {
	// String says what was done to whom, and after Heal what came of it.
	String() string
	// Heal undoes it: links carry, processes run, disks are mounted. It does not
	// wait until members are ready, but where a disk is not what it was it waits to see
	// whether the member takes it; one that ends instead gets an empty disk. It may be called again if it fails, and does
	// nothing once it has not.
	Heal(ctx context.Context) error
}

// All returns every fault, those about single members first.
func All() []Fault {
	var all []Fault
	for _, family := range [][]Fault{
		kills(), pauses(), cuts(), losses(), resets(), powerFailures(), syncFailures(), fillings(),
		damages(), replacements(), clocks(), transfers(), coldStarts(),
	} {
		all = append(all, family...)
	}
	// Those about all members leave nothing to have others beside, and those about
	// leaders need somebody who can lead.
	beside := slices.DeleteFunc(slices.Clone(all), func(f Fault) bool {
		_, moves := f.(transfer)
		return moves || strings.HasSuffix(f.Name(), "-"+everyone.String()) || f.Name() == cold{}.Name()
	})
	return append(all, &several{of: beside})
}

// Named returns a fault by its name, those of Damages included.
func Named(name string) (Fault, bool) {
	for _, f := range append(All(), Damages()...) {
		if f.Name() == name {
			return f, true
		}
	}
	return nil, false
}

// UnverifiedError says that a fault could not show that it had happened.
type UnverifiedError struct {
	Fault  string
	Reason error
}

// Error gives the reason.
func (e *UnverifiedError) Error() string {
	return fmt.Sprintf("fault: %s has not happened as it should: %v (the run proves nothing)", e.Fault, e.Reason)
}

// Unwrap returns the reason.
func (e *UnverifiedError) Unwrap() error { return e.Reason }

func unverified(name, format string, args ...any) error {
	return &UnverifiedError{name, fmt.Errorf(format, args...)}
}

// injury is an Injury whose undoing is a list of steps, last first. A step is done
// once.
type injury struct {
	mu    sync.Mutex
	says  string
	steps []func(context.Context) error
}

// String implements Injury.
func (j *injury) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.says
}

// sayf sets what was done.
func (j *injury) sayf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.says = fmt.Sprintf(format, args...)
}

// addf adds to what was done. Steps may call it.
func (j *injury) addf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.says += fmt.Sprintf("; "+format, args...)
}

// later adds a step to the undoing.
func (j *injury) later(step func(context.Context) error) { j.steps = append(j.steps, step) }

// Heal implements Injury. Strike and Heal are not called at the same time.
func (j *injury) Heal(ctx context.Context) error {
	for len(j.steps) > 0 {
		last := len(j.steps) - 1
		if err := j.steps[last](ctx); err != nil {
			return err
		}
		j.steps = j.steps[:last]
	}
	return nil
}

// strike runs do, which fills in an injury. If it fails, what it has done is undone.
func strike(ctx context.Context, do func(*injury) error) (Injury, error) {
	j := &injury{}
	if err := do(j); err != nil {
		return nil, errors.Join(err, j.Heal(context.WithoutCancel(ctx)))
	}
	return j, nil
}

// hold holds members until the injury is healed.
func (j *injury) hold(l *lab.Lab, members ...*lab.Member) error {
	release, err := l.Hold(members...)
	if err != nil {
		return err
	}
	j.later(func(context.Context) error { release(); return nil })
	return nil
}

// start starts members when the injury is healed.
func (j *injury) start(members ...*lab.Member) {
	j.later(func(context.Context) error {
		for _, m := range members {
			if err := m.Start(); err != nil {
				return err
			}
		}
		return nil
	})
}
