package parley

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/frame"
)

// Options of a client. The zero value is a guest's, where the deployment lets
// guests in.
type Options struct {
	// Token is one that stays good, as for a script.
	Token string
	// GetToken gives a token each time that one is needed, in place of Token;
	// refused is the one that is not accepted, or not much longer, else "". The
	// error ErrSignedOut ends the client; any other is tried again, after its
	// RetryAfter where it is an *Error. [SignIn.Token] is one.
	GetToken func(ctx context.Context, refused string) (string, error)
	// Encoding is what is spoken: frame.JSON (the zero value) or frame.Proto.
	Encoding frame.Encoding
	// HTTPClient opens connections; nil is http.DefaultClient. It must have no
	// Timeout, which would end them.
	HTTPClient *http.Client
	// Header is sent with each upgrade.
	Header http.Header
	// Buffer is how many events of each room wait for their reader at most; default
	// 1024, at least 16. What comes beyond is read from the log later.
	Buffer int
	// Outbox is how many messages of each room wait to be stored at most; default 1000.
	Outbox int
}

func (o *Options) complete() error {
	if o.Buffer == 0 {
		o.Buffer = 1024
	}
	if o.Outbox == 0 {
		o.Outbox = 1000
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	switch {
	case o.Buffer < 16:
		return errors.New("buffer: must be at least 16")
	case o.Outbox < 0:
		return errors.New("outbox: must not be negative")
	case o.Encoding != frame.JSON && o.Encoding != frame.Proto:
		return errors.New("encoding: must be frame.JSON or frame.Proto")
	case o.Token != "" && o.GetToken != nil:
		return errors.New("token and GetToken: want one of them")
	case o.HTTPClient.Timeout != 0:
		return errors.New("the HTTP client must have no Timeout, which would end connections")
	}
	if token := o.Token; token != "" {
		o.GetToken = func(_ context.Context, refused string) (string, error) {
			if refused == token {
				return "", fmt.Errorf("the token was not accepted: %w", ErrSignedOut)
			}
			return token, nil
		}
	}
	return nil
}

// address gives where the socket of a deployment is: "/ws" is added to what has
// no path.
func address(of string) (string, error) {
	u, err := url.Parse(of)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("%q: want http://, https://, ws:// or wss://", of)
	}
	if u.Host == "" {
		return "", fmt.Errorf("%q: has no host", of)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/ws"
	}
	u.Fragment = ""
	return u.String(), nil
}

// How long things take, and how many there are. Tests have a clock of their own.
const (
	// opening is from a dial to being signed in; the gateway itself allows 10 s for
	// the latter.
	opening = 15 * time.Second
	// stable is how long a signed-in connection has to hold for the back-off to
	// begin anew.
	stable = 10 * time.Second
	// tick is how often a connection is thought of, and asleep how much later than
	// that a tick comes after a sleep.
	tick   = 5 * time.Second
	asleep = 5 * time.Second
	// pong is how long the answer to a ping may take, shorter after a sleep.
	pong      = 10 * time.Second
	pongAwake = 4 * time.Second
	// replies is how long a reply may take, and writing how long a write.
	replies = 15 * time.Second
	writing = 10 * time.Second
	// closing is how long a gateway is given to answer a close.
	closing = 2 * time.Second
	// retry is the wait before a join or a message is tried again, where the gateway
	// names none, and maxRetry what it grows to.
	retry    = time.Second
	maxRetry = 30 * time.Second
	// idempotent: within this after the first try, a second one with the same id is
	// surely recognised (the window is 2 minutes).
	idempotent = 100 * time.Second

	// maxPending is how many requests wait for replies at most.
	maxPending = 500
	// maxResumed is how many rooms are in one resume at most, for a frame has its
	// limit; the others are joined anew, joiningAtOnce of them at a time.
	maxResumed    = 400
	joiningAtOnce = 8
	// maxFrame is more than a page of 1000 messages takes.
	maxFrame = 64 << 20
)
