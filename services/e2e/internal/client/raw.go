package client

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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
	_ = c.conn.SetWriteDeadline(time.Now().Add(Patience))
	_, err := c.conn.Write(Frame(0x80|opcode, payload))
	return err
}

// Read gives the next frame; an error when the connection has ended.
func (c *Raw) Read() (opcode byte, payload []byte, err error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(Patience))
	first, payload, err := ReadFrame(c.r)
	if err == nil && first&0xf0 != 0x80 {
		err = fmt.Errorf("a frame begins %#x: not whole, or compressed", first)
	}
	return first & 0x0f, payload, err
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
