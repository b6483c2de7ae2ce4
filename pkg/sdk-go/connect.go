package parley

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// connector keeps a client connected. Its fields are those of one goroutine, but
// for token, which a renewal changes beside it.
type connector struct {
	c       *Client
	attempt int
	resume  string // the token for it, "" without one
	tokens  sync.Mutex
	token   string // that was shown last, "" for a guest's
	refused string // that was not accepted, or is over
	renewed bool   // whether a newer token was tried since
	failed  bool   // a newer token was not accepted on this connection
	hint    time.Duration
	beat    time.Duration // the gateway's own interval of pings
}

// run connects until ctx ends, or there is no use in it any more.
func (k *connector) run(ctx context.Context) {
	var err error // that ended the last connection
	for {
		k.c.become(Connecting, time.Time{}, err)
		var n next
		n, err = k.once(ctx)
		switch {
		case ctx.Err() != nil:
			k.c.finish(errClosed())
			return
		case n.end != nil:
			k.c.finish(n.end)
			return
		}
		if n.renew {
			k.refused, k.renewed, k.resume = k.shown(), true, ""
		}
		k.attempt++
		k.c.become(Offline, time.Now().Add(n.wait), err)
		timer := time.NewTimer(n.wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.c.hurry:
		}
		timer.Stop()
	}
}

// once is one connection, from its dial to its end. The error says why it ended.
func (k *connector) once(ctx context.Context) (next, error) {
	k.hint, k.failed = -1, false
	open, cancel := context.WithTimeout(ctx, opening)
	defer cancel()
	// A resume needs no token, and may come to nothing only within the hour.
	if k.resume == "" {
		if n, err := k.bring(open); err != nil {
			return n, err
		}
	}
	l, err := dial(open, k.c.url, k.c.options, &k.c.mu)
	if err != nil {
		return k.unreached(err), err
	}
	defer func() { _ = l.ws.CloseNow() }() // closed already, as a rule
	in, err := k.signIn(open, l)
	if err != nil {
		return k.unsigned(err), err
	}
	return k.hold(ctx, l, in)
}

// unreached decides after a dial that failed.
func (k *connector) unreached(err error) next {
	n := next{wait: fullJitter(k.attempt, normal)}
	no, ok := errors.AsType[*noUpgrade](err)
	if !ok {
		return n
	}
	// Once there was a gateway, what stands before it may be confused for a while.
	if !no.gateway() && !k.c.wasOnline() {
		n.end = &Error{Code: CodeNoGateway, Message: fmt.Sprintf("%s is no Parley gateway: %v", k.c.url, err)}
	}
	if no.after > 0 {
		n.wait = no.after + jitter(atOnce)
	}
	return n
}

// unsigned decides after a sign-in that failed.
func (k *connector) unsigned(err error) next {
	if e, ok := errors.AsType[*endError](err); ok {
		return next{end: e.why}
	}
	if errors.Is(err, ErrSignedOut) {
		return next{end: &Error{Code: CodeUnauthenticated, Message: err.Error()}}
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Temporary() {
		return next{wait: max(e.RetryAfter, fullJitter(k.attempt, normal))}
	}
	n := afterClose(websocket.CloseStatus(err), ended{attempt: k.attempt, renewed: k.renewed, hint: k.hint})
	if refusal, ok := errors.AsType[*refusedToken](err); ok && n.end != nil {
		n.end.Message = refusal.Error()
	}
	return n
}

// endError is an error that ends the client.
type endError struct{ why *Error }

func (e *endError) Error() string { return e.why.Error() }

// refusedToken is an auth-failed, and the close that came behind it.
type refusedToken struct {
	why   *Error
	close error
}

func (e *refusedToken) Error() string {
	return "the token was not accepted: " + e.why.Message
}
func (e *refusedToken) Unwrap() error { return e.close }

// bring asks the application for a token.
func (k *connector) bring(ctx context.Context) (next, error) {
	get := k.c.options.GetToken
	if get == nil {
		return next{}, nil // a guest
	}
	token, err := get(ctx, k.refused)
	if err != nil {
		n := next{wait: fullJitter(k.attempt, normal)}
		if e, ok := errors.AsType[*Error](err); ok {
			n.wait = max(n.wait, e.RetryAfter)
		}
		if errors.Is(err, ErrSignedOut) {
			n.end = &Error{Code: CodeUnauthenticated, Message: err.Error()}
		}
		return n, fmt.Errorf("getting a token: %w", err)
	}
	k.show(token)
	return next{}, nil
}

func (k *connector) show(token string) {
	k.tokens.Lock()
	defer k.tokens.Unlock()
	k.token = token
}

func (k *connector) shown() string {
	k.tokens.Lock()
	defer k.tokens.Unlock()
	return k.token
}

// signedIn is what a gateway says to who has signed in; rooms are those that a
// resume has brought back.
type signedIn struct {
	account *wirev1.Account
	resumed bool
	rooms   map[string]*wirev1.ResumedRoom
}

// signIn resumes, or shows the token, or becomes a guest.
func (k *connector) signIn(ctx context.Context, l *link) (*signedIn, error) {
	f, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	w := f.GetWelcome()
	if w == nil {
		return nil, errors.New("the gateway said no welcome")
	}
	k.c.welcome(l, w)
	k.beat = max(time.Duration(w.HeartbeatIntervalMs)*time.Millisecond, tick)
	if k.resume != "" {
		q := &wirev1.Resume{ResumeToken: k.resume, Rooms: k.c.places()}
		f, err := k.reply(ctx, l, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Resume{Resume: q}})
		if r := f.GetResumed(); err == nil && r != nil {
			k.resume = r.ResumeToken
			return &signedIn{account: r.User, resumed: true, rooms: r.Rooms}, nil
		}
		if CodeOf(err) != codeResumeFailed {
			return nil, err
		}
		k.resume = ""
		// Who has tried to sign in does not become a guest on the same connection.
		if k.c.options.GetToken == nil {
			return nil, &Error{Code: codeUnavailable, Message: "the guest's session has ended"}
		}
		if _, err := k.bring(ctx); err != nil {
			return nil, err
		}
	}
	// Any request makes a guest of who has not signed in.
	q := &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomInfo{GetRoomInfo: &wirev1.GetRoomInfo{RoomId: lobby}}}
	guest := k.c.options.GetToken == nil
	if !guest {
		q.Request = &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: k.shown()}}
	}
	f, err = k.reply(ctx, l, q)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && guest && !e.Temporary() {
			return nil, &endError{&Error{Code: e.Code, Message: "guests are not let in: " + e.Message}}
		}
		return nil, err
	}
	in := f.GetAuthSuccess()
	k.resume = in.GetResumeToken()
	return &signedIn{account: in.GetUser()}, nil
}

// reply sends a request on a connection that is not signed in, and reads the
// answer: its own, or the auth-success that comes unasked.
func (k *connector) reply(ctx context.Context, l *link, q *wirev1.ClientFrame) (*wirev1.ServerFrame, error) {
	id := newID()
	q.Id = &id
	if err := l.tell(q); err != nil {
		return nil, err
	}
	for {
		f, err := l.read(ctx)
		if err != nil {
			return nil, err
		}
		failure := f.GetAuthFailed()
		switch {
		case failure != nil:
			// The close says what comes of it.
			_, err := l.read(ctx)
			return nil, &refusedToken{refused(f), err}
		case f.GetGoingAway() != nil:
			k.hint = time.Duration(f.GetGoingAway().ReconnectInMs) * time.Millisecond
		case f.GetAuthSuccess() != nil:
			return f, nil
		case f.GetId() == id:
			if err := refused(f); err != nil {
				return nil, err
			}
			return f, nil
		}
	}
}

// hold takes in what comes on a signed-in connection until it ends.
func (k *connector) hold(ctx context.Context, l *link, in *signedIn) (next, error) {
	since := time.Now()
	k.renewed, k.refused = false, ""
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() { k.watch(ctx, live, l) })
	k.c.ready(l, in)
	if !in.resumed {
		beside.Go(func() { k.c.retellStatus(live, l) })
	}
	var err error
	for err == nil {
		var f *wirev1.ServerFrame
		if f, err = l.read(live); err == nil {
			k.take(live, l, f, &beside)
		}
	}
	cut()
	k.c.gone(l)
	beside.Wait()
	if time.Since(since) >= stable {
		k.attempt = 0
	}
	code := websocket.CloseStatus(err)
	return afterClose(code, ended{attempt: k.attempt, signedIn: !k.failed, hint: k.hint}), err
}

// take does what a frame asks of the connection, and hands it on.
func (k *connector) take(ctx context.Context, l *link, f *wirev1.ServerFrame, beside *sync.WaitGroup) {
	switch e := f.Event.(type) {
	case *wirev1.ServerFrame_MessageBatch:
		for _, f := range e.MessageBatch.Messages {
			k.take(ctx, l, f, beside)
		}
		return
	case *wirev1.ServerFrame_GoingAway:
		k.hint = time.Duration(e.GoingAway.ReconnectInMs) * time.Millisecond
	case *wirev1.ServerFrame_TokenExpiring:
		if k.c.options.GetToken != nil {
			beside.Go(func() { k.renew(ctx, l) })
		}
	case *wirev1.ServerFrame_AuthSuccess:
		k.resume = e.AuthSuccess.ResumeToken
	case *wirev1.ServerFrame_AuthFailed:
		k.failed = true // 1008 follows, which is not for breaking rules
	}
	k.c.frame(l, f)
}

// renew shows a newer token. Where there is none the old one may be good still;
// when it is not, 4203 says so.
func (k *connector) renew(ctx context.Context, l *link) {
	old := k.shown()
	token, err := k.c.options.GetToken(ctx, old)
	if err != nil || token == old {
		return
	}
	k.show(token)
	_, _ = l.ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: token}}}, nil)
}

// watch asks a gateway that has fallen silent whether it is there, and takes leave
// of it when the client is closed.
func (k *connector) watch(closed, live context.Context, l *link) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	wall := time.Now().Round(0) // a computer that sleeps stops the other clock
	for {
		select {
		case <-live.Done():
			return
		case <-closed.Done():
			late := time.AfterFunc(closing, func() { _ = l.ws.CloseNow() })
			_ = l.ws.Close(websocket.StatusNormalClosure, "") // done is done, heard or not
			late.Stop()
			return
		case <-ticker.C:
		}
		now := time.Now().Round(0)
		slept := now.Sub(wall) > tick+asleep
		wall = now
		patience := pong
		if slept {
			patience = pongAwake
		} else if l.silent() < k.beat {
			continue
		}
		since := l.heard.Load()
		ping, cancel := context.WithTimeout(live, patience)
		stop := context.AfterFunc(closed, cancel)
		err := l.ws.Ping(ping)
		stop()
		cancel()
		// Anything heard meanwhile is as good as a pong.
		if err != nil && l.heard.Load() == since && closed.Err() == nil {
			_ = l.ws.CloseNow() // reading tells the rest
			return
		}
		l.hear()
	}
}
