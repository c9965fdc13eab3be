//go:build unix && !linux

package pgtest

import "syscall"

// endWithParent has no counterpart here: a server whose test dies without closing
// it stays until somebody ends it.
func endWithParent(*syscall.SysProcAttr) {}
