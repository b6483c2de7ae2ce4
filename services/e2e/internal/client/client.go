// Package client is a WebSocket client for tests: it speaks the protocol
// without hiding anything of it, in either subprotocol, and fails the test
// when what it waits for does not come.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Patience is how long a client waits for what must come.
const Patience = 15 * time.Second

// Client is one connection.
type Client struct {
	t        testing.TB
	ws       *websocket.Conn
	encoding frame.Encoding
	ids      string // what its requests' ids begin with: others of the user have others
	nextID   atomic.Int64

	mu      sync.Mutex
	frames  []received    // and not yet taken
	arrived chan struct{} // closed and renewed with each frame
	err     error         // why reading ended
}

// received is a frame and the message that it came in.
type received struct {
	*wirev1.ServerFrame
	raw []byte
}

// Options of a connection; the zero value is JSON without anything.
type Options struct {
	Encoding frame.Encoding
	// Subprotocols are offered in place of the encoding's.
	Subprotocols []string
	Header       http.Header
	Compression  websocket.CompressionMode
}

// Dial connects to a gateway's base URL ("http://127.0.0.1:8080").
func Dial(t testing.TB, base string, o Options) *Client {
	t.Helper()
	c, err := TryDial(t, base, o)
	if err != nil {
		t.Fatalf("connecting to %s: %v", base, err)
	}
	return c
}

// TryDial is Dial for who expects that it may fail.
func TryDial(t testing.TB, base string, o Options) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if o.Subprotocols == nil {
		o.Subprotocols = []string{o.Encoding.Subprotocol()}
	}
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(base, "http")+"/ws", &websocket.DialOptions{
		Subprotocols: o.Subprotocols, HTTPHeader: o.Header, CompressionMode: o.Compression,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(64 << 20)
	c := &Client{t: t, ws: ws, encoding: o.Encoding, ids: ids.New("")[:6] + "-", arrived: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.read()
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-done
	})
	return c, nil
}

func (c *Client) read() {
	for {
		_, b, err := c.ws.Read(context.Background())
		var f *wirev1.ServerFrame
		if err == nil {
			f, err = frame.DecodeServer(c.encoding, b)
		}
		c.mu.Lock()
		if err != nil {
			c.err = err
		} else {
			c.frames = append(c.frames, received{f, b})
		}
		close(c.arrived)
		c.arrived = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Send sends a request as it is.
func (c *Client) Send(f *wirev1.ClientFrame) {
	c.t.Helper()
	if err := c.TrySend(f); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// TrySend is Send for who expects that the connection may have ended.
func (c *Client) TrySend(f *wirev1.ClientFrame) error {
	c.t.Helper()
	b, err := frame.AppendClient(nil, c.encoding, f)
	if err != nil {
		c.t.Fatalf("encoding a request: %v", err)
	}
	kind := websocket.MessageText
	if c.encoding == frame.Proto {
		kind = websocket.MessageBinary
	}
	return c.write(kind, b)
}

// SendRaw sends a message as it is.
func (c *Client) SendRaw(kind websocket.MessageType, b []byte) {
	c.t.Helper()
	if err := c.write(kind, b); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

func (c *Client) write(kind websocket.MessageType, b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return c.ws.Write(ctx, kind, b)
}

// SendText sends a text message as it is.
func (c *Client) SendText(s string) {
	c.t.Helper()
	c.SendRaw(websocket.MessageText, []byte(s))
}

// Ask sends a request with an id of its own and gives the first frame that
// answers it.
func (c *Client) Ask(f *wirev1.ClientFrame) *wirev1.ServerFrame {
	c.t.Helper()
	id := c.id()
	f.Id = &id
	c.Send(f)
	return c.Reply(id)
}

// TryAsk is Ask for who expects that the connection may end in place of an
// answer; ended is how.
func (c *Client) TryAsk(f *wirev1.ClientFrame) (answer *wirev1.ServerFrame, ended error) {
	c.t.Helper()
	id := c.id()
	f.Id = &id
	if err := c.TrySend(f); err != nil {
		return nil, err
	}
	got, err := c.tryTake("the reply to "+id, answers(id))
	return got.ServerFrame, err
}

// AskText sends a JSON object as it is, but for an id of its own, and gives
// the first frame that answers it.
func (c *Client) AskText(object string) *wirev1.ServerFrame {
	c.t.Helper()
	id := c.id()
	c.SendText(`{"id":"` + id + `",` + strings.TrimSpace(object)[1:])
	return c.Reply(id)
}

func (c *Client) id() string { return c.ids + strconv.FormatInt(c.nextID.Add(1), 10) }

// Reply waits for the frame that answers a request.
func (c *Client) Reply(id string) *wirev1.ServerFrame {
	c.t.Helper()
	return c.Wait("the reply to "+id, answers(id))
}

// answers likes the frame that answers a request: one of this id that is not
// stored in a room, which may carry the same.
func answers(id string) func(*wirev1.ServerFrame) bool {
	return func(f *wirev1.ServerFrame) bool {
		return f.GetId() == id && f.GetChatMessage() == nil && f.GetRoomMessage() == nil && f.GetChat() == nil &&
			f.GetMessageEdited() == nil && f.GetMessageDeleted() == nil
	}
}

// Want waits for a frame of this type and takes it.
func (c *Client) Want(event string) *wirev1.ServerFrame {
	c.t.Helper()
	return c.Wait(event, func(f *wirev1.ServerFrame) bool { return frame.EventType(f) == event })
}

// Wait waits for the first frame that match likes, and takes it.
func (c *Client) Wait(what string, match func(*wirev1.ServerFrame) bool) *wirev1.ServerFrame {
	c.t.Helper()
	return c.take(what, match).ServerFrame
}

// WantJSON is Want for what stands on the wire, in the JSON subprotocol.
func (c *Client) WantJSON(event string) map[string]any {
	c.t.Helper()
	raw := c.take(event, func(f *wirev1.ServerFrame) bool { return frame.EventType(f) == event }).raw
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		c.t.Fatalf("%s is not a JSON object: %v", raw, err)
	}
	return object
}

func (c *Client) take(what string, match func(*wirev1.ServerFrame) bool) received {
	c.t.Helper()
	f, err := c.tryTake(what, match)
	if err != nil {
		c.t.Fatalf("waiting for %s: the connection ended: %v (untaken: %s)", what, err, c.describe())
	}
	return f
}

// tryTake fails when the connection has ended and no such frame came before.
func (c *Client) tryTake(what string, match func(*wirev1.ServerFrame) bool) (received, error) {
	c.t.Helper()
	timeout := time.After(Patience)
	for {
		c.mu.Lock()
		for i, f := range c.frames {
			if match(f.ServerFrame) {
				c.frames = append(c.frames[:i:i], c.frames[i+1:]...)
				c.mu.Unlock()
				return f, nil
			}
		}
		arrived, err := c.arrived, c.err
		c.mu.Unlock()
		if err != nil {
			return received{}, err
		}
		select {
		case <-arrived:
		case <-timeout:
			c.t.Fatalf("waiting for %s: nothing came (untaken: %s)", what, c.describe())
		}
	}
}

// Untaken gives the frames of a type that have arrived and were not taken.
func (c *Client) Untaken(event string) []*wirev1.ServerFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*wirev1.ServerFrame
	for _, f := range c.frames {
		if frame.EventType(f.ServerFrame) == event {
			list = append(list, f.ServerFrame)
		}
	}
	return list
}

// Rest gives all frames that have arrived and were not taken.
func (c *Client) Rest() []*wirev1.ServerFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*wirev1.ServerFrame, len(c.frames))
	for i, f := range c.frames {
		list[i] = f.ServerFrame
	}
	return list
}

// Take takes the oldest frame that has arrived and was not taken, nil where there
// is none.
func (c *Client) Take() *wirev1.ServerFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.frames) == 0 {
		return nil
	}
	f := c.frames[0].ServerFrame
	c.frames = c.frames[1:]
	return f
}

// Settle waits until the gateway has handled all that was sent before, and all
// that it sent before that has arrived.
func (c *Client) Settle() {
	c.t.Helper()
	c.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_Ping{Ping: &wirev1.Ping{}}})
}

// Closed waits for the end of the connection and gives its close code, -1 for
// an end without one.
func (c *Client) Closed() int {
	c.t.Helper()
	timeout := time.After(Patience)
	for {
		c.mu.Lock()
		arrived, err := c.arrived, c.err
		c.mu.Unlock()
		if err != nil {
			return int(websocket.CloseStatus(err))
		}
		select {
		case <-arrived:
		case <-timeout:
			c.t.Fatalf("waiting for the end of the connection (untaken: %s)", c.describe())
		}
	}
}

// Alive says whether the connection has not ended.
func (c *Client) Alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil
}

// Close says goodbye.
func (c *Client) Close() { _ = c.ws.Close(websocket.StatusNormalClosure, "") }

// Cut ends the connection without a word.
func (c *Client) Cut() { _ = c.ws.CloseNow() }

// Subprotocol is what was negotiated.
func (c *Client) Subprotocol() string { return c.ws.Subprotocol() }

// describe shows what has come and was not taken, as much as a page bears.
func (c *Client) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	const most = 10
	var b strings.Builder
	for i, f := range c.frames {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(c.frames)-most)
			break
		}
		text, err := frame.AppendServer(nil, frame.JSON, f.ServerFrame)
		fmt.Fprintf(&b, "\n  %.200s %v", text, errors.Join(err))
	}
	return b.String()
}
