package conn

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
)

// wire is the net.Conn that coder/websocket believes to be the socket. It lets
// the library's control frames and our prepared frames alternate without ever
// mixing: both are written whole under one lock. Nothing of ours follows a
// close frame (RFC 6455, section 5.5.1).
type wire struct {
	net.Conn
	early io.Reader // what the client sent right behind its request

	mu     sync.Mutex
	closed bool // a close frame was written
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if w.early != nil {
		if n, err := w.early.Read(p); n > 0 || err != io.EOF {
			return n, err
		}
		w.early = nil
	}
	return w.Conn.Read(p)
}

// Write implements net.Conn for the library, whose buffer is large enough for
// every control frame: p is one whole frame.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) > 0 && p[0]&0x0f == opClose {
		w.closed = true
	}
	return w.Conn.Write(p)
}

// writeFrames writes whole frames of ours.
func (w *wire) writeFrames(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	_, err := w.Conn.Write(p)
	return err
}

// Sizes of the buffers that the library reads and writes through, bytes. A
// control frame has at most 131; messages larger than the reading buffer are
// read past it.
const (
	readBuffer  = 1024
	writeBuffer = 256
)

// hijacker is the ResponseWriter that the library upgrades: it hands out a
// wire in place of the socket, and small buffers in place of net/http's 4 KiB
// ones.
type hijacker struct {
	http.ResponseWriter
	wire *wire
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	socket, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// An eager client's first frames may lie in net/http's buffer already.
	if n := buffered.Reader.Buffered(); n > 0 {
		early, err := buffered.Reader.Peek(n)
		if err != nil {
			socket.Close()
			return nil, nil, err
		}
		h.wire.early = bytes.NewReader(bytes.Clone(early))
	}
	h.wire.Conn = socket
	return h.wire, bufio.NewReadWriter(
		bufio.NewReaderSize(h.wire, readBuffer),
		bufio.NewWriterSize(h.wire, writeBuffer),
	), nil
}
