package conn

import (
	"syscall"
	"unsafe"
)

// readNow and writeNow are read(2) and write(2) on a socket that does not block.
// They take a few microseconds and cannot take long, so the scheduler is not told
// of them: its own watch over system calls would cost a gateway that writes all
// the time a tenth of its CPU, for it is kept looking every 20 µs
// (runtime/proc.go, sysmon).
func readNow(fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func writeNow(fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
