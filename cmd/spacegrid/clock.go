package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// offClock returns a wall clock that is off by what a file says, in the form of
// [time.ParseDuration]. The file is read whenever somebody asks for the time, so
// that the clock can be made to jump; while it cannot be read or says nothing that
// makes sense, the last offset stays. It is there to try out what a member does
// whose clock is wrong.
func offClock(path string) (func() time.Time, error) {
	first, err := clockOffset(path)
	if err != nil {
		return nil, err
	}
	var last atomic.Int64
	last.Store(int64(first))
	return func() time.Time {
		if d, err := clockOffset(path); err == nil {
			last.Store(int64(d))
		}
		// Without the monotonic reading, which a wrong clock does not have either.
		return time.Now().Round(0).Add(time.Duration(last.Load()))
	}, nil
}

func clockOffset(path string) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
