package fault

import (
	"errors"
	"os"
	"syscall"
)

// fill takes all space there is for a file, by halves, and returns how much it was.
// Space that is only taken, not written, stays a hole of the disk's image.
func fill(path string) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	var at int64
	for step := int64(1 << 30); step >= 512; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, step); {
		case err == nil:
			at += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		case errors.Is(err, syscall.EINTR):
		default:
			return at, errors.Join(err, f.Close())
		}
	}
	return at, f.Close()
}
