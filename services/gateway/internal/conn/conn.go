package conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Conn is one WebSocket connection. One goroutine reads; any may send and
// close.
type Conn struct {
	listener *Listener
	ws       *websocket.Conn
	wire     *wire
	deflate  bool
	binary   bool // the subprotocol wants binary messages
	proto    string
	remote   string
	agent    string

	in, out atomic.Int64 // bytes of messages
	unheard atomic.Int32 // pings since the peer last answered one
	slot    int          // of the heartbeat wheel

	mu      sync.Mutex
	queue   []queued
	size    int  // bytes of the queue and of what is being written
	writing bool // a goroutine is at it
	closing bool // nothing is queued any more
	code    Code // how it ended, from our side; 0 while it has not
	reason  string
}

type queued struct {
	message   *Prepared
	ephemeral bool
}

// Subprotocol is what was negotiated; empty when the client offered none that
// is known.
func (c *Conn) Subprotocol() string { return c.proto }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() string { return c.remote }

// UserAgent is what the client called itself in its request.
func (c *Conn) UserAgent() string { return c.agent }

// Bytes tells how many bytes of messages came in and went out.
func (c *Conn) Bytes() (in, out int64) { return c.in.Load(), c.out.Load() }

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
		c.Close(WrongKind, "this subprotocol has "+map[bool]string{true: "binary", false: "text"}[c.binary]+" messages")
		return errors.New("a message of the wrong kind")
	}
	buf := readBuffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxKeptBuffer {
			buf.Reset()
			readBuffers.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		if errors.Is(err, websocket.ErrMessageTooBig) {
			c.note(TooBig, "message too big") // the library has sent the close
		}
		return c.ended(err)
	}
	c.in.Add(int64(buf.Len()))
	if kind == websocket.MessageText && !utf8.Valid(buf.Bytes()) {
		// RFC 6455, section 8.1; the library does not check.
		c.Close(InvalidUTF8, "text is not UTF-8")
		return errors.New("text is not UTF-8")
	}
	f(buf.Bytes())
	return nil
}

// ended notes how the peer ended the connection.
func (c *Conn) ended(err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		c.note(Code(closed.Code), closed.Reason)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.note(Abnormal, "the peer went without a close")
	default:
		c.note(Abnormal, err.Error())
	}
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	_ = c.ws.CloseNow() // it may be closed already
	return fmt.Errorf("reading: %w", err)
}

func (c *Conn) note(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
}

// Ended tells with which code and reason the connection has ended; 0 while it
// has not.
func (c *Conn) Ended() (Code, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// Send queues a message. An ephemeral one is dropped when the queue is about to
// overflow; when there is nothing more to drop, the connection is closed as a
// slow consumer. It never waits for the peer.
func (c *Conn) Send(message *Prepared, ephemeral bool) {
	size := len(message.frame(c.deflate))
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	limit := c.listener.opts.QueueBytes
	if c.size+size > limit {
		c.dropEphemeral()
	}
	if c.size+size > limit {
		if ephemeral {
			c.mu.Unlock()
			c.listener.dropped.Add(1)
			return
		}
		c.mu.Unlock()
		c.listener.overflows.Add(1)
		c.Close(SlowConsumer, "the outgoing queue is full")
		return
	}
	c.queue = append(c.queue, queued{message, ephemeral})
	c.size += size
	c.listener.queuedBytes.Add(int64(size))
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		c.listener.start(c.write)
	}
}

// dropEphemeral takes what may be dropped out of the queue; c.mu is held.
func (c *Conn) dropEphemeral() {
	kept := c.queue[:0]
	for _, q := range c.queue {
		if q.ephemeral {
			size := len(q.message.frame(c.deflate))
			c.size -= size
			c.listener.queuedBytes.Add(-int64(size))
			c.listener.dropped.Add(1)
			continue
		}
		kept = append(kept, q)
	}
	clear(c.queue[len(kept):])
	c.queue = kept
}

// writeChunk is how much is gathered for one write, bytes.
const writeChunk = 32 << 10

var writeChunks = sync.Pool{New: func() any { b := make([]byte, 0, writeChunk); return &b }}

// write empties the queue and ends; a connection with nothing to say has no
// writing goroutine. All that is pending goes out in one write.
func (c *Conn) write() {
	chunk := writeChunks.Get().(*[]byte)
	defer writeChunks.Put(chunk)
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.writing = false
			c.queue = nil
			c.mu.Unlock()
			return
		}
		buf, n := (*chunk)[:0], 0
		var large []byte
		for _, q := range c.queue {
			frame := q.message.frame(c.deflate)
			if len(buf)+len(frame) > writeChunk {
				if n == 0 {
					large, n = frame, 1
				}
				break
			}
			buf = append(buf, frame...)
			n++
		}
		clear(c.queue[:n])
		c.queue = c.queue[n:]
		c.mu.Unlock()
		if large != nil {
			buf = large
		}
		err := c.wire.writeFrames(buf)
		c.out.Add(int64(len(buf)))
		c.mu.Lock()
		c.size -= len(buf)
		c.listener.queuedBytes.Add(-int64(len(buf)))
		if err != nil {
			c.stop()
		}
		c.mu.Unlock()
	}
}

// stop drops the queue and takes nothing more; c.mu is held.
func (c *Conn) stop() {
	c.closing = true
	for _, q := range c.queue {
		size := len(q.message.frame(c.deflate))
		c.size -= size
		c.listener.queuedBytes.Add(-int64(size))
	}
	c.queue = nil
}

// closeTimeout bounds how long a closing connection may take to bring out what
// is queued before its close frame.
const closeTimeout = 5 * time.Second

// Close ends the connection with a code: what is queued goes out first, unless
// the queue is why it ends; then the close frame; then the peer has 5 seconds
// to answer it. It returns at once. Only the first call counts.
func (c *Conn) Close(code Code, reason string) {
	c.mu.Lock()
	if c.closing && c.code != 0 {
		c.mu.Unlock()
		return
	}
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
	flush := code != SlowConsumer && code != NoPong
	if !flush {
		c.stop()
	}
	c.closing = true
	c.mu.Unlock()
	c.listener.start(func() {
		if flush {
			c.flush(closeTimeout)
		}
		// An error means that the peer was faster, or does not answer; the
		// connection is closed in any case.
		_ = c.ws.Close(websocket.StatusCode(code), reason)
	})
}

// flush waits until the writing goroutine has emptied the queue.
func (c *Conn) flush(timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		c.mu.Lock()
		done := !c.writing
		c.mu.Unlock()
		if done {
			return
		}
		time.Sleep(pause)
	}
}

// Drop ends the connection without a word, as when the peer has died.
func (c *Conn) Drop() {
	c.note(Abnormal, "dropped")
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	_ = c.ws.CloseNow()
}

// ping asks the peer for a sign of life, or drops it when it has not answered
// the last two.
func (c *Conn) ping() {
	if c.unheard.Load() >= 2 {
		c.Close(NoPong, "no pong within two heartbeats")
		return
	}
	c.unheard.Add(1)
	c.Send(pingMessage, false)
}

var pingMessage = prepare(opPing, nil)

func (c *Conn) upgrade(w http.ResponseWriter, r *http.Request, opts *Options) error {
	c.wire = new(wire)
	hw := &hijacker{ResponseWriter: w, wire: c.wire}
	compression := websocket.CompressionNoContextTakeover
	if opts.NoDeflate {
		compression = websocket.CompressionDisabled
	}
	ws, err := websocket.Accept(hw, r, &websocket.AcceptOptions{
		Subprotocols:    opts.Subprotocols,
		OriginPatterns:  opts.AllowedOrigins,
		CompressionMode: compression,
		OnPongReceived:  func(context.Context, []byte) { c.unheard.Store(0) },
	})
	if err != nil {
		return err
	}
	ws.SetReadLimit(opts.MaxMessage)
	c.ws = ws
	c.proto = ws.Subprotocol()
	c.binary = opts.Binary != "" && c.proto == opts.Binary
	// The library tells only by the answer it wrote whether deflate was agreed.
	c.deflate = w.Header().Get("Sec-WebSocket-Extensions") != ""
	return nil
}

// Wait returns when the connection has been closed, for who closes one that
// nobody reads.
func (c *Conn) Wait() {
	for c.Read(func([]byte) {}) == nil {
	}
}
