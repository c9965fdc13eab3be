package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// leaveTime is how long the program inside may take to end once it is asked to.
const leaveTime = 30 * time.Second

// Enter runs this program again, with the same arguments, files and environment,
// inside of network, mount and process namespaces of its own, and returns its exit
// status: the caller ends with it. In that second run Enter prepares the namespaces
// and returns inside. Whatever is made there, processes, mounts, networks, ends with
// the second run. When ctx ends, the second run is asked to end too.
//
// It fails with a RightsError if this process may not do that.
func Enter(ctx context.Context) (in bool, status int, err error) {
	if os.Getenv(outsideEnv) != "" {
		if err := inside(); err != nil {
			return false, 0, err
		}
		return true, 0, settle(ctx)
	}
	if why := enterable(); why != "" {
		return false, 0, &RightsError{why}
	}
	outside, err := os.Readlink(netNamespace)
	if err != nil {
		return false, 0, err
	}
	// The second run is killed when the thread that started it ends: that must be
	// the end of this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	//nolint:gosec // this very program
	c := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), outsideEnv+"="+outside)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = leaveTime
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return false, exit.ExitCode(), nil
	case errors.Is(err, syscall.EPERM):
		return false, 0, &RightsError{"the system does not let this process make them"}
	case err != nil:
		return false, 0, fmt.Errorf("lab: run inside of private namespaces: %w", err)
	}
	return false, 0, nil
}

const netNamespace = "/proc/self/ns/net"

// enterable returns why there can be no private namespaces, "" if there can.
func enterable() string {
	if os.Geteuid() != 0 {
		return "this needs root"
	}
	return programs("ip")
}

var namespaceName = regexp.MustCompile(`^net:\[\d+\]$`)

// inside returns nil if this process is in a network of its own. Faults that touch
// the network rely on it, so it believes what it sees rather than what it is told:
// another namespace than at the start, and nothing but the loopback interface.
func inside() error {
	outside := os.Getenv(outsideEnv)
	if !namespaceName.MatchString(outside) {
		return errors.New("lab: not inside of private namespaces")
	}
	own, err := os.Readlink(netNamespace)
	if err != nil {
		return err
	}
	if own == outside {
		return errors.New("lab: this is the network that the program was started in, which is not touched")
	}
	nics, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, n := range nics {
		if n.Flags&net.FlagLoopback == 0 && n.Flags&net.FlagUp != 0 {
			return fmt.Errorf("lab: the network has an interface %s: it is not private", n.Name)
		}
	}
	return nil
}

// settle makes fresh namespaces usable: mounts are not seen outside, /proc shows
// the processes inside, the loopback interface is up.
func settle(ctx context.Context) error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("lab: make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("lab: mount /proc: %w", err)
	}
	return command(ctx, "ip", "link", "set", "lo", "up")
}

// possible returns what can be done from where this process is.
func possible() Rights {
	var r Rights
	if err := inside(); err != nil {
		r.Network = "not inside of a private network"
		if why := enterable(); why != "" {
			r.Network = why
		}
		r.Disk = r.Network
	}
	if r.Network == "" {
		r.Network = programs("nft")
		r.Disk = programs("mkfs.ext4", "mount", "umount")
	}
	r.Trace = programs("strace")
	return r
}
