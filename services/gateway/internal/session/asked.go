package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/hook"
)

// What the hook is asked before it happens, where there is one.

// client says on whose behalf.
func (s *Session) client(i *Identity, session string) *hookv1.Client {
	return &hookv1.Client{User: i.User, Roles: i.Roles, Remote: s.conn.RemoteAddr(), SessionId: session}
}

// mayConnect gives whom the connection is to belong to.
func (s *Session) mayConnect(ctx context.Context, i *Identity, resume bool) (*Identity, error) {
	h := s.hub.opts.Hook
	if !h.Asks(hook.Connect) {
		return i, nil
	}
	question := &hookv1.ConnectRequest{Client: s.client(i, ""), Resume: resume, ExpiresAt: timestamp(i.ExpiresAt)}
	answer, err := h.Connect(ctx, question)
	if err != nil || answer.GetUsername() == "" {
		return i, err
	}
	name, err := ids.Username("username", answer.GetUsername())
	if err != nil {
		return nil, h.Bad(hook.Connect, err)
	}
	return i.named(name), nil
}

// named gives the same identity with a name that the hook has chosen.
func (i *Identity) named(name string) *Identity {
	renamed := *i
	renamed.User, renamed.renamed = &wirev1.User{Id: i.User.Id, Username: name}, true
	return &renamed
}

// mayJoin says whether a user may be taken into a room, and whether that makes
// the room where it is not there.
func (s *Session) mayJoin(ctx context.Context, i *Identity, session, room string) (create bool, err error) {
	create = !isDirect(room)
	h := s.hub.opts.Hook
	if room == ids.Lobby || !h.Asks(hook.Join) {
		return create, nil
	}
	answer, err := h.Join(ctx, &hookv1.JoinRequest{Client: s.client(i, session), RoomId: room})
	return create && !answer.GetNoCreate(), err
}

// mayPublish lets the hook change what is about to be stored.
func (s *Session) mayPublish(ctx context.Context, id *string, room string, entry *busv1.LogEntry) error {
	h := s.hub.opts.Hook
	if !h.Asks(hook.Publish) {
		return nil
	}
	question := &hookv1.PublishRequest{
		Client: s.client(s.who(), s.SessionID()), RoomId: room, Content: entry.Content, Data: entry.Data, Target: entry.Target,
	}
	if id != nil {
		question.Id = *id
	}
	switch entry.Kind {
	case busv1.LogEntry_KIND_CHAT_MESSAGE:
		question.Kind = hookv1.PublishRequest_KIND_CHAT_MESSAGE
	case busv1.LogEntry_KIND_ROOM_MESSAGE:
		question.Kind = hookv1.PublishRequest_KIND_ROOM_MESSAGE
	case busv1.LogEntry_KIND_EDIT:
		question.Kind = hookv1.PublishRequest_KIND_EDIT
	}
	answer, err := h.Publish(ctx, question)
	if err != nil {
		return err
	}
	// The right to say it may have ended while the hook was thinking.
	if _, err := s.may(rights.Post, room); err != nil {
		return err
	}
	if answer == nil || answer.Content == nil && answer.Data == nil {
		return nil
	}
	if err := s.alter(room, entry, answer); err != nil {
		return h.Bad(hook.Publish, err)
	}
	return nil
}

// alter puts into an entry what the hook wants there. It goes through the codec
// and the checks of a client's own.
func (s *Session) alter(room string, entry *busv1.LogEntry, answer *hookv1.PublishResponse) error {
	m := &wirev1.SendMessage{RoomId: room, Content: entry.Content, Data: entry.Data}
	if answer.Content != nil {
		m.Content = answer.Content
	}
	if answer.Data != nil {
		m.Data = answer.Data
	}
	raw, err := frame.AppendClient(nil, frame.Proto, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_ChatMessage{ChatMessage: m}})
	if err != nil {
		return err
	}
	f, err := frame.DecodeClient(frame.Proto, raw)
	if err != nil {
		return err
	}
	m = f.GetChatMessage()
	switch {
	case m.Data != nil && entry.Kind == busv1.LogEntry_KIND_EDIT:
		return errs.Invalid("data", "has no place in an edit")
	case m.Data != nil && room == ids.Lobby:
		return errs.Invalid("data", "has no place in the lobby")
	}
	entry.Content, entry.Data = m.Content, m.Data
	return s.checkContent(m.Content, m.Data)
}
