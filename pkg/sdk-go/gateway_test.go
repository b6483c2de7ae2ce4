package parley

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"
)

// gateway is one that a test plays, over pipes and on a clock of its own: nothing
// is answered but what the test says.
type gateway struct {
	t       *testing.T
	client  *http.Client
	sockets chan *socket
	serve   func(*websocket.Conn) // in place of sockets, where it is set
}

// socket is the gateway's end of a connection.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// play runs a test on a clock of its own.
func play(t *testing.T, test func(t *testing.T, g *gateway)) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{t: t, sockets: make(chan *socket, 16)}
		listener := make(pipes)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			select {
			case listener <- far:
				return near, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		g.client = &http.Client{Transport: transport}
		over := make(chan struct{})
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1.json"}})
			if err != nil {
				t.Error(err)
				return
			}
			if g.serve != nil {
				g.serve(ws)
				return
			}
			g.sockets <- &socket{t, ws}
			<-over
			_ = ws.CloseNow()
		})}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(listener) }()
		t.Cleanup(func() {
			close(over)
			close(listener)
			<-served
			_ = server.Close()
			transport.CloseIdleConnections()
		})
		test(t, g)
	})
}

// dial connects a client, signed in as Ada.
func (g *gateway) dial(o Options) (*Client, *socket) {
	g.t.Helper()
	if o.Token == "" && o.GetToken == nil {
		o.Token = "a token"
	}
	o.HTTPClient = g.client
	var c *Client
	var err error
	dialled := make(chan struct{})
	go func() {
		defer close(dialled)
		c, err = Dial(g.t.Context(), "http://gateway", o)
	}()
	s := g.accept()
	s.signIn()
	<-dialled
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.Close)
	return c, s
}

// accept waits for a connection and greets it.
func (g *gateway) accept() *socket {
	g.t.Helper()
	s := <-g.sockets
	s.say(`{"type":"welcome","heartbeatIntervalMs":25000,"limits":{"maxFrameBytes":65536}}`)
	return s
}

func (s *socket) signIn() {
	s.t.Helper()
	q := s.take("auth")
	s.say(`{"type":"auth-success","id":%q,"user":{"id":"u-ada","username":"Ada","roles":["user"]},"sessionId":"s","resumeToken":"r1"}`, q["id"])
}

// joined answers a join-room with a room that stands at seq, and a page.
func (s *socket) joined(seq int, recovered bool, page ...string) map[string]any {
	s.t.Helper()
	q := s.take("join-room")
	s.say(`{"type":"room-joined","id":%q,"roomId":%q,"memberCount":1,"seq":%d,"epoch":"e1","recovered":%v,"oldestSeq":1}`, q["id"], q["roomId"], seq, recovered)
	s.page(fmt.Sprintf(`,"id":%q`, q["id"]), page...)
	return q
}

// resumed answers a resume that brings back the room r.
func (s *socket) resumed(seq int, recovered bool, page ...string) map[string]any {
	s.t.Helper()
	q := s.take("resume")
	s.say(`{"type":"resumed","id":%q,"user":{"id":"u-ada","username":"Ada"},"sessionId":"s","resumeToken":"r2","rooms":{"r":{"recovered":%v,"seq":%d,"epoch":"e1","memberCount":1,"oldestSeq":90}}}`, q["id"], recovered, seq)
	s.page("", page...)
	return q
}

func (s *socket) page(id string, page ...string) {
	s.say(`{"type":"message-history"%s,"roomId":"r","messages":[%s],"hasMore":false}`, id, strings.Join(page, ","))
}

// message is an entry of the room r.
func message(seq, prev int) string {
	return fmt.Sprintf(`{"type":"chat-message","roomId":"r","seq":%d,"prev":%d,"user":{"id":"u-bob","username":"Bob"},"content":"%d","timestamp":"2026-01-02T03:04:05.000Z"}`, seq, prev, seq)
}

// mine is one of Ada's.
func mine(seq int, id string) string {
	return fmt.Sprintf(`{"type":"chat-message","id":%q,"roomId":"r","seq":%d,"prev":%d,"user":{"id":"u-ada","username":"Ada"},"content":"x","timestamp":"2026-01-02T03:04:05.000Z"}`, id, seq, seq-1)
}

func (s *socket) say(format string, args ...any) {
	s.t.Helper()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if err := s.ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatalf("saying %s: %v", text, err)
	}
}

// take reads the next request, which must be of that type.
func (s *socket) take(kind string) map[string]any {
	s.t.Helper()
	_, b, err := s.ws.Read(context.Background())
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", kind, err)
	}
	var q map[string]any
	if err := json.Unmarshal(b, &q); err != nil || q["type"] != kind {
		s.t.Fatalf("want %s, got %s (%v)", kind, b, err)
	}
	return q
}

// ack answers a chat-message, and says it to the room.
func (s *socket) ack(seq int) map[string]any {
	s.t.Helper()
	q := s.take("chat-message")
	s.say(`{"type":"ack","id":%q,"roomId":"r","seq":%d,"duplicate":false,"durability":"file","timestamp":"2026-01-02T03:04:05.000Z"}`, q["id"], seq)
	return q
}

// cut ends the connection without a word.
func (s *socket) cut() { _ = s.ws.CloseNow() }

// read takes n messages.
func read(t *testing.T, r *Room, n int) []int64 {
	t.Helper()
	var got []int64
	if n == 0 {
		return got
	}
	for m, err := range r.Messages(t.Context()) {
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		if got = append(got, m.Seq); len(got) == n {
			break
		}
	}
	return got
}

// span is from and what follows up to to.
func span(from, to int64) []int64 {
	var list []int64
	for ; from <= to; from++ {
		list = append(list, from)
	}
	return list
}

func want(t *testing.T, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// enter joins the room r, which stands at seq.
func enter(t *testing.T, c *Client, s *socket, seq int, page ...string) *Room {
	t.Helper()
	r := c.Room("r")
	joined := make(chan error, 1)
	go func() { joined <- r.Join(t.Context(), JoinOptions{}) }()
	s.joined(seq, false, page...)
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	return r
}
