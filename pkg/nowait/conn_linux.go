package nowait

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Conn gives a connection whose reads and writes the scheduler is not told of.
// Deadlines and Close work as before. A connection that is not a socket's, as one
// within TLS, is given back as it is.
func Conn(c net.Conn) (net.Conn, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c, nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("looking for the socket of a connection: %w", err)
	}
	q := &conn{Conn: c, raw: raw}
	q.in.try, q.out.try = q.in.read, q.out.write
	return q, nil
}

type conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out way
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) { return c.in.do(p, c.raw.Read) }

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) { return c.out.do(p, c.raw.Write) }

// way is one direction of a connection.
type way struct {
	mu sync.Mutex // one reads, or writes, at a time
	// try is bound once, because a closure for each call would cost an
	// allocation.
	try func(fd uintptr) bool
	p   []byte
	n   int
	err error
}

// do has wait call try until it says that it is done; in between wait sleeps
// until the socket is ready.
func (w *way) do(p []byte, wait func(func(uintptr) bool) error) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.p, w.n, w.err = p, 0, nil
	err := wait(w.try)
	w.p = nil
	if err == nil {
		err = w.err
	}
	return w.n, err
}

func (w *way) read(fd uintptr) bool {
	var err error
	switch w.n, err = Read(fd, w.p); {
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		w.err = os.NewSyscallError("read", err)
	case w.n == 0:
		w.err = io.EOF
	}
	return true
}

func (w *way) write(fd uintptr) bool {
	for w.n < len(w.p) {
		n, err := Write(fd, w.p[w.n:])
		w.n += n
		switch {
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			w.err = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}
