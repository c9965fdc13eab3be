//go:build !linux

package bench

// newPacer returns the most exact pacer there is. The caller closes it.
func newPacer() (pacer, error) { return timerPacer{}, nil }
