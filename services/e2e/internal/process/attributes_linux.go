package process

import "syscall"

// attributes put a process in a group of its own, where a Ctrl-C at the test
// does not reach it, and have the kernel end it when the test dies without
// having done so (prctl(2), PR_SET_PDEATHSIG).
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
