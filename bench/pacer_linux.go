package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// precise is how much of a wait the kernel's timer does; what is longer is left
// to the runtime's, which can be ended early.
const precise = 2 * time.Millisecond

// clockMonotonic is the kernel's number of the clock that time.Now measures by.
const clockMonotonic = 1

// kernelPacer waits by a timer of the kernel that is read like a connection: its
// end wakes the thread that waits for the network at once, within tens of
// microseconds.
type kernelPacer struct{ file *os.File }

// newPacer returns the most exact pacer there is. The caller closes it.
func newPacer() (pacer, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, fmt.Errorf("bench: make a timer: %w", errno)
	}
	return kernelPacer{file: os.NewFile(fd, "timer")}, nil
}

func (p kernelPacer) pause(ctx context.Context, d time.Duration) bool {
	if d > precise {
		begin := time.Now()
		if !pause(ctx, d-precise) {
			return false
		}
		if d -= time.Since(begin); d <= 0 {
			return true
		}
	}
	if p.set(d) != nil {
		return pause(ctx, d)
	}
	var ends [8]byte // how often the timer has ended
	_, err := p.file.Read(ends[:])
	return err == nil && binary.NativeEndian.Uint64(ends[:]) > 0 && ctx.Err() == nil
}

// set makes the timer end once, after d, which is more than 0.
func (p kernelPacer) set(d time.Duration) error {
	spec := struct{ interval, value syscall.Timespec }{value: syscall.NsecToTimespec(int64(d))}
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		//nolint:gosec // the kernel reads the struct during the call only
		_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func (p kernelPacer) close() { p.file.Close() }
