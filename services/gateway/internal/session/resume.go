package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// ResumeTTL is how long a resume token is good (PROTOCOL.md, section 3).
const ResumeTTL = time.Hour

// maxResumeRooms bounds how many rooms one resume may name.
const maxResumeRooms = 1000

// Resumption is what a resume token says: enough to go on without asking
// anybody who the user is.
type Resumption struct {
	Identity Identity
	Session  string
	SignedAt time.Time
}

// resumeToken makes a token for this session as it is now.
func (s *Session) resumeToken() string {
	s.mu.Lock()
	r := Resumption{Identity: *s.identity, Session: s.session, SignedAt: s.signedAt}
	s.mu.Unlock()
	token, err := s.hub.opts.SignResume(r)
	if err != nil {
		// Without one the client signs in anew, which is no harm.
		s.log.Error("making a resume token", "error", err)
	}
	return token
}

// resumeCommand continues a session on a new connection, on any gateway. It
// runs on the reading goroutine, as auth does: what follows needs it done.
var resumeCommand = &command{
	anonymous: true, signsIn: true, history: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		r := f.GetResume()
		if r.ResumeToken == "" {
			return errs.Invalid("resumeToken", "is missing")
		}
		if len(r.Rooms) > maxResumeRooms {
			return errs.Invalid("rooms", "are more than %d", maxResumeRooms)
		}
		for id, position := range r.Rooms {
			if err := ids.CheckRoom("rooms", id); err != nil {
				return err
			}
			if position.GetSeq() < 0 {
				return errs.Invalid("rooms", "have a negative seq")
			}
		}
		return nil
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		if s.who() != nil {
			return errs.New(errs.ResumeFailed, "the connection is signed in already")
		}
		r, err := s.hub.opts.ReadResume(f.GetResume().ResumeToken)
		if err == nil && !r.Identity.ExpiresAt.IsZero() && !r.Identity.ExpiresAt.After(time.Now()) {
			err = errs.New(errs.Unauthenticated, "the token behind it has expired")
		}
		if err == nil && r.Identity.madeUp() && !s.hub.opts.Guests.Welcome {
			err = errs.New(errs.Unauthenticated, "guests are not let in")
		}
		if err == nil {
			err = s.hub.opts.Revoked(&r.Identity)
		}
		if err != nil {
			return &errs.Error{Code: errs.ResumeFailed, Message: "the resume token is not good: " + errs.From(err).Message, Cause: err}
		}
		r.Identity.Roles = s.hub.opts.RolesInForce(&r.Identity)
		identity, err := s.mayConnect(ctx, &r.Identity, true)
		if err != nil {
			return err
		}
		r.Identity = *identity
		return s.resume(ctx, f.Id, r, f.GetResume().Rooms)
	},
}

func (s *Session) resume(ctx context.Context, id *string, r *Resumption, positions map[string]*wirev1.Position) error {
	ctx, cancel := context.WithTimeout(ctx, s.hub.opts.CommandTimeout)
	defer cancel()
	s.mu.Lock()
	s.signedAt = r.SignedAt
	s.mu.Unlock()

	// Membership and bans are checked anew.
	rooms := make(map[string]*wirev1.ResumedRoom, len(positions))
	admissions := make(map[string]*registryv1.AdmitResponse, len(positions))
	var admitted []string
	most := s.hub.opts.MaxRooms
	for room := range positions {
		var answer *registryv1.AdmitResponse
		if most > 0 && room != ids.Lobby && len(admitted) >= most {
			code := string(errs.Forbidden)
			rooms[room] = &wirev1.ResumedRoom{Error: &code}
			continue
		}
		_, err := s.mayJoin(ctx, &r.Identity, r.Session, room)
		if err == nil {
			answer, err = s.hub.admit(ctx, &registryv1.AdmitRequest{RoomId: room, Actor: r.Identity.actor()})
		}
		if err != nil {
			code := string(errs.CodeOf(err))
			rooms[room] = &wirev1.ResumedRoom{Error: &code}
			continue
		}
		rooms[room] = &wirev1.ResumedRoom{Epoch: answer.Room.Epoch}
		admissions[room] = answer
		if room != ids.Lobby {
			admitted = append(admitted, room)
		}
	}
	// Announced with its rooms at once, so that it never shows as gone.
	if _, err := s.adopt(ctx, &r.Identity, r.Session, admitted, false); err != nil {
		return err
	}
	s.log.of(ctx, slog.LevelInfo, "resumed", "user", r.Identity.User.Id, "session", r.Session, "remote", s.conn.RemoteAddr(), "agent", s.conn.UserAgent(), "rooms", len(admitted))

	s.refuseFull(ctx, admissions, rooms)
	s.gate.shut()
	defer s.gate.open(func(out *fanout.Outgoing) { s.pass(out, nil) })
	for room, answer := range rooms {
		switch {
		case answer.Error != nil:
		case s.gate.full() || s.hub.tooMuchHistory():
			// What is held already goes out; this room the client joins anew.
			s.forget(room)
			code := string(errs.Unavailable)
			answer.Error = &code
		default:
			s.resumeRoom(ctx, room, positions[room], admissions[room], answer)
		}
	}
	resumed := &wirev1.Resumed{SessionId: r.Session, Rooms: rooms}
	if known, err := s.hub.opts.Presence.CountRooms(ctx, &presencev1.CountRoomsRequest{
		RoomIds: admitted, SessionId: r.Session, Seen: s.hub.seen(),
	}); err == nil {
		for room, n := range known.Counts {
			rooms[room].MemberCount = n
		}
		if known.Status != nil {
			// It was set on whichever gateway the session was on.
			s.hub.opts.Announcer.Recalled(r.Session, known.Status.Status, known.Status.Text)
			resumed.Status = &known.Status.Status
			if known.Status.Text != "" {
				resumed.Text = &known.Status.Text
			}
		}
	}
	resumed.User, resumed.ResumeToken = s.who().account(), s.resumeToken()
	s.reply(id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_Resumed{Resumed: resumed}})
	return nil
}

// refuseFull keeps the session out of rooms that have filled up while it was
// away. Within its lease it has been one of their users all the time.
func (s *Session) refuseFull(ctx context.Context, admissions map[string]*registryv1.AdmitResponse, answers map[string]*wirev1.ResumedRoom) {
	for room, admitted := range admissions {
		limit := s.limitOf(admitted)
		if limit == 0 {
			continue
		}
		counts, err := s.hub.countRooms(ctx, []string{room})
		code := string(errs.CodeOf(err))
		if err == nil && counts[room] > limit {
			code = string(errs.Forbidden)
		}
		if code != "" {
			s.forget(room)
			answers[room] = &wirev1.ResumedRoom{Error: &code}
		}
	}
}

// resumeRoom brings the session back into one room.
func (s *Session) resumeRoom(ctx context.Context, room string, position *wirev1.Position, admitted *registryv1.AdmitResponse, answer *wirev1.ResumedRoom) {
	if lobby := s.room(room); lobby != nil {
		s.hub.opts.Rooms.Leave(ctx, lobby)
	}
	after := uint64(position.GetSeq())
	place, err := s.hub.opts.Rooms.Join(ctx, fanout.Request{
		Room: room, Member: s, NoReply: true,
		Epoch: answer.Epoch, ClientEpoch: position.Epoch, After: &after, History: defaultMessages,
		MutedUntil: mutedUntil(admitted.Mute), Record: admitted.Room, Role: admitted.Own,
	})
	if err != nil {
		s.forget(room)
		code := string(errs.CodeOf(err))
		answer.Error = &code
		return
	}
	s.enter(ctx, place.Membership)
	answer.Recovered, answer.Seq = place.Recovered, int64(place.Seq)
	if !place.Recovered {
		oldest := int64(place.Oldest)
		answer.OldestSeq = &oldest
	}
}
