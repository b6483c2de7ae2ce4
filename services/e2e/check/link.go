package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	// silence is how long a connection may stay without a word, though a ping
	// is sent every pingEvery, before it is given up.
	silence   = 15 * time.Second
	pingEvery = 4 * time.Second
	// maxFrame is more than a page of 1000 messages takes.
	maxFrame = 64 << 20
)

// link is one connection to a gateway.
type link struct {
	ws       *websocket.Conn
	encoding frame.Encoding
}

// transport keeps nothing: a gateway that was restarted must not be asked over
// a connection of its predecessor's.
var transport = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialSmall}}

// dialSmall bounds what the kernel takes in for a client that does not read,
// so that its gateway gets to feel it.
func dialSmall(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(512 << 10) // as good as without, but for that
	}
	return c, err
}

func dial(ctx context.Context, url string, encoding frame.Encoding) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/ws", &websocket.DialOptions{
		HTTPClient: transport, Subprotocols: []string{encoding.Subprotocol()},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", url, err)
	}
	ws.SetReadLimit(maxFrame)
	return &link{ws: ws, encoding: encoding}, nil
}

// read waits for the next frame; one of a type that is newer than this client
// is passed over.
func (l *link) read(ctx context.Context) (*wirev1.ServerFrame, error) {
	for {
		_, b, err := l.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		f, err := frame.DecodeServer(l.encoding, b)
		if err == nil {
			return f, nil
		}
		var e *frame.Error
		if !errors.As(err, &e) || e.Code != frame.UnknownType {
			return nil, fmt.Errorf("decoding a frame: %w", err)
		}
	}
}

func (l *link) send(f *wirev1.ClientFrame) error {
	b, err := frame.AppendClient(nil, l.encoding, f)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", frame.RequestType(f), err)
	}
	kind := websocket.MessageText
	if l.encoding == frame.Proto {
		kind = websocket.MessageBinary
	}
	// Not the run's context: what is begun when the run ends is whole.
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return l.ws.Write(ctx, kind, b)
}

// cut ends the connection without a word.
func (l *link) cut() { _ = l.ws.CloseNow() }

// goodbye ends it with 1000.
func (l *link) goodbye() { _ = l.ws.Close(websocket.StatusNormalClosure, "") }

// ask sends a request and waits for the first frame with its id, passing over
// all others; for connections that do nothing else meanwhile.
func (l *link) ask(ctx context.Context, id string, f *wirev1.ClientFrame) (*wirev1.ServerFrame, error) {
	f.Id = &id
	if err := l.send(f); err != nil {
		return nil, err
	}
	for {
		answer, err := l.read(ctx)
		if err != nil {
			return nil, err
		}
		if answer.GetId() == id {
			return answer, nil
		}
	}
}
