//go:build unix && !linux

package nowait

import "syscall"

// Read is read(2) on a socket that does not block.
func Read(fd uintptr, p []byte) (int, error) { return call(syscall.Read, fd, p) }

// Write is write(2) on a socket that does not block.
func Write(fd uintptr, p []byte) (int, error) { return call(syscall.Write, fd, p) }

func call(f func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		if n, err := f(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
