package parley

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// link is one connection to a gateway.
type link struct {
	ws  *websocket.Conn
	enc frame.Encoding
	// mu is the client's, and guards what follows it.
	mu    *sync.Mutex
	calls map[string]*call
	lost  bool
	most  int64 // bytes of a frame, 0 where the gateway has not told

	heard atomic.Int64 // when anything came last, in nanoseconds since 1970
}

// call is a request that waits for its reply.
type call struct {
	// each, where there is one, is called with every reply as it comes, with the
	// lock and before any later frame is looked at; true if more follow.
	each  func(*wirev1.ServerFrame) bool
	reply chan reply // one
	heard time.Time
}

type reply struct {
	frame *wirev1.ServerFrame
	err   error
}

// dial opens a connection. Where a gateway, or what stands before it, refuses,
// the answer's status is in the error.
func dial(ctx context.Context, url string, o Options, mu *sync.Mutex) (*link, error) {
	l := &link{enc: o.Encoding, mu: mu, calls: make(map[string]*call)}
	ws, response, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: o.HTTPClient, HTTPHeader: o.Header, Subprotocols: []string{o.Encoding.Subprotocol()},
		OnPingReceived: func(context.Context, []byte) bool { l.hear(); return true },
	})
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, &noUpgrade{response.StatusCode, retryAfter(response), err}
		}
		return nil, err
	}
	if got := ws.Subprotocol(); got != o.Encoding.Subprotocol() {
		_ = ws.CloseNow() // it is of no use
		return nil, &noUpgrade{http.StatusOK, 0, fmt.Errorf("the server speaks %q and not %q", got, o.Encoding.Subprotocol())}
	}
	ws.SetReadLimit(maxFrame)
	l.ws = ws
	l.hear()
	return l, nil
}

// noUpgrade is an answer that is no WebSocket.
type noUpgrade struct {
	status int
	after  time.Duration
	err    error
}

func (e *noUpgrade) Error() string { return e.err.Error() }

// gateway tells whether it may be one's that is busy, or has just started.
func (e *noUpgrade) gateway() bool {
	return e.status >= 500 || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout
}

func retryAfter(r *http.Response) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 600)) * time.Second
}

func (l *link) hear() { l.heard.Store(time.Now().UnixNano()) }

func (l *link) silent() time.Duration { return time.Since(time.Unix(0, l.heard.Load())) }

// read gives the next frame of a type that this version knows.
func (l *link) read(ctx context.Context) (*wirev1.ServerFrame, error) {
	for {
		_, b, err := l.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		l.hear()
		f, err := frame.DecodeServer(l.enc, b)
		if err == nil {
			return f, nil
		}
	}
}

// write sends a frame. It has a time limit of its own and not its caller's
// context, for a message that is cut off in the middle ends the connection.
func (l *link) write(b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writing)
	defer cancel()
	kind := websocket.MessageText
	if l.enc == frame.Proto {
		kind = websocket.MessageBinary
	}
	if err := l.ws.Write(ctx, kind, b); err != nil {
		return errLost()
	}
	return nil
}

// tell sends what has no reply.
func (l *link) tell(f *wirev1.ClientFrame) error {
	b, err := frame.AppendClient(nil, l.enc, f)
	if err != nil {
		return unwritable(err)
	}
	return l.write(b)
}

// ask sends a request and waits for its reply; it gets an id where it has none. A
// reply that refuses is an *Error.
func (l *link) ask(ctx context.Context, f *wirev1.ClientFrame, each func(*wirev1.ServerFrame) bool) (*wirev1.ServerFrame, error) {
	if f.Id == nil {
		id := newID()
		f.Id = &id
	}
	b, err := frame.AppendClient(nil, l.enc, f)
	if err != nil {
		return nil, unwritable(err)
	}
	c := &call{each: each, reply: make(chan reply, 1), heard: time.Now()}
	if err := l.add(f.GetId(), c, int64(len(b))); err != nil {
		return nil, err
	}
	defer l.forget(f.GetId(), c)
	if err := l.write(b); err != nil {
		return nil, err
	}
	timer := time.NewTimer(replies)
	defer timer.Stop()
	for {
		select {
		case r := <-c.reply:
			return r.frame, r.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
			if left := l.patience(c); left > 0 {
				timer.Reset(left)
				continue
			}
			return nil, &Error{Code: CodeTimeout, Message: "the gateway did not answer in time"}
		}
	}
}

func (l *link) add(id string, c *call, size int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.lost:
		return errLost()
	case l.most > 0 && size > l.most:
		// It would end the connection (1009).
		return &Error{Code: codeTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", l.most)}
	case len(l.calls) >= maxPending:
		return &Error{Code: codeRateLimited, Message: "too many requests wait for a reply"}
	case l.calls[id] != nil:
		return &Error{Code: codeInvalid, Field: "id", Message: "another request has this id"}
	}
	l.calls[id] = c
	return nil
}

func (l *link) forget(id string, c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[id] == c {
		delete(l.calls, id)
	}
}

// patience is how much longer a call that has had a part of its reply may take.
func (l *link) patience(c *call) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return replies - time.Since(c.heard)
}

// answer hands a reply to its request, with the lock; false if the frame is none.
func (l *link) answer(f *wirev1.ServerFrame) bool {
	// Frames of a room's log carry the id that their sender chose.
	if f.Id == nil || isEntry(f) {
		return false
	}
	c := l.calls[f.GetId()]
	if c == nil {
		return false
	}
	if err := refused(f); err != nil {
		c.reply <- reply{err: err}
	} else if c.each != nil && c.each(f) {
		c.heard = time.Now()
		return true
	} else {
		c.reply <- reply{frame: f}
	}
	delete(l.calls, f.GetId())
	return true
}

// lose fails what waits, with the lock.
func (l *link) lose() {
	l.lost = true
	for id, c := range l.calls {
		c.reply <- reply{err: errLost()}
		delete(l.calls, id)
	}
}

// newID makes an id that no other request has.
func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
