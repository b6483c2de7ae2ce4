package session

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// Identity is whom a connection belongs to.
type Identity struct {
	User  *wirev1.User
	Roles []string
	// SignIn is the sign-in behind the token, by which it can be revoked;
	// empty for a token that none of ours stands behind.
	SignIn   string
	IssuedAt time.Time
	// ExpiresAt is when the token ends; zero for never.
	ExpiresAt time.Time

	renamed bool // the hook has chosen the name
}

// HasRole says whether the account has a role.
func (i *Identity) HasRole(role string) bool {
	for _, r := range i.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// RoleAdmin may do everything.
const RoleAdmin = "admin"

// Session is one client's session on this gateway: a connection, and once it
// has signed in, a user and the rooms it is in.
type Session struct {
	hub      *Hub
	conn     *conn.Conn
	encoding frame.Encoding
	log      connectionLog
	debug    bool          // a line for each message
	opened   time.Duration // times are counted from the hub's start, which takes a third of the room

	flight flight
	lane   lane
	mode   atomic.Pointer[mode]
	gate   gate

	// Only the reading goroutine has these.
	pace     pace
	received int64 // messages
	badSince time.Duration
	bad      int32

	listed   int32         // the directory's
	sibling  *Session      // the directory's
	elder    *Session      // the strangers'
	younger  *Session      // the strangers'
	deadline time.Duration // the deadlines'
	queued   int32         // the deadlines'

	mu       sync.Mutex
	identity *Identity // nil until signed in
	session  string    // id of the session, which a resume keeps
	signedAt time.Time
	// tried: the client has sent what signs it in, good or not.
	tried bool
	// warned: the client knows that its token is about to end.
	warned bool
	// announced: presence was told of the session, and is to be told of its end.
	announced bool
	rooms     places
	abort     context.CancelFunc // of the slow request that runs, nil for none
	leaving   bool               // reading is over
	ended     bool               // and all requests
}

// start makes a session of a connection and greets the client.
func start(h *Hub, c *conn.Conn) *Session {
	s := &Session{
		hub:    h,
		conn:   c,
		log:    connectionLog{h.log, ids.New("c_")},
		opened: h.now(),
	}
	if c.Subprotocol() == frame.Proto.Subprotocol() {
		s.encoding = frame.Proto
	}
	s.flight.limit, s.flight.waits = h.opts.MaxInFlight, &h.throttled
	s.debug = s.log.debugging()
	s.mode.Store(&plain)
	s.log.Info("opened", "remote", c.RemoteAddr(), "agent", c.UserAgent(), "protocol", s.encoding.Subprotocol())
	s.reply(nil, s.hub.welcome(s))
	h.deadlines.set(s, s.opened+h.opts.AuthTimeout)
	if longest := h.strangers.add(s, h.opts.MaxUnauthenticated); longest != nil {
		longest.close(conn.Overloaded, "too many have not signed in")
	}
	return s
}

// A client is new for its first messages, and as long as many take to sign in and
// join, before they fall silent.
const (
	newFor      = 3 * time.Second
	newMessages = 3
)

// read serves the client until the connection has ended; it is a goroutine that
// the hub waits for.
//
// A stack that has grown with the work on a message stays larger than one that
// only waits needs, so read goes on in a new goroutine, whose stack is the
// smallest, before it waits again: while the client is new, and later, when a
// heartbeat has gone by without a message. For one who talks it would wake a
// thread for each message.
func (s *Session) read() {
	defer s.hub.wg.Done()
	for grown := false; ; {
		before := s.received
		if s.conn.Read(s.handle) != nil {
			s.end()
			return
		}
		silent := s.received == before
		grown = grown || !silent
		if grown && (silent || s.isNew()) && s.conn.Quiet() {
			s.hub.wg.Add(1) // this one's own has not ended
			go s.read()
			return
		}
	}
}

// isNew is for the reading goroutine.
func (s *Session) isNew() bool {
	return s.received <= newMessages || s.hub.now()-s.opened < newFor
}

// end gives back all that the session holds.
func (s *Session) end() {
	s.mu.Lock()
	s.leaving = true
	if s.abort != nil {
		s.abort()
	}
	s.mu.Unlock()
	s.lane.wait()
	s.mu.Lock()
	s.ended = true
	s.hub.deadlines.clear(s)
	s.hub.strangers.remove(s)
	rooms := s.rooms
	s.rooms = nil
	identity, session, announced := s.identity, s.session, s.announced
	s.mu.Unlock()
	s.mode.Load().stop()
	code, reason := s.conn.Ended()
	if identity != nil {
		s.hub.countGuest(identity, -1)
		s.hub.directory.remove(s, identity)
		if announced {
			// A client that says goodbye, or is thrown out, is gone at once;
			// any other may come back.
			s.hub.opts.Announcer.Offline(session, code != conn.Normal && !(code >= 4000 && code < 4100))
		}
		for _, place := range rooms {
			s.hub.opts.Rooms.Leave(context.Background(), place)
		}
	}
	in, out := s.conn.Bytes()
	user := ""
	if identity != nil {
		user = identity.User.Id
	}
	s.log.Info("closed", "user", user, "remote", s.conn.RemoteAddr(), "agent", s.conn.UserAgent(), "code", int(code), "reason", reason,
		"duration", (s.hub.now() - s.opened).Round(time.Millisecond), "bytes_in", in, "bytes_out", out)
	s.hub.closed(s, code)
}

// who gives the user, nil while nobody has signed in.
func (s *Session) who() *Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// room gives the session's place in a room, nil where it has none.
func (s *Session) room(id string) *fanout.Membership {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms.in(id)
}

// close ends the connection with a code.
func (s *Session) close(code conn.Code, reason string) { s.conn.Close(code, reason) }

// handle takes one message of the client.
func (s *Session) handle(message []byte) {
	if code, _ := s.conn.Ended(); code != 0 {
		return // we are closing; what comes now has no effect
	}
	s.hub.received.Add(1)
	s.received++
	f, err := frame.DecodeClient(s.encoding, message)
	kind := frame.RequestType(f)
	if s.debug {
		s.log.Debug("received", "type", kind, "bytes", len(message))
	}
	who := s.who()
	command := commands[kind]
	if after := s.hub.limit(&s.pace, who, s.hub.cost(command)); after > 0 {
		s.fail(f.Id, &errs.Error{Code: errs.RateLimited, Message: "too many requests", RetryAfter: after})
		return
	}
	if err != nil {
		s.fail(f.Id, coded(err))
		return
	}
	if command == nil {
		s.fail(f.Id, errs.New(errs.UnknownType, "type %q is not served", kind))
		return
	}
	if command.signsIn {
		s.tries()
	}
	if who == nil && !command.anonymous {
		if err := s.becomeGuest(context.Background()); err != nil {
			s.fail(f.Id, err)
			return
		}
	}
	room := ""
	if command.room != nil {
		room = command.room(f)
	}
	// Decided now, and not when the lane gets there, when a later auth may
	// have been carried out.
	known := s.who() != nil
	ctx := context.Background()
	if s.hub.opts.Tracer != nil {
		ctx = s.trace(kind, room, f)
	}
	if s.hub.slow(command) || s.lane.has(room) {
		came := s.hub.now()
		s.lane.add(room, func() {
			s.hub.waited(s.hub.now() - came)
			s.run(ctx, command, f, known)
		})
		return
	}
	s.run(ctx, command, f, known)
}

// run carries out one request, and answers when it fails. known says whether
// it came from somebody who had signed in; ctx tells the trace, and nothing else.
func (s *Session) run(ctx context.Context, c *command, f *wirev1.ClientFrame, known bool) {
	err := error(nil)
	if c.check != nil {
		err = c.check(s, f)
	}
	if err == nil && !c.anonymous && !known {
		err = errs.New(errs.Unauthenticated, "sign in first, with auth")
	}
	if err == nil && !c.guests && !c.anonymous {
		err = s.notForGuests()
	}
	if err == nil && c.history {
		err = s.awaitHistory()
	}
	if err == nil {
		// Nothing ends what runs on the reading goroutine but what it bounds
		// itself; the connection's end is found out by reading.
		if s.hub.slow(c) {
			var cancel context.CancelFunc
			ctx, cancel = s.asking(ctx)
			defer cancel()
		}
		err = c.run(ctx, s, f)
	}
	if err != nil && !s.isLeaving() {
		s.failed(ctx, f.Id, err)
	}
	if err != nil || !c.later {
		s.traced(ctx, err)
	}
}

// asking gives the context of a slow request, of which one runs at a time. It
// ends with the connection.
func (s *Session) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.hub.opts.CommandTimeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		cancel()
	}
	s.abort = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.abort = nil
	}
}

func (s *Session) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// awaitHistory waits until the client has taken the history that it was sent
// last, so that one that asks and does not read is sent no more. While all
// clients together have too much of it waiting, nobody gets more.
func (s *Session) awaitHistory() error {
	for pause := time.Millisecond; !s.conn.HistoryWritten(); pause = min(2*pause, 50*time.Millisecond) {
		time.Sleep(pause)
		if code, _ := s.conn.Ended(); code != 0 || s.isLeaving() {
			return errs.New(errs.Unavailable, "the connection is closing")
		}
	}
	if s.hub.tooMuchHistory() {
		return &errs.Error{Code: errs.Unavailable, Message: "too much history is being sent, try again", RetryAfter: errs.DefaultRetryAfter}
	}
	return nil
}

// maxBad is how many bad messages a client may send in a minute (PROTOCOL.md,
// section 6).
const maxBad = 100

// fail answers with an error what is no request yet.
func (s *Session) fail(id *string, err error) { s.failed(context.Background(), id, err) }

// failed answers a request with an error; ctx tells its trace.
func (s *Session) failed(ctx context.Context, id *string, err error) {
	e := errs.From(err)
	switch e.Code {
	case errs.Internal:
		s.log.of(ctx, slog.LevelError, "a request failed", "error", err)
	case errs.Unavailable:
		// A line a second says as much as one for each request of an outage.
		s.hub.complain.Do(func() { s.log.of(ctx, slog.LevelWarn, "a request failed", "error", err) })
	default:
		// Not the error, which may quote what the client said.
		s.log.of(ctx, slog.LevelDebug, "refused", "code", string(e.Code), "field", e.Field)
	}
	s.hub.countFailure(e.Code)
	answer := &wirev1.Error{Code: string(e.Code), Message: e.Message}
	if e.Field != "" {
		answer.Field = &e.Field
	}
	if e.RetryAfter > 0 {
		ms := (e.RetryAfter + time.Millisecond - 1).Milliseconds() // up: a moment early is refused again
		answer.RetryAfterMs = &ms
	}
	s.reply(id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Error{Error: answer}})
	if e.Code == errs.BadMessage {
		s.countBad()
	}
}

func (s *Session) countBad() {
	s.mu.Lock()
	if now := s.hub.now(); s.bad == 0 || now-s.badSince > time.Minute {
		s.badSince, s.bad = now, 0
	}
	s.bad++
	over := s.bad >= maxBad
	s.mu.Unlock()
	if over {
		s.close(conn.Policy, "too many bad messages")
	}
}

// coded makes a coded error of what the codec found.
func coded(err error) error {
	if e, ok := err.(*frame.Error); ok {
		return &errs.Error{Code: errs.Code(e.Code), Field: e.Field, Message: e.Message}
	}
	return err
}

// reply sends a frame to this client alone.
func (s *Session) reply(id *string, f *wirev1.ServerFrame) {
	f.Id = id
	s.send(fanout.NewOutgoing(f), nil)
}
