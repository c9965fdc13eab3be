//go:build !linux

package fault

import "errors"

func fill(string) (int64, error) { return 0, errors.New("fault: disks are filled on Linux only") }
