//go:build unix && !linux

package conn

import "syscall"

// readNow and writeNow are read(2) and write(2) on a socket that does not block.
func readNow(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func writeNow(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
