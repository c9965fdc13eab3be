//go:build !linux

package lab

import (
	"context"
	"errors"
	"runtime"
)

// Enter fails with a RightsError: private namespaces are there on Linux only.
func Enter(context.Context) (in bool, status int, err error) {
	return false, 0, &RightsError{"there are none on " + runtime.GOOS}
}

func inside() error { return errors.New("lab: not inside of private namespaces") }

func possible() Rights {
	why := "not on " + runtime.GOOS
	return Rights{Network: why, Disk: why, Trace: why, Freeze: why}
}
