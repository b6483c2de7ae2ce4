package conn

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Conn is one WebSocket connection. One goroutine reads; any may send and
// close.
type Conn struct {
	listener *Listener
	ws       *websocket.Conn
	wire     wire
	deflate  bool
	binary   bool // the subprotocol wants binary messages
	proto    string
	remote   string
	agent    string
	slot     int // of the heartbeat wheel

	in atomic.Int64 // bytes of messages

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

// maxKeptBuffer bounds, in bytes, a reading buffer that goes back to the pool.
const maxKeptBuffer = 128 << 10

var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Read waits for the next message and hands it to f, whose slice is good until
// f returns. It answers pings and the close handshake on the way. The error
// says that the connection has ended; Ended says how.
func (c *Conn) Read(f func(message []byte)) error {
	// Without a context: waiting ends when the connection is closed, and the
	// library would keep a goroutine's worth of state for a deadline.
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return c.ended(err)
	}
	if (kind == websocket.MessageBinary) != c.binary {
		wanted := "text"
		if c.binary {
			wanted = "binary"
		}
		c.Close(WrongKind, "this subprotocol has "+wanted+" messages")
		return c.drain(r)
	}
	buf := readBuffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxKeptBuffer {
			buf.Reset()
			readBuffers.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		return c.ended(err)
	}
	if c.wire.failed {
		// The library takes a message for whole that the end of the
		// connection has cut off between two frames, or behind a header.
		return c.ended(io.ErrUnexpectedEOF)
	}
	if kind == websocket.MessageText && !utf8.Valid(buf.Bytes()) {
		// RFC 6455, section 8.1; the library does not check.
		c.Close(InvalidUTF8, "text is not UTF-8")
		return c.drain(r)
	}
	c.in.Add(int64(buf.Len()))
	f(buf.Bytes())
	return nil
}

// Wait returns when the connection has been closed, for who closes one that
// nobody reads.
func (c *Conn) Wait() {
	for c.Read(func([]byte) {}) == nil {
	}
}

// drain takes what the peer still sends, r first, until it answers our close
// frame or its time is over.
func (c *Conn) drain(r io.Reader) error {
	for {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return c.ended(err)
		}
		var err error
		if _, r, err = c.ws.Reader(context.Background()); err != nil {
			return c.ended(err)
		}
	}
}

// ended notes how reading came to its end, and brings the connection to its.
func (c *Conn) ended(err error) error {
	var (
		closed  websocket.CloseError
		corrupt flate.CorruptInputError
	)
	switch {
	case errors.As(err, &closed):
		if !utf8.ValidString(closed.Reason) {
			closed.Code, closed.Reason = websocket.StatusInvalidFramePayloadData, "close reason is not UTF-8"
		}
		c.note(Code(closed.Code), closed.Reason)
	case c.wire.failed && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		c.note(Abnormal, "the peer went without a close")
	case c.wire.failed || errors.Is(err, net.ErrClosed):
		c.note(Abnormal, err.Error())
	// The peer has broken the protocol. Mostly the library has sent the close
	// frame already, and ours does not count.
	case errors.Is(err, websocket.ErrMessageTooBig):
		c.Close(TooBig, "message too big")
		c.linger()
	case errors.As(err, &corrupt):
		c.Close(InvalidUTF8, "message cannot be inflated")
		c.linger()
	default:
		c.Close(Violation, err.Error())
		c.linger()
	}
	c.end()
	return fmt.Errorf("reading: %w", err)
}

// linger waits for a peer whose frames cannot be read any more to go, until its
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
	c.wire.conn = c
	ws, err := websocket.Accept(&hijacker{ResponseWriter: w, wire: &c.wire}, r, &websocket.AcceptOptions{
		Subprotocols:    opts.Subprotocols,
		OriginPatterns:  opts.AllowedOrigins,
		CompressionMode: compression,
		OnPongReceived:  func(context.Context, []byte) { c.heard() },
	})
	if err != nil {
		return err
	}
	ws.SetReadLimit(opts.MaxMessage)
	c.ws = ws
	// The library compares without regard to case, and echoes the client's.
	for _, known := range opts.Subprotocols {
		if strings.EqualFold(known, ws.Subprotocol()) {
			c.proto = known
		}
	}
	c.binary = opts.Binary != "" && c.proto == opts.Binary
	// The library tells only by the answer it wrote whether deflate was agreed.
	c.deflate = w.Header().Get("Sec-WebSocket-Extensions") != ""
	return nil
}
