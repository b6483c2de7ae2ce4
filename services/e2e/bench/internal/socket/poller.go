//go:build linux

package socket

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxReady is how many sockets one Wait tells of.
const maxReady = 1024

// Poller waits for sockets. It belongs to one goroutine.
type Poller struct {
	fd     int
	events [maxReady]unix.EpollEvent
	// Alone has Wait block without telling Go's scheduler, which is cheaper
	// and right only where nothing else in the process needs its processor.
	Alone bool
}

// NewPoller makes one; it has to be closed.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Poller{fd: fd}, nil
}

// Close ends it; the sockets stay open.
func (p *Poller) Close() { _ = unix.Close(p.fd) }

// Add begins to wait for a socket; Wait calls it by the tag.
func (p *Poller) Add(fd, tag int, events uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, tag, events)
}

// Change waits for other events of a socket.
func (p *Poller) Change(fd, tag int, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, tag, events)
}

func (p *Poller) control(op, fd, tag int, events uint32) error {
	err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(tag)})
	return os.NewSyscallError("epoll_ctl", err)
}

// Wait waits for sockets, at most for the timeout, which is exact to the
// kernel's timers (epoll_pwait2, Linux 5.11). What it returns is good until the
// next call; an event's Fd is the tag.
func (p *Poller) Wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	ts := unix.NsecToTimespec(int64(max(timeout, 0)))
	call := unix.Syscall6
	if p.Alone {
		call = unix.RawSyscall6
	}
	n, _, errno := call(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), maxReady,
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	case unix.ENOSYS:
		return nil, fmt.Errorf("epoll_pwait2: %w: Linux 5.11 is needed", errno)
	}
	return nil, os.NewSyscallError("epoll_pwait2", errno)
}
