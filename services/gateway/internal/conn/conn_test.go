package conn

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// served is the server's side of a connection in a test.
type served struct {
	*Conn
	messages chan string
	ended    chan struct{} // closed when Read has failed
}

// server accepts connections, reads them, and hands them to the test.
type server struct {
	*Listener
	address string
	tight   bool
	conns   chan *served
	handle  func(*served, []byte) // nil to collect messages
}

// tight makes sockets that hold little, so that a peer that does not read is
// soon felt.
type tight struct{ net.Listener }

func (l tight) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

func serve(t testing.TB, opts Options) *server {
	t.Helper()
	return serveOn(t, opts, func(l net.Listener) net.Listener { return l })
}

// serveTight is serve with sockets that hold little on both sides.
func serveTight(t testing.TB, opts Options) *server {
	t.Helper()
	s := serveOn(t, opts, func(l net.Listener) net.Listener { return tight{l} })
	s.tight = true
	return s
}

func serveOn(t testing.TB, opts Options, wrap func(net.Listener) net.Listener) *server {
	t.Helper()
	if opts.Subprotocols == nil {
		opts.Subprotocols = []string{"test.text", "test.binary"}
		opts.Binary = "test.binary"
	}
	if opts.Heartbeat == 0 {
		opts.Heartbeat = time.Hour // no pings but where they are the matter
	}
	s := &server{Listener: NewListener(opts), conns: make(chan *served, 2000)}
	var reading sync.WaitGroup
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.Accept(w, r)
		if err != nil {
			return
		}
		reading.Add(1)
		v := &served{Conn: c, messages: make(chan string, 100), ended: make(chan struct{})}
		go func() {
			defer reading.Done()
			defer s.Forget(c)
			defer close(v.ended)
			for c.Read(func(message []byte) {
				if s.handle != nil {
					s.handle(v, message)
				} else {
					v.messages <- string(message)
				}
			}) == nil {
			}
		}()
		s.conns <- v
	}))
	h.Listener = wrap(h.Listener)
	h.Start()
	s.address = h.Listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) }) // always nil
	t.Cleanup(func() {
		h.Close()
		reading.Wait()
		stop()
		running.Wait()
		wait, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.Wait(wait)
		if wait.Err() != nil {
			t.Errorf("%d goroutines write or close for ever", s.busy.Load())
		}
		if queued, _, _ := s.Stats(); queued != 0 {
			t.Errorf("%d bytes are accounted for and not there", queued)
		}
		if n := s.Count(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	return s
}

// peer is a client that speaks bytes.
type peer struct {
	net.Conn
	t        testing.TB
	r        *bufio.Reader
	response *http.Response
}

// dial connects a peer; header lines are added to its request, and behind it,
// in the same write, come the bytes of eager.
func (s *server) dial(t testing.TB, eager []byte, header ...string) (*peer, *served) {
	t.Helper()
	socket, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if s.tight {
		if err := socket.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := socket.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	request := "GET / HTTP/1.1\r\nHost: " + s.address + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for _, line := range header {
		request += line + "\r\n"
	}
	request += "\r\n"
	if _, err := socket.Write(append([]byte(request), eager...)); err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: socket, t: t, r: bufio.NewReader(socket)}
	if p.response, err = http.ReadResponse(p.r, nil); err != nil {
		t.Fatal(err)
	}
	if p.response.StatusCode != http.StatusSwitchingProtocols {
		return p, nil
	}
	select {
	case v := <-s.conns:
		return p, v
	case <-time.After(patience):
		t.Fatal("no connection was accepted")
		return nil, nil
	}
}

// masked frames what a client sends.
func masked(first byte, payload string) []byte {
	frame := appendHeader(nil, first, len(payload))
	frame[1] |= 0x80
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	frame = append(frame, mask[:]...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^mask[i%4])
	}
	return frame
}

func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	if _, err := p.Write(bytes.Join(frames, nil)); err != nil {
		p.t.Fatal("sending:", err)
	}
}

// frame reads one frame, strictly; io.EOF between two.
func (p *peer) frame() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, err
	}
	first, length := head[0], int(head[1])
	switch length {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(p.r, b[:])
		if length = int(binary.BigEndian.Uint16(b[:])); length < 126 {
			return 0, nil, fmt.Errorf("length %d in two bytes", length)
		}
	case 127:
		var b [8]byte
		_, err = io.ReadFull(p.r, b[:])
		if length = int(binary.BigEndian.Uint64(b[:])); length < 1<<16 {
			return 0, nil, fmt.Errorf("length %d in eight bytes", length)
		}
	}
	if err != nil {
		return 0, nil, fmt.Errorf("half a header: %w", err)
	}
	if head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a server's frame is masked")
	}
	if first&finBit == 0 || first&0x30 != 0 {
		return 0, nil, fmt.Errorf("first byte %#x", first)
	}
	switch first & 0x0f {
	case opText, opBinary:
	case opClose, opPing, opPong:
		if length > 125 || first&rsv1Bit != 0 {
			return 0, nil, fmt.Errorf("control frame %#x of %d bytes", first, length)
		}
	default:
		return 0, nil, fmt.Errorf("first byte %#x", first)
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return 0, nil, fmt.Errorf("half a frame: %w", err)
	}
	return first, payload, nil
}

// want reads one frame that must be this.
func (p *peer) want(first byte, payload string) {
	p.t.Helper()
	got, data, err := p.frame()
	if err != nil {
		p.t.Fatalf("waiting for %#x %.40q: %v", first, payload, err)
	}
	if got != first || string(data) != payload {
		p.t.Fatalf("got %#x %.40q (%d bytes), want %#x %.40q (%d bytes)", got, data, len(data), first, payload, len(payload))
	}
}

// closing reads to the close frame and gives what it says; 1005 for nothing.
func (p *peer) closing() (Code, string) {
	p.t.Helper()
	for {
		first, payload, err := p.frame()
		if err != nil {
			p.t.Fatal("waiting for a close frame:", err)
		}
		if first == finBit|opClose {
			return readClose(payload)
		}
	}
}

func readClose(payload []byte) (Code, string) {
	if len(payload) < 2 {
		return NoCode, ""
	}
	return Code(binary.BigEndian.Uint16(payload)), string(payload[2:])
}

// wantEnd reads on to the orderly end of the connection.
func (p *peer) wantEnd() {
	p.t.Helper()
	if first, payload, err := p.frame(); err != io.EOF {
		p.t.Fatalf("after the close frame: %#x %q, %v", first, payload, err)
	}
}

func maskedClose(code Code, reason string) []byte {
	return masked(finBit|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func (v *served) wantEnded(t testing.TB, code Code) {
	t.Helper()
	select {
	case <-v.ended:
	case <-time.After(patience):
		t.Fatal("the connection does not end")
	}
	if got, reason := v.Ended(); got != code {
		t.Errorf("ended with %d %q, want %d", got, reason, code)
	}
}

func (v *served) wantMessage(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-v.messages:
		if got != want {
			t.Fatalf("received %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), want, len(want))
		}
	case <-time.After(patience):
		t.Fatalf("%.40q was not received", want)
	}
}

// eventually polls until ok, which must not take long.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}
