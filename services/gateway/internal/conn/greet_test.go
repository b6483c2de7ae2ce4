package conn

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What is sent before the first Read comes in one piece with the answer to the
// upgrade, and behind it; Greet does not wait for that.
func TestGreeting(t *testing.T) {
	l := NewListener(Options{Heartbeat: time.Hour})
	accepted, refused := make(chan *Conn, 1), make(chan error, 1)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := l.Accept(w, r)
		if err != nil {
			refused <- err
			return
		}
		accepted <- c
	}))
	defer h.Close()
	connect := func() (net.Conn, *Conn) {
		t.Helper()
		socket, err := net.Dial("tcp", h.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socket.Close() })
		if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(socket, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-accepted:
			t.Cleanup(func() {
				c.Drop()
				l.Forget(c)
			})
			return socket, c
		case err := <-refused:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("nobody accepts")
		}
		return nil, nil
	}
	read := func(socket net.Conn) string {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	ends := func(what, got, end string) {
		t.Helper()
		head, body, whole := strings.Cut(got, "\r\n\r\n")
		if !whole || !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Sec-Websocket-Accept: ") || body != end {
			t.Errorf("%s: %q", what, got)
		}
	}

	socket, c := connect()
	c.Send(Text([]byte("one")), false)
	c.Send(Text([]byte("two")), false)
	var f Flusher
	f.Send(c, Text([]byte("three")), false) // somebody else's, who flushes
	f.Flush()
	go func(c *Conn) { _ = c.Read(func([]byte) {}) }(c) // until the test drops it
	ends("by the first Read", read(socket), "\x81\x03one\x81\x03two\x81\x05three")

	socket, c = connect()
	c.Send(Text([]byte("one")), false)
	c.Greet()
	ends("by Greet", read(socket), "\x81\x03one")
	c.Send(Text([]byte("two")), false)
	if got := read(socket); got != "\x81\x03two" {
		t.Errorf("after that: %q", got)
	}

	socket, c = connect()
	c.Close(Overloaded, "full")
	ends("closed at once", read(socket), "\x88\x06"+string(binary.BigEndian.AppendUint16(nil, uint16(Overloaded)))+"full")
}
