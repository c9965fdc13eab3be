package pgtest

import "syscall"

// endWithParent makes the kernel end the server should the test's process die
// without closing it.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
