//go:build linux

package socket

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a nonblocking socket in a Poller. It belongs to the Poller's
// goroutine.
type Conn struct {
	FD, Tag int

	poller *Poller
	unsent []byte // what the kernel would not take yet
	rest   []byte // what has come of a frame that is not whole
}

// NewConn adds a socket to the poller. Until Established is called it waits
// for the connection, after that for what comes.
func NewConn(p *Poller, fd, tag int) (Conn, error) {
	return Conn{FD: fd, Tag: tag, poller: p}, p.Add(fd, tag, unix.EPOLLOUT)
}

// Established tells how connecting ended.
func (c *Conn) Established() error {
	status, err := unix.GetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && status != 0 {
		err = unix.Errno(status)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	return c.poller.Change(c.FD, c.Tag, unix.EPOLLIN)
}

// Read reads once, into the buffer that all sockets share, behind what was
// kept. It gives nil where nothing was there, and io.EOF at the end.
func (c *Conn) Read(shared []byte) ([]byte, error) {
	kept := copy(shared, c.rest)
	if kept == len(shared) {
		return nil, errors.New("a frame is larger than the buffer")
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.FD), uintptr(unsafe.Pointer(&shared[kept])), uintptr(len(shared)-kept))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil, nil
	case errno != 0:
		return nil, os.NewSyscallError("read", errno)
	case n == 0:
		return nil, io.EOF
	}
	c.rest = c.rest[:0]
	return shared[:kept+int(n)], nil
}

// Keep holds what is not a whole frame until the next Read.
func (c *Conn) Keep(b []byte) { c.rest = append(c.rest, b...) }

// Write writes all of b, now or when the socket takes it again: then Wait
// tells that it is writable, and Flush is to be called.
func (c *Conn) Write(b []byte) error {
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, b...)
		return nil
	}
	n, err := c.write(b)
	if err != nil || n == len(b) {
		return err
	}
	c.unsent = append(c.unsent, b[n:]...)
	return c.poller.Change(c.FD, c.Tag, unix.EPOLLIN|unix.EPOLLOUT)
}

// Flush writes what Write could not.
func (c *Conn) Flush() error {
	n, err := c.write(c.unsent)
	if err != nil {
		return err
	}
	c.unsent = append(c.unsent[:0], c.unsent[n:]...)
	if len(c.unsent) > 0 {
		return nil
	}
	return c.poller.Change(c.FD, c.Tag, unix.EPOLLIN)
}

func (c *Conn) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.FD), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("write", errno)
}

// Close closes the socket, which takes it out of the poller too.
func (c *Conn) Close() { _ = unix.Close(c.FD) }
