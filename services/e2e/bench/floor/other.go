//go:build linux

package floor

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// greeting is what one floor says to another in place of a request.
const greeting = "ANOTHER FLOOR"

// meet connects to the other floor, which from then on gets each message of this
// one's members, and gives those of its own.
func (s *server) meet(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		_ = unix.Close(fd) // the first error counts
		return os.NewSyscallError("connect", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if s.other, err = s.add(fd); err != nil {
		return err
	}
	s.other.upgraded = true
	return s.other.Write([]byte(greeting + "\r\n\r\n"))
}
