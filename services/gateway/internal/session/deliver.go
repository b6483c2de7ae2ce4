package session

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// mode is how a client has configured what it is sent.
type mode struct {
	gzip  bool
	batch *batch // nil to send each message as it comes
}

// plain is the mode of all that have configured nothing.
var plain mode

func (m *mode) stop() {
	if m.batch != nil {
		m.batch.stop()
	}
}

// Deliver implements fanout.Member.
func (s *Session) Deliver(burst *fanout.Burst, f *conn.Flusher) {
	if m := s.mode.Load(); len(burst.Frames) > 1 && !m.gzip && m.batch == nil && !s.gate.closed.Load() && !s.debug {
		prepared, err := burst.Prepared(s.encoding)
		if err != nil || prepared == nil {
			s.unsendable(err)
			return
		}
		s.hub.sent.Add(int64(len(burst.Frames)))
		f.Send(s.conn, prepared, burst.Ephemeral())
		return
	}
	for _, out := range burst.Frames {
		if !s.gate.hold(out) {
			s.pass(out, f)
		}
	}
}

// pass sends a frame, or puts it into the client's batch.
func (s *Session) pass(out *fanout.Outgoing, f *conn.Flusher) {
	if b := s.mode.Load().batch; b != nil && b.add(out) {
		return
	}
	s.send(out, f)
}

// send queues a frame for the client, to be written when f is flushed, or now
// where that is nil.
func (s *Session) send(out *fanout.Outgoing, f *conn.Flusher) {
	prepare := out.Prepared
	if s.mode.Load().gzip {
		prepare = out.Gzipped
	}
	prepared, err := prepare(s.encoding)
	if err != nil || prepared == nil {
		s.unsendable(err)
		return
	}
	s.hub.sent.Add(1)
	if s.debug {
		s.log.Debug("sent", "type", frame.EventType(out.Frame), "bytes", len(prepared.Payload()))
	}
	switch {
	case out.History && f != nil:
		f.SendHistory(s.conn, prepared)
	case out.History:
		s.conn.SendHistory(prepared)
	case f != nil:
		f.Send(s.conn, prepared, out.Ephemeral)
	default:
		s.conn.Send(prepared, out.Ephemeral)
	}
}

func (s *Session) unsendable(err error) {
	s.log.Error("encoding a frame", "error", err)
	s.close(conn.InternalError, "a message could not be encoded")
}

// SessionID implements fanout.Member.
func (s *Session) SessionID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// UserID implements fanout.Member.
func (s *Session) UserID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return ""
	}
	return s.identity.User.Id
}

// Roles implements fanout.Member.
func (s *Session) Roles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil
	}
	return s.identity.Roles
}

// InAny implements fanout.Member.
func (s *Session) InAny(rooms []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range rooms {
		if s.rooms.in(room) != nil {
			return true
		}
	}
	return false
}

// PutOut implements fanout.Member.
func (s *Session) PutOut(room string, word *fanout.Burst, f *conn.Flusher) {
	s.mu.Lock()
	s.rooms.remove(room)
	session := s.session
	s.mu.Unlock()
	s.hub.opts.Announcer.Left(session, room)
	s.Deliver(word, f)
}

// Missed implements fanout.Member. The lag was the gateway's and the client has
// done nothing wrong, so it is not called slow (4102): 1011 is what RFC 6455
// (section 7.4.1) has for a server that cannot keep what it promised, and after
// it every client comes back with its places and a pause, which a gateway that
// lags needs. What is queued was before the gap and goes out first.
func (s *Session) Missed(string) {
	s.close(conn.InternalError, "messages were dropped before they could be sent: resume")
}

// batch collects a client's room messages, each room's by itself, until there
// are enough of them or the first has waited long enough.
type batch struct {
	session     *Session
	maxMessages int
	interval    time.Duration

	mu      sync.Mutex
	rooms   map[string][]*wirev1.ServerFrame
	bytes   int // of what was collected since all rooms were empty
	timer   *time.Timer
	stopped bool
}

// maxBatchBytes bounds what one client's batches hold, for all of it may go
// out at once: well below what may wait for a client, even where JSON escapes
// make it six times as large.
const maxBatchBytes = 64 << 10

func newBatch(s *Session, maxMessages int, interval time.Duration) *batch {
	return &batch{session: s, maxMessages: maxMessages, interval: interval, rooms: make(map[string][]*wirev1.ServerFrame)}
}

// add takes a stored room message in; false for anything else, and once the
// batch has stopped. What is pending in the room goes out before anything that
// does not belong to a batch but to the room, so that the order stays.
func (b *batch) add(out *fanout.Outgoing) bool {
	room, collect := batchRoom(out.Frame)
	if room == "" {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return false
	}
	if !collect {
		b.flush(room)
		return false
	}
	b.rooms[room] = append(b.rooms[room], out.Frame)
	b.bytes += proto.Size(out.Frame)
	switch {
	case b.bytes >= maxBatchBytes:
		for room := range b.rooms {
			b.flush(room)
		}
		return true
	case len(b.rooms[room]) >= b.maxMessages:
		b.flush(room)
		return true
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(b.interval, b.flushAll)
	}
	return true
}

func (b *batch) flushAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
	for room := range b.rooms {
		b.flush(room)
	}
}

// flush sends what is pending of one room; b.mu is held.
func (b *batch) flush(room string) {
	messages := b.rooms[room]
	if len(messages) == 0 {
		return
	}
	delete(b.rooms, room)
	if len(b.rooms) == 0 {
		b.bytes = 0
	}
	b.session.send(fanout.NewOutgoing(&wirev1.ServerFrame{
		Event: &wirev1.ServerFrame_MessageBatch{MessageBatch: &wirev1.MessageBatch{
			RoomId: room, Messages: messages, Timestamp: timestamppb.Now(),
		}},
	}), nil)
}

// stop sends what is pending and collects nothing more.
func (b *batch) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	if b.timer != nil {
		b.timer.Stop()
	}
	for room := range b.rooms {
		b.flush(room)
	}
}

// batchRoom tells which room a frame belongs to and whether it is collected;
// "" for what belongs to none.
func batchRoom(f *wirev1.ServerFrame) (room string, collect bool) {
	switch e := f.Event.(type) {
	case *wirev1.ServerFrame_ChatMessage:
		return e.ChatMessage.RoomId, true
	case *wirev1.ServerFrame_RoomMessage:
		return e.RoomMessage.RoomId, true
	case *wirev1.ServerFrame_MessageEdited:
		return e.MessageEdited.RoomId, true
	case *wirev1.ServerFrame_MessageDeleted:
		return e.MessageDeleted.RoomId, true
	case *wirev1.ServerFrame_RoomJoined:
		return e.RoomJoined.RoomId, false
	case *wirev1.ServerFrame_MessageHistory:
		return e.MessageHistory.RoomId, false
	case *wirev1.ServerFrame_RoomDeleted:
		return e.RoomDeleted.RoomId, false
	case *wirev1.ServerFrame_Kicked:
		return e.Kicked.RoomId, false
	case *wirev1.ServerFrame_RoomLeft:
		return e.RoomLeft.RoomId, false
	}
	return "", false
}

// gate holds what rooms deliver while a resume is being answered: the answer
// names all rooms and comes before anything that was missed in one of them.
type gate struct {
	closed atomic.Bool // changed with mu held
	mu     sync.Mutex
	held   []*fanout.Outgoing
	bytes  int // about, of held
}

// maxGate is what a gate may hold before no further room is resumed, bytes. A
// room that is under way may exceed it by its own history.
const maxGate = 32 << 20

func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes > maxGate
}

func (g *gate) hold(out *fanout.Outgoing) bool {
	if !g.closed.Load() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed.Load() { // what was held has just gone out
		return false
	}
	g.held = append(g.held, out)
	g.bytes += proto.Size(out.Frame)
	return true
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed.Store(true)
}

// open passes on what was held and holds nothing more.
func (g *gate) open(pass func(*fanout.Outgoing)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, out := range g.held {
		pass(out)
	}
	g.held, g.bytes = nil, 0
	g.closed.Store(false)
}
