package conn

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Conn is one WebSocket connection. One goroutine reads; any may send and
// close.
type Conn struct {
	listener *Listener
	wire     wire
	deflate  bool
	binary   bool // the subprotocol wants binary messages
	opening  bool // nobody has read yet; only who reads has it
	deaf     bool // what comes is not handed on any more; only who reads has it
	proto    string
	remote   string
	agent    string
	slot     int32 // of the heartbeat wheel
	place    int32 // in it

	in    atomic.Int64 // bytes of messages
	paid  int64        // until when what has come may have come (pay.go), by the listener's now; only who reads has it
	begun atomic.Int64 // when the message whose fragments are coming began, by the listener's now; 0 for none

	outgoing
}

// Subprotocol is what was negotiated; empty when the client offered none that
// is known.
func (c *Conn) Subprotocol() string { return c.proto }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() string { return c.remote }

// UserAgent is what the client called itself in its request, the first 256
// bytes of it.
func (c *Conn) UserAgent() string { return c.agent }

// Bytes tells how many bytes of messages came in and went out.
func (c *Conn) Bytes() (in, out int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.Load(), c.out
}

// Greet writes the answer to the upgrade and what was sent so far, in one
// write. The first Read does so, too; who has to wait for something else before
// that calls Greet first.
func (c *Conn) Greet() { c.flushNow() }

// Read waits until the peer has sent something, takes a frame, and hands f the
// message that the frame brings to its end, if it does, in a slice that is good
// until f returns. It answers pings and the close handshake on the way. The
// error says that the connection has ended; Ended says how.
func (c *Conn) Read(f func(message []byte)) error {
	if c.opening {
		c.opening = false
		c.flushNow()
	}
	if c.wire.input == nil {
		if err := c.wire.await(); err != nil {
			return c.ended(err)
		}
	}
	message, whole, err := c.frame()
	if err != nil {
		return c.ended(err)
	}
	if whole && !c.deaf {
		c.in.Add(int64(len(message)))
		f(message)
	}
	c.wire.release()
	return nil
}

// Quiet says whether all that has come is taken, for who reads.
func (c *Conn) Quiet() bool { return c.wire.input == nil }

// Wait returns when the connection has been closed, for who closes one that
// nobody reads.
func (c *Conn) Wait() {
	for c.Read(func([]byte) {}) == nil {
	}
}

// ended notes how reading came to its end, and brings the connection to its.
func (c *Conn) ended(err error) error {
	c.wire.drop()
	var (
		b *breach
		g *goodbye
	)
	switch {
	case errors.As(err, &g): // answered, and noted with that
	case errors.As(err, &b):
		c.Close(b.code, b.reason)
		c.linger()
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		c.note(Abnormal, "the peer went without a close")
	default:
		c.note(Abnormal, err.Error())
	}
	c.end()
	return fmt.Errorf("reading: %w", err)
}

// linger waits for a peer whose frames cannot be told apart any more to go, until its
// time is over: closing a socket with unread bytes resets it, and the reset can
// overtake our close frame (RFC 6455, section 7.1.1).
func (c *Conn) linger() {
	if !c.waitWritten() {
		return
	}
	if half, ok := c.wire.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.wire.Conn) // ends with the socket, one way or the other
}

// maxAgent bounds what is kept of a User-Agent header, bytes.
const maxAgent = 256

func (c *Conn) upgrade(w http.ResponseWriter, r *http.Request, opts *Options) error {
	c.agent = r.UserAgent()
	if len(c.agent) > maxAgent {
		c.agent = strings.Clone(c.agent[:maxAgent])
	}
	// The library keeps the offer that it takes, and with it all of the header
	// line that it may be a part of.
	for i, offers := range r.Header["Sec-Websocket-Protocol"] {
		r.Header["Sec-Websocket-Protocol"][i] = strings.Clone(offers)
	}
	compression := websocket.CompressionNoContextTakeover
	if opts.NoDeflate {
		compression = websocket.CompressionDisabled
	}
	h := &hijacker{ResponseWriter: w, wire: &c.wire, tellWindow: takeOffer(r.Header)}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:    opts.Subprotocols,
		OriginPatterns:  opts.AllowedOrigins,
		CompressionMode: compression,
	})
	if err != nil {
		return err
	}
	// The library keeps its connection from being collected until told so.
	defer func() { _ = ws.CloseNow() }() // its socket is none
	// The library compares without regard to case, and echoes the client's.
	for _, known := range opts.Subprotocols {
		if strings.EqualFold(known, ws.Subprotocol()) {
			c.proto = known
		}
	}
	c.binary = opts.Binary != "" && c.proto == opts.Binary
	// The library tells only by the answer it wrote whether deflate was agreed.
	c.deflate = w.Header().Get(extensions) != ""
	c.answer, c.opening, c.gathered = h.answer, true, true
	return nil
}
