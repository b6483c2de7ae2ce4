package conn

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"syscall"
)

// wire is the net.Conn that coder/websocket believes to be the socket. What the
// library writes, control frames all, it hands to the connection's one writing
// goroutine, so that frames never mix and reading never waits for the peer to
// take a pong.
type wire struct {
	net.Conn                 // the socket
	raw      syscall.RawConn // to write without waiting; nil where that cannot be
	conn     *Conn           // whose wire it is
	early    io.Reader       // what the client sent right behind its request
	failed   bool            // reading came to an end; only the reading goroutine has it
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if w.early != nil {
		if n, err := w.early.Read(p); n > 0 || err != io.EOF {
			return n, err
		}
		w.early = nil
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		return n, nil // an error that came with bytes comes again
	}
	w.failed = err != nil
	return 0, err
}

// Write implements net.Conn for the library, whose buffer holds every control
// frame: p is one, whole.
func (w *wire) Write(p []byte) (int, error) {
	if p[0]&0x0f == opClose {
		return len(p), w.conn.answerClose(p)
	}
	w.conn.answerPing(p)
	return len(p), nil
}

// Sizes of the buffers that the library reads and writes through, bytes. A
// control frame that a server sends has at most 127; messages larger than the
// reading buffer are read past it.
const (
	readBuffer  = 1024
	writeBuffer = 128
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
	if s, ok := socket.(syscall.Conn); ok { // which a TLS connection is not
		if h.wire.raw, err = s.SyscallConn(); err != nil {
			socket.Close()
			return nil, nil, err
		}
	}
	return h.wire, bufio.NewReadWriter(
		bufio.NewReaderSize(h.wire, readBuffer),
		bufio.NewWriterSize(h.wire, writeBuffer),
	), nil
}
