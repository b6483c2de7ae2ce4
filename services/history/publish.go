package history

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// maxDepth bounds how deep data is nested: what the gateways can put into a
// frame.
const maxDepth = 64

// Publish implements historyv1.HistoryServer.
func (s *Service) Publish(ctx context.Context, r *historyv1.PublishRequest) (*historyv1.PublishResponse, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	entry, err := s.entry(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	entry.TimeMs = now.UnixMilli()
	var id string
	if r.Id != "" {
		id = ids.Message(r.RoomId, entry.User.Id, r.Id)
	}
	ack, err := s.bus.Publish(ctx, r.RoomId, id, entry)
	if err != nil {
		return nil, err
	}
	if ack.Duplicate {
		return &historyv1.PublishResponse{Seq: ack.Seq, Duplicate: true}, nil
	}
	s.metrics.published.Add(ctx, 1)
	return &historyv1.PublishResponse{Seq: ack.Seq, Timestamp: timestamppb.New(time.UnixMilli(entry.TimeMs))}, nil
}

// entry checks a request and makes what is stored of it.
func (s *Service) entry(r *historyv1.PublishRequest) (*busv1.LogEntry, error) {
	if err := ids.CheckRoom("roomId", r.RoomId); err != nil {
		return nil, err
	}
	if r.Id != "" {
		if err := ids.CheckRequest("id", r.Id); err != nil {
			return nil, err
		}
	}
	user, err := checkUser(r.User)
	if err != nil {
		return nil, err
	}
	entry := &busv1.LogEntry{Id: r.Id, User: user, Content: r.Content}
	switch r.Kind {
	case historyv1.Message_KIND_UNSPECIFIED, historyv1.Message_KIND_CHAT_MESSAGE:
		entry.Kind = busv1.LogEntry_KIND_CHAT_MESSAGE
	case historyv1.Message_KIND_ROOM_MESSAGE:
		entry.Kind = busv1.LogEntry_KIND_ROOM_MESSAGE
	default:
		return nil, errs.Invalid("kind", "must be a chat message or a room message")
	}
	if r.Content == nil && r.Data == nil {
		return nil, errs.Invalid("content", "is missing, and so is data")
	}
	if err := s.checkContent(r.GetContent()); err != nil {
		return nil, err
	}
	if r.Data != nil {
		if entry.Data, err = s.data(r.Data); err != nil {
			return nil, err
		}
	}
	return entry, nil
}

// checkUser gives whom something is stored of.
func checkUser(user *wirev1.User) (*wirev1.User, error) {
	if user == nil {
		return nil, errs.Invalid("user", "is missing")
	}
	if err := ids.CheckUser("userId", user.Id); err != nil {
		return nil, err
	}
	username, err := ids.Username("username", user.Username)
	if err != nil {
		return nil, err
	}
	return &wirev1.User{Id: user.Id, Username: username}, nil
}

func (s *Service) checkContent(content string) error {
	switch {
	case len(content) > s.opts.MaxContent:
		return tooLarge("content", s.opts.MaxContent)
	case !utf8.ValidString(content):
		return errs.Invalid("content", "is not UTF-8")
	}
	return nil
}

// data checks one JSON value and takes the space out of it.
func (s *Service) data(b []byte) ([]byte, error) {
	if len(b) > s.opts.MaxData {
		return nil, tooLarge("data", s.opts.MaxData)
	}
	// encoding/json puts up with strings that are not UTF-8; a WebSocket text
	// frame does not (RFC 6455, section 5.6).
	if !utf8.Valid(b) || depth(b) > maxDepth {
		return nil, errs.Invalid("data", "must be one JSON value in UTF-8, nested at most %d deep", maxDepth)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, errs.Invalid("data", "must be one JSON value: %v", err)
	}
	return compact.Bytes(), nil
}

// depth tells how deep JSON text is nested; of what is not JSON it tells
// anything.
func depth(b []byte) (deepest int) {
	now, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}

func tooLarge(field string, limit int) error {
	err := errs.New(errs.TooLarge, "%s: is longer than %d bytes", field, limit)
	err.Field = field
	return err
}
