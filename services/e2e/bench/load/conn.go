//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// conn is one connection, of one user, to one room.
type conn struct {
	socket.Conn
	state state
	// visitor is one of those that come and go, and send nothing.
	visitor bool
	asked   int64 // when it was dialled, or asked to join
	since   int64 // when it became a member
	place   Place
	room    int
}

type state uint8

const (
	dialling state = iota
	upgrading
	signingIn
	signedIn
	joining
	member
)

// perAddress is how many connections are made from one loopback address: less
// than the ports that the kernel gives out by default.
const perAddress = 20_000

func (c *Client) dial(room int) error {
	fd, err := connect(c.opts.Gateways[len(c.conns)%len(c.opts.Gateways)], len(c.conns)/perAddress)
	if err != nil {
		return err
	}
	cn := &conn{asked: c.now, room: room}
	if cn.Conn, err = socket.NewConn(c.poller, fd, len(c.conns)); err != nil {
		_ = unix.Close(fd) // the first error counts
		return err
	}
	c.conns = append(c.conns, cn)
	c.making++
	return nil
}

// connect begins to connect a socket; from is which of the loopback addresses
// it comes from, 0 for the one that the kernel takes.
func connect(at netip.AddrPort, from int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && from > 0 && at.Addr().IsLoopback() {
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(from >> 8), byte(from) + 1}}))
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd) // the first error counts
		return 0, fmt.Errorf("connecting to %v: %w", at, err)
	}
	return fd, nil
}

// writable goes on with a connection that can be written to.
func (c *Client) writable(cn *conn) error {
	if cn.state != dialling {
		return cn.Flush()
	}
	if err := cn.Established(); err != nil {
		return err
	}
	token, err := c.token(cn.Tag)
	if err != nil {
		return err
	}
	cn.state = upgrading
	host := c.opts.Gateways[cn.Tag%len(c.opts.Gateways)].String()
	return cn.Write(upgradeRequest(host, token, c.requests.encoding.Subprotocol(), c.opts.Deflate))
}

// readable takes what a connection has got.
func (c *Client) readable(cn *conn) error {
	b, err := cn.Read(c.shared)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server has cut it")
		}
		return err
	}
	c.look()
	if cn.state == upgrading && len(b) > 0 {
		if b, err = c.upgraded(cn, b); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		first, payload, size := socket.Next(b)
		if size == 0 {
			cn.Keep(b)
			break
		}
		if err := c.take(cn, first, payload); err != nil {
			return err
		}
		b = b[size:]
	}
	if c.owed > 0 {
		return c.send()
	}
	return nil
}

// upgraded takes the answer to the upgrade, and gives what follows it.
func (c *Client) upgraded(cn *conn, b []byte) (rest []byte, err error) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole {
		cn.Keep(b)
		return nil, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return nil, fmt.Errorf("the upgrade is answered %q", line)
	}
	if c.opts.Deflate && !bytes.Contains(head, []byte("permessage-deflate")) {
		return nil, errors.New("the server does not agree to permessage-deflate")
	}
	cn.state = signingIn
	if c.opts.Secret == nil {
		return rest, c.welcomed(cn)
	}
	return rest, nil
}

// welcomed goes on with one that may join.
func (c *Client) welcomed(cn *conn) error {
	cn.state = signedIn
	if c.joinThem {
		return c.join(cn)
	}
	c.made(cn)
	return nil
}

func (c *Client) join(cn *conn) error {
	cn.state = joining
	b, err := c.requests.join(c.rooms[cn.room].name, c.opts.History)
	if err != nil {
		return err
	}
	return cn.Write(b)
}

// made counts one that is as far as it was to come.
func (c *Client) made(cn *conn) {
	c.making--
	c.ready++
}

// take takes a frame. The types it does not name (welcome, room-joined, who
// comes and goes) need nothing done.
func (c *Client) take(cn *conn, first byte, payload []byte) error {
	switch {
	case first == socket.Ping:
		return cn.Write(append(socket.AppendClient(nil, socket.Pong, len(payload)), payload...))
	case first == socket.Close:
		code := 1005 // none, RFC 6455, section 7.1.5
		if len(payload) >= 2 {
			code, payload = int(binary.BigEndian.Uint16(payload)), payload[2:]
		}
		return fmt.Errorf("the server closes it: %d %q", code, payload)
	case first != opcode(c.requests.encoding):
		return fmt.Errorf("an unexpected kind of frame: %#x", first)
	}
	event, id := look(c.requests.encoding, payload)
	switch {
	case event == chatMessage:
		n, _, ok := marked(payload)
		if !ok || cn.state < joining {
			return fmt.Errorf("a message of somebody else: %.300q", payload)
		}
		c.deliver(cn, n)
	case event == ack:
		n, ok := number(id)
		if !ok {
			return fmt.Errorf("an acknowledgement of what was not sent: %q", payload)
		}
		c.acked++
		c.verifier.Acked(n)
	case event == authSuccess && cn.state == signingIn:
		return c.welcomed(cn)
	case event == messageHistory && cn.state == joining:
		c.joined(cn, payload)
	case event == refusal:
		return fmt.Errorf("the server says: %.300q", payload)
	}
	return nil
}

// joined takes the history with which a join ends.
func (c *Client) joined(cn *conn, payload []byte) {
	var history []uint32
	for n, rest, ok := marked(payload); ok; n, rest, ok = marked(rest) {
		history = append(history, n)
	}
	cn.state, cn.since = member, c.now
	c.verifier.Joined(&cn.place, cn.room, history)
	c.joins.Add(c.since(cn.asked))
	c.made(cn)
	if !cn.visitor {
		r := &c.rooms[cn.room]
		r.members = append(r.members, cn)
	}
}
