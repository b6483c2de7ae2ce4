package client

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Opcodes of RFC 6455, section 5.2.
const (
	OpText   = 0x1
	OpBinary = 0x2
	OpClose  = 0x8
	OpPing   = 0x9
	OpPong   = 0xa
)

// Raw is a connection without a WebSocket library: it does nothing by itself,
// so a test can leave pings unanswered or stop reading.
type Raw struct {
	t    testing.TB
	conn *net.TCPConn
	r    *bufio.Reader
}

// Upgrade sends an upgrade request to a gateway's base URL and path, with
// these headers beside the necessary ones, and gives the answer. The
// connection is nil unless the answer is 101.
func Upgrade(t testing.TB, base, path string, header http.Header) (*Raw, *http.Response) {
	t.Helper()
	host := strings.TrimPrefix(base, "http://")
	conn, err := net.DialTimeout("tcp", host, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw := &Raw{t: t, conn: conn.(*net.TCPConn), r: bufio.NewReaderSize(conn, 1024)}
	request, err := http.NewRequest(http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Sec-WebSocket-Version", "13")
	request.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	for name, values := range header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	_ = conn.SetDeadline(time.Now().Add(Patience)) // an error shows in what follows
	if err := request.Write(conn); err != nil {
		t.Fatalf("asking for an upgrade: %v", err)
	}
	answer, err := http.ReadResponse(raw.r, request)
	if err != nil {
		t.Fatalf("asking for an upgrade: %v", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, answer
	}
	return raw, answer
}

// ReadBuffer bounds what the kernel takes in for a client that does not read.
func (c *Raw) ReadBuffer(bytes int) {
	if err := c.conn.SetReadBuffer(bytes); err != nil {
		c.t.Fatal(err)
	}
}

// Write sends one frame, masked as a client's have to be.
func (c *Raw) Write(opcode byte, payload []byte) {
	c.t.Helper()
	if err := c.TryWrite(opcode, payload); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// TryWrite is Write for who expects that it may fail.
func (c *Raw) TryWrite(opcode byte, payload []byte) error {
	frame := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n <= 125:
		frame = append(frame, 0x80|byte(n))
	case n <= 0xffff:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	frame = append(frame, 0, 0, 0, 0) // a mask that changes nothing
	_ = c.conn.SetWriteDeadline(time.Now().Add(Patience))
	_, err := c.conn.Write(append(frame, payload...))
	return err
}

// Read gives the next frame; an error when the connection has ended.
func (c *Raw) Read() (opcode byte, payload []byte, err error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(Patience))
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a frame begins %x: not whole, compressed or masked", head)
	}
	length := uint64(head[1])
	if length >= 126 {
		size := 2
		if length == 127 {
			size = 8
		}
		var b [8]byte
		if _, err := io.ReadFull(c.r, b[8-size:]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(b[:])
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(c.r, payload)
	return head[0] & 0x0f, payload, err
}

// ReadText gives the next text frame as a JSON object and passes over others
// than a close, which fails the test.
func (c *Raw) ReadText() map[string]any {
	c.t.Helper()
	for {
		opcode, payload, err := c.Read()
		if err != nil {
			c.t.Fatalf("waiting for a text: %v", err)
		}
		switch opcode {
		case OpClose:
			c.t.Fatalf("waiting for a text: closed with %d", CloseCode(payload))
		case OpText:
			var object map[string]any
			if err := json.Unmarshal(payload, &object); err != nil {
				c.t.Fatalf("%s is not a JSON object: %v", payload, err)
			}
			return object
		}
	}
}

// CloseCode reads the code in a close frame; 0 for none.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(payload))
}
