package lab

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// What ext4 is told to stop at once: its number, and the way that leaves the journal
// where it is.
const (
	ext4Shutdown       = 0x8004587D
	shutdownNoLogFlush = 2
)

func cutPower(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	how := uint32(shutdownNoLogFlush)
	//nolint:gosec // the argument of this request is a pointer to four bytes
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how)))
	err = f.Close()
	if errno != 0 {
		err = errors.Join(fmt.Errorf("lab: cut the power of %s: %w", dir, errno), err)
	}
	return err
}
