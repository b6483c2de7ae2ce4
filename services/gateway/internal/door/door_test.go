package door

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// here is the network of every peer in these tests.
var here = netip.MustParsePrefix("127.0.0.0/8")

// house is a door with an HTTP server behind it, which says whose a request is.
type house struct {
	*Listener
	refused, crowded atomic.Int64
}

func open(t *testing.T, o Options) *house {
	t.Helper()
	h := new(house)
	o.Refused = func(_ net.Addr, err error) {
		if errors.Is(err, ErrCrowded) {
			h.crowded.Add(1)
		} else {
			h.refused.Add(1)
		}
	}
	if o.Most == 0 {
		o.Most = 100
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Listener = Listen(l, o)
	server := &http.Server{
		ReadHeaderTimeout: patience, ConnState: h.Track,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // what there is of it
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			fmt.Fprintf(w, "%s %d", host, len(body))
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(h) }()
	t.Cleanup(func() {
		_ = server.Close() // the listener's end is all that can go wrong
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	})
	return h
}

func (h *house) dial(t *testing.T, say string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", h.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may be closed already
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer is what a connection's next answer says; "" where it ends instead, and
// a status that is not 200.
func answer(t *testing.T, c net.Conn) string {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("neither answered nor ended: %v", err)
		}
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Sprint(response.StatusCode)
	}
	return string(body)
}

const request = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"

// v2 is a header of version 2 (the PROXY protocol, section 2.2) for TCP over
// IPv4, of a client at 192.0.2.7.
func v2(command byte, more ...byte) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, 0x11)
	b = binary.BigEndian.AppendUint16(b, uint16(12+len(more)))
	b = append(b, 192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0x00, 0x50)
	return string(append(b, more...))
}

// A header tells whose a connection is only where it is expected, of whom it is.
func TestProxyHeader(t *testing.T) {
	const v1 = "PROXY TCP4 192.0.2.7 127.0.0.1 12345 80\r\n"
	long := append([]byte{0x04, 0x01, 0xf4}, make([]byte, 500)...) // a no-op extension larger than what is read at once
	others := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	trusted := []netip.Prefix{here}
	for _, c := range []struct {
		name    string
		proxy   Proxy
		trusted []netip.Prefix
		header  string
		want    string // "" for the end
		refused int64
	}{
		{"none where off", Off, trusted, "", "127.0.0.1 0", 0},
		{"one where off", Off, trusted, v1, "400", 0},
		{"version 1", Required, trusted, v1, "192.0.2.7 0", 0},
		{"version 1, IPv6", Required, trusted, "PROXY TCP6 2001:db8::7 ::1 12345 80\r\n", "2001:db8::7 0", 0},
		{"version 1, unknown", Required, trusted, "PROXY UNKNOWN\r\n", "127.0.0.1 0", 0},
		{"version 2", Required, trusted, v2(1), "192.0.2.7 0", 0},
		{"version 2 with a long extension", Optional, trusted, v2(1, long...), "192.0.2.7 0", 0},
		{"version 2, of the proxy itself", Required, trusted, v2(0), "127.0.0.1 0", 0},
		{"none where required", Required, trusted, "", "", 1},
		{"none where optional", Optional, trusted, "", "127.0.0.1 0", 0},
		{"malformed", Optional, trusted, "PROXY TCP4 not.an.address 127.0.0.1 1 80\r\n", "", 1},
		{"without an end", Optional, trusted, "PROXY " + strings.Repeat("x", 4<<10), "", 1},
		{"of who is not trusted", Required, others, v1, "400", 0},
		{"none of who is not trusted", Required, others, "", "127.0.0.1 0", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := open(t, Options{Proxy: c.proxy, Trusted: c.trusted})
			if got := answer(t, h.dial(t, c.header+request)); got != c.want {
				t.Errorf("answered %q, want %q", got, c.want)
			}
			if n := h.refused.Load(); n != c.refused {
				t.Errorf("%d refused, want %d", n, c.refused)
			}
		})
	}
}

// A header may come a byte at a time, and what follows it is lost to nobody.
func TestProxyHeaderInPieces(t *testing.T) {
	h := open(t, Options{Proxy: Required, Trusted: []netip.Prefix{here}})
	c := h.dial(t, "")
	for _, b := range []byte(v2(1) + "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(c, strings.Repeat("b", 9000)); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, c); got != "192.0.2.7 9000" {
		t.Errorf("answered %q", got)
	}
}

// A trusted peer that says nothing is not waited for, and holds nobody up.
func TestProxyHeaderTimeout(t *testing.T) {
	h := open(t, Options{Proxy: Optional, Trusted: []netip.Prefix{here}, HeaderTimeout: 50 * time.Millisecond})
	silent := h.dial(t, "")
	if got := answer(t, h.dial(t, request)); got != "127.0.0.1 0" {
		t.Errorf("another is answered %q", got)
	}
	if got := answer(t, silent); got != "" || h.refused.Load() != 1 {
		t.Errorf("answered %q, refused %d", got, h.refused.Load())
	}
	await(t, h, 1)
}

// await waits until so many sockets wait.
func await(t *testing.T, h *house, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for h.Waiting() != want {
		if ctx.Err() != nil {
			t.Fatalf("%d sockets wait, want %d", h.Waiting(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

// Beyond the most that may wait, the one goes that has been silent longest.
func TestCrowd(t *testing.T) {
	const most = 20
	h := open(t, Options{Most: most, Limited: func(netip.Addr) bool { return false }})
	var all []net.Conn
	for i := range most {
		all = append(all, h.dial(t, ""))
		await(t, h, i+1) // they come in this order
	}
	if _, err := io.WriteString(all[0], request); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, all[0]); got != "127.0.0.1 0" { // and is busy last
		t.Fatalf("answered %q", got)
	}
	for range 3 {
		if got := answer(t, h.dial(t, request)); got != "127.0.0.1 0" {
			t.Fatalf("a newcomer is answered %q", got)
		}
	}
	for i, c := range all[:5] {
		gone := i >= 1 && i <= 3
		if !gone {
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
		}
		if got := answer(t, c); (got == "") != gone {
			t.Errorf("socket %d is answered %q", i, got)
		}
	}
	if n := h.crowded.Load(); n != 3 {
		t.Errorf("%d were crowded out, want 3", n)
	}
	for _, c := range all {
		_ = c.Close() // some are closed
	}
	await(t, h, 3) // the newcomers' are kept alive
}

// An address has its share, also one that a proxy tells; and its own sockets go.
func TestCrowdOfOneAddress(t *testing.T) {
	h := open(t, Options{Proxy: Required, Trusted: []netip.Prefix{here}, Most: 100})
	const share = 16
	of := func(client string) string { return "PROXY TCP4 " + client + " 127.0.0.1 12345 80\r\n" }
	calm := h.dial(t, of("192.0.2.1")+"GET / HTT")
	for i := range share {
		h.dial(t, of("192.0.2.2")+"GET / HTT")
		await(t, h, 2+i)
	}
	deadline := time.Now().Add(patience)
	for i := range 5 {
		h.dial(t, of("192.0.2.2")+"GET / HTT")
		for h.crowded.Load() < int64(i+1) {
			if time.Now().After(deadline) {
				t.Fatalf("%d were crowded out, want %d", h.crowded.Load(), i+1)
			}
			time.Sleep(time.Millisecond)
		}
	}
	await(t, h, 1+share)
	if _, err := io.WriteString(calm, "P/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, calm); got != "192.0.2.1 0" {
		t.Errorf("another address's is answered %q", got)
	}
}

// Of a proxy's socket that is crowded out before its header came, that alone is told.
func TestCrowdedOutIsToldOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var told []error
	d := Listen(l, Options{Proxy: Required, Trusted: []netip.Prefix{here}, Most: 1, Refused: func(_ net.Addr, err error) { told = append(told, err) }})
	var accepted []net.Conn
	for range 2 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		accepted = append(accepted, s)
	}
	accepted[0].RemoteAddr() // as the server does, which is what reads a header
	if len(told) != 1 || !errors.Is(told[0], ErrCrowded) {
		t.Errorf("told %v", told)
	}
}
