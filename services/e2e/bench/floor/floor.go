//go:build linux

package floor

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// Options says which floor it is and where it listens.
type Options struct {
	// Addr is an IPv4 address with a port.
	Addr string
	// Coalesce makes it the floor+.
	Coalesce bool
	// Other is the address of another floor, whose members are in the same rooms;
	// that one has none, and Coalesce is off in both. Empty for a floor alone.
	Other string
}

type server struct {
	coalesce bool
	poller   *socket.Poller
	listener int
	conns    []*member // by tag; the listener's is 0
	rooms    map[string]*room
	other    *member // the other floor; nil where there is none
	touched  []*room // those with something pending
	shared   []byte
	frame    []byte
}

type room struct {
	members []*member
	pending []byte // frames that are not written yet
}

type member struct {
	socket.Conn
	room     *room
	upgraded bool
}

// Run serves until the context ends. The process is its alone: it turns the
// garbage collector off.
func Run(ctx context.Context, o Options) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	debug.SetGCPercent(-1)
	s := &server{
		coalesce: o.Coalesce, conns: []*member{nil}, rooms: make(map[string]*room), shared: make([]byte, 256<<10),
	}
	var err error
	if s.poller, err = socket.NewPoller(); err != nil {
		return err
	}
	defer s.poller.Close()
	s.poller.Alone = true
	if s.listener, err = listen(o.Addr); err != nil {
		return fmt.Errorf("listening at %s: %w", o.Addr, err)
	}
	defer unix.Close(s.listener) //nolint:errcheck // the process ends
	if err := s.poller.Add(s.listener, 0, unix.EPOLLIN); err != nil {
		return err
	}
	if o.Other != "" {
		if err := s.meet(o.Other); err != nil {
			return fmt.Errorf("meeting the floor at %s: %w", o.Other, err)
		}
	}
	for ctx.Err() == nil {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return nil
}

func listen(addr string) (int, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}), unix.Listen(fd, 4096))
	if err != nil {
		_ = unix.Close(fd) // the first error counts
	}
	return fd, err
}

func (s *server) turn() error {
	const patience = 100 * time.Millisecond // until it looks whether it is to end
	events, err := s.poller.Wait(patience)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Fd == 0 {
			err = s.accept()
		} else if m := s.conns[e.Fd]; m != nil {
			if e.Events&unix.EPOLLOUT != 0 && m.Flush() != nil || e.Events&^unix.EPOLLOUT != 0 && s.read(m) != nil {
				s.leave(m)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, r := range s.touched {
		r.write(r.pending)
		r.pending = r.pending[:0]
	}
	s.touched = s.touched[:0]
	return nil
}

func (s *server) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return os.NewSyscallError("accept4", err)
		}
		if _, err := s.add(fd); err != nil {
			return err
		}
	}
}

// add takes a connected socket in.
func (s *server) add(fd int) (*member, error) {
	m := new(member)
	var err error
	if m.Conn, err = socket.NewConn(s.poller, fd, len(s.conns)); err == nil {
		err = m.Established()
	}
	s.conns = append(s.conns, m)
	return m, errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

func (s *server) leave(m *member) {
	if m.room != nil {
		m.room.members = slices.DeleteFunc(m.room.members, func(other *member) bool { return other == m })
	}
	if m == s.other {
		s.other = nil // what it does not get shows as lost
	}
	s.conns[m.Tag] = nil
	m.Close()
}

func (s *server) read(m *member) error {
	b, err := m.Read(s.shared)
	if err != nil {
		return err
	}
	if !m.upgraded && len(b) > 0 {
		head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		if !whole {
			m.Keep(b)
			return nil
		}
		m.upgraded, b = true, rest
		if string(head) == greeting {
			s.other = m
		} else if err := m.Write(upgrade(head)); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		first, payload, size := socket.Next(b)
		if size == 0 {
			m.Keep(b)
			return nil
		}
		if err := s.take(m, first, payload); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// upgrade is the answer to a request, RFC 6455, section 4.2.2.
func upgrade(request []byte) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	_, key, _ := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	key, _, _ = bytes.Cut(key, []byte("\r\n"))
	sum := sha1.Sum(append(slices.Clone(key), guid...))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

var errClosed = errors.New("the client closes")

func (s *server) take(m *member, first byte, payload []byte) error {
	switch {
	case first == socket.Close:
		return errClosed
	case first != socket.Text:
	case bytes.HasPrefix(payload, []byte(`{"type":"join-room"`)):
		name := roomOf(payload)
		if m.room = s.rooms[string(name)]; m.room == nil {
			m.room = new(room)
			s.rooms[string(name)] = m.room
		}
		m.room.members = append(m.room.members, m)
		const answer = `{"type":"message-history"}`
		return m.Write(append(socket.AppendServer(nil, socket.Text, len(answer)), answer...))
	case m == s.other:
		if r := s.rooms[string(roomOf(payload))]; r != nil {
			r.write(s.framed(payload))
		}
	case m.room != nil && s.coalesce:
		if len(m.room.pending) == 0 {
			s.touched = append(s.touched, m.room)
		}
		m.room.pending = append(socket.AppendServer(m.room.pending, socket.Text, len(payload)), payload...)
	case m.room != nil:
		frame := s.framed(payload)
		m.room.write(frame)
		if s.other != nil {
			return s.other.Write(frame)
		}
	}
	return nil
}

// framed frames a message for all who get it.
func (s *server) framed(payload []byte) []byte {
	s.frame = append(socket.AppendServer(s.frame[:0], socket.Text, len(payload)), payload...)
	return s.frame
}

func roomOf(payload []byte) []byte {
	_, name, _ := bytes.Cut(payload, []byte(`"roomId":"`))
	name, _, _ = bytes.Cut(name, []byte(`"`))
	return name
}

// write writes to all members. One that is gone is found when it is read from.
func (r *room) write(b []byte) {
	for _, m := range r.members {
		_ = m.Write(b)
	}
}
