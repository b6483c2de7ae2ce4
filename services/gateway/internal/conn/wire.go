package conn

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// wire is the socket, and what has come in by it.
type wire struct {
	net.Conn                       // the socket
	socket   uintptr               // its number, to write without waiting, while it is not closed; 0 where that cannot be
	raw      syscall.RawConn       // to read without waiting; nil where that cannot be
	ready    func(fd uintptr) bool // reads into a new input; nil where that has to wait
	input    *input                // nil while nothing has come
}

// hijacker is the ResponseWriter that coder/websocket upgrades. It keeps the
// socket for the wire, and gives the library a dead one, for it would hold
// buffers for what we do ourselves, and close the socket when it is collected.
// The answer that the library agrees to it leaves to the connection, which
// writes it together with its first message: in a storm of connections each
// write counts.
type hijacker struct {
	http.ResponseWriter
	wire *wire
	// tellWindow says that the answer has to name the size of our window (RFC
	// 7692, section 7.1.2.1), which the library leaves out.
	tellWindow bool
	answer     []byte // to the upgrade
}

// WriteHeader implements http.ResponseWriter.
func (h *hijacker) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
		return
	}
	if agreed := h.Header().Get(extensions); h.tellWindow && agreed != "" {
		h.Header().Set(extensions, agreed+"; "+fullWindow)
	}
	answer := append(make([]byte, 0, 512), "HTTP/1.1 101 Switching Protocols\r\n"...)
	for name, values := range h.Header() {
		for _, value := range values {
			answer = append(append(append(answer, name...), ": "...), strings.Map(visible, value)...)
			answer = append(answer, "\r\n"...)
		}
	}
	h.answer = append(answer, "\r\n"...)
}

// visible puts a space for what would end a header.
func visible(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	socket, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// An eager client's first frames may lie in net/http's buffer already.
	if n := min(buffered.Reader.Buffered(), inputSize); n > 0 {
		in := borrow()
		in.w, err = buffered.Reader.Read(in.buf[:n])
		h.wire.input = in
		if err != nil {
			socket.Close()
			return nil, nil, err
		}
	}
	h.wire.Conn = socket
	if s, ok := socket.(syscall.Conn); ok { // which a TLS connection is not
		if h.wire.raw, err = s.SyscallConn(); err == nil {
			err = h.wire.raw.Control(func(fd uintptr) { h.wire.socket = fd })
		}
		if err != nil {
			socket.Close()
			return nil, nil, err
		}
		h.wire.listen()
	}
	return dead{}, bufio.NewReadWriter(bufio.NewReaderSize(dead{}, 16), bufio.NewWriterSize(dead{}, 16)), nil
}

// dead is a socket that is closed.
type dead struct{ net.Conn }

func (dead) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (dead) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (dead) Close() error              { return nil }
