package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// hall is a door whose upgrades are answered with what came behind them, and
// whatever else with "net/http".
type hall struct {
	*house
	server *http.Server
	done   chan error    // of Serve
	let    chan struct{} // lets go who waits
	logged bytes.Buffer  // not to be read before the end of Serve
}

func openHall(t *testing.T, o Options) *hall {
	t.Helper()
	o.Most = 100
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{house: &house{Listener: Listen(l, o)}, done: make(chan error, 1), let: make(chan struct{})}
	h.server = &http.Server{
		ReadHeaderTimeout: patience, WriteTimeout: patience, ConnState: h.Track, ErrorLog: log.New(&h.logged, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // what there is of it
			fmt.Fprintf(w, "net/http %s", body)
		}),
	}
	go func() {
		h.done <- h.Serve(h.server, Upgrades{Paths: []string{"/ws", "/chat"}, Handler: http.HandlerFunc(h.greet)})
	}()
	t.Cleanup(func() {
		_ = h.server.Close() // the listener's end is all that can go wrong
		if err := <-h.done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
		h.done <- http.ErrServerClosed
	})
	return h
}

// greet hijacks, and answers with the first line that came behind the request; or
// refuses, panics or waits, where it is asked to.
func (h *hall) greet(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("X-Do") {
	case "refuse":
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case "panic":
		panic("asked to")
	case "wait":
		<-h.let
	}
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	line, err := rw.ReadString('\n')
	fmt.Fprintf(c, "upgraded %s %s %s %q %v", r.URL.Path, r.Host, r.RemoteAddr[:len("127.0.0.1")], line, err)
}

const upgrade = "Host: here:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nsec-websocket-key: cGFybGV5IGJlbmNoIGtleQ==\r\n"

// Only what is plainly an upgrade is taken; net/http has the rest, and judges it.
func TestUpgrades(t *testing.T) {
	h := openHall(t, Options{})
	for _, c := range []struct{ name, say, want string }{
		{"an upgrade", "GET /ws HTTP/1.1\r\n" + upgrade + "\r\nhello\n", `upgraded /ws here:1 127.0.0.1 "hello\n" <nil>`},
		{"of the other path", "GET /chat HTTP/1.1\r\n" + upgrade + "\r\nhello\n", `upgraded /chat here:1 127.0.0.1 "hello\n" <nil>`},
		{"without anything else", "GET /ws HTTP/1.1\r\nHost:\r\n\r\n\n", `upgraded /ws  127.0.0.1 "\n" <nil>`},
		{"a query", "GET /ws?token=x HTTP/1.1\r\n" + upgrade + "\r\n", "200 net/http "},
		{"another path", "GET /wss HTTP/1.1\r\n" + upgrade + "\r\n", "200 net/http "},
		{"the whole URL", "GET http://here:1/ws HTTP/1.1\r\n" + upgrade + "\r\n", "200 net/http "},
		{"another method", "POST /ws HTTP/1.1\r\n" + upgrade + "Content-Length: 2\r\n\r\nhi", "200 net/http hi"},
		{"a body", "GET /ws HTTP/1.1\r\n" + upgrade + "Content-Length: 2\r\n\r\nhi", "200 net/http hi"},
		{"a body in chunks", "GET /ws HTTP/1.1\r\n" + upgrade + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 net/http hi"},
		{"HTTP/1.0", "GET /ws HTTP/1.0\r\n" + upgrade + "\r\n", "200 net/http "},
		{"bare newlines", "GET /ws HTTP/1.1\n" + strings.ReplaceAll(upgrade, "\r", "") + "\n", "200 net/http "},
		{"another alphabet", "GET /ws HTTP/1.1\r\n" + upgrade + "X-Name: Zo\xc3\xab\r\n\r\n", "200 net/http "},
		{"no host", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "400 "},
		{"two hosts", "GET /ws HTTP/1.1\r\n" + upgrade + "Host: there\r\n\r\n", "400 "},
		{"a host that is none", "GET /ws HTTP/1.1\r\nHost: a b\r\n\r\n", "400 "},
		{"a name that is none", "GET /ws HTTP/1.1\r\n" + upgrade + "X Y: z\r\n\r\n", "400 "},
		{"a space behind a name", "GET /ws HTTP/1.1\r\n" + upgrade + "X : z\r\n\r\n", "400 "},
		{"a control character", "GET /ws HTTP/1.1\r\n" + upgrade + "X: a\x00b\r\n\r\n", "400 "},
		{"a head that ends early", "GET /ws HTTP/1.1\r\n" + upgrade, "400 "},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := h.dial(t, c.say)
			if half := conn.(*net.TCPConn).CloseWrite(); half != nil {
				t.Fatal(half)
			}
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			got := string(answer)
			if response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil); err == nil {
				body, _ := io.ReadAll(response.Body)
				if got = fmt.Sprintf("%d %s", response.StatusCode, body); response.StatusCode == http.StatusBadRequest {
					got = "400 " // net/http's own words
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A head that comes in pieces is one all the same.
func TestHeadInPieces(t *testing.T) {
	h := openHall(t, Options{})
	conn := h.dial(t, "GET /ws HT")
	h.until(t, "it has been read", func() bool { return h.waiting.Len() == 1 && !h.waiting.Front().Value.(*socket).silent })
	if _, err := io.WriteString(conn, "TP/1.1\r\n"+upgrade+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", response, err)
	}
}

// What is no upgrade after all is answered, and the socket closed.
func TestUpgradesThatAreNone(t *testing.T) {
	h := openHall(t, Options{})
	in := bufio.NewReader(h.dial(t, "GET /ws HTTP/1.1\r\n"+upgrade+"X-Do: refuse\r\n\r\n"))
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusServiceUnavailable || string(body) != "not now\n" || !response.Close || response.Header.Get("Date") == "" {
		t.Errorf("got %v, %q, %v", response, body, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the socket is not closed: %v", err)
	}
}

// Whose an upgrade is, a load balancer has told.
func TestUpgradeBehindAProxy(t *testing.T) {
	h := openHall(t, Options{Proxy: Required, Trusted: []netip.Prefix{here}})
	conn := h.dial(t, "PROXY TCP4 192.0.2.77 127.0.0.1 4711 80\r\nGET /ws HTTP/1.1\r\n"+upgrade+"X-Long: "+strings.Repeat("x", 300)+"\r\n\r\n\n")
	answer, err := io.ReadAll(conn)
	if want := `upgraded /ws here:1 192.0.2.7 "\n" <nil>`; err != nil || string(answer) != want {
		t.Errorf("got %q, %v, want %q", answer, err, want)
	}
}

// Who says nothing keeps nobody from ending. Who is being answered does not keep
// Shutdown, which knows only of net/http's, and is over when Serve is.
func TestTheEndOfServe(t *testing.T) {
	h := openHall(t, Options{})
	silent := h.dial(t, "")
	answered := h.dial(t, "GET /ws HTTP/1.1\r\n"+upgrade+"X-Do: wait\r\n\r\nhello\n")
	h.until(t, "both are taken, and one has spoken", func() bool {
		n := 0
		for e := h.waiting.Front(); e != nil; e = e.Next() {
			if !e.Value.(*socket).silent {
				n++
			}
		}
		return n == 1 && h.waiting.Len() == 2
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("who said nothing goes on")
	}
	select {
	case err := <-h.done:
		t.Errorf("Serve has ended before the answer: %v", err)
		h.done <- err
	default:
	}
	close(h.let)
	if answer, err := io.ReadAll(answered); err != nil || !strings.HasPrefix(string(answer), "upgraded /ws") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// until waits for something that is read with the door's mutex held.
func (h *hall) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		ok := is()
		h.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to it that %s", what)
		}
	}
}

// A panic is told in the server's words to its log.
func TestPanicIsLogged(t *testing.T) {
	h := openHall(t, Options{})
	if n, err := h.dial(t, "GET /ws HTTP/1.1\r\n"+upgrade+"X-Do: panic\r\n\r\n").Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("a panic is answered: %d, %v", n, err)
	}
	if n := h.Waiting(); n != 0 {
		t.Errorf("%d sockets are waited for", n)
	}
	_ = h.server.Close() // as in the end
	err := <-h.done
	h.done <- err
	if !strings.Contains(h.logged.String(), "asked to") {
		t.Errorf("logged: %q", &h.logged)
	}
}

// FuzzPlain holds what is taken for an upgrade against net/http's reading of it.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		"GET /ws HTTP/1.1\r\n" + upgrade + "\r\nmore",
		"GET /ws HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2 \r\n\tX: 3\r\n\r\n",
		"GET /chat HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close, x\r\nCookie:\r\n\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, behind := plain(bytes.Clone(b), []string{"/ws", "/chat"})
		if got == nil {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q is taken, and not by net/http: %v", b, err)
		}
		left, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Header["Pragma"] != nil && got.Header["Cache-Control"] == nil {
			delete(want.Header, "Cache-Control") // which net/http adds
		}
		if got.Host != want.Host || !reflect.DeepEqual(got.Header, want.Header) || got.URL.String() != want.URL.String() ||
			got.RequestURI != want.RequestURI || got.Method != want.Method || got.Proto != want.Proto || want.ContentLength != 0 {
			t.Errorf("%q is read as %+v, by net/http as %+v", b, got, want)
		}
		if !bytes.Equal(behind, left) {
			t.Errorf("%q is followed by %q, by net/http's word by %q", b, behind, left)
		}
	})
}
