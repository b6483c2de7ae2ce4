package fanout

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Event makes the frame of a stored entry as it stands in a message-history.
func Event(s bus.Stored) *wirev1.ServerFrame { return storedFrame(s, nil) }

// liveEvent makes the frame of a stored entry as it is sent live, with the seq
// that it follows. The lobby has a form of its own.
func liveEvent(s bus.Stored, prev uint64) *wirev1.ServerFrame {
	if s.Room == ids.Lobby && s.Entry.Kind != busv1.LogEntry_KIND_EDIT && s.Entry.Kind != busv1.LogEntry_KIND_DELETION {
		return &wirev1.ServerFrame{
			Id: optional(s.Entry.Id),
			Event: &wirev1.ServerFrame_Chat{Chat: &wirev1.Chat{
				User:      s.Entry.User.GetUsername(),
				Message:   s.Entry.GetContent(),
				Seq:       int64(s.Seq),
				Timestamp: millis(s.Entry.TimeMs),
				Prev:      proto.Int64(int64(prev)),
			}},
		}
	}
	return storedFrame(s, proto.Int64(int64(prev)))
}

func storedFrame(s bus.Stored, prev *int64) *wirev1.ServerFrame {
	f := &wirev1.ServerFrame{Id: optional(s.Entry.Id)}
	switch s.Entry.Kind {
	case busv1.LogEntry_KIND_EDIT:
		f.Event = &wirev1.ServerFrame_MessageEdited{MessageEdited: &wirev1.MessageEdited{
			RoomId: s.Room, Seq: int64(s.Seq), Prev: prev, Target: int64(s.Entry.Target),
			User: s.Entry.User, Content: s.Entry.Content, Timestamp: millis(s.Entry.TimeMs),
		}}
	case busv1.LogEntry_KIND_DELETION:
		f.Event = &wirev1.ServerFrame_MessageDeleted{MessageDeleted: &wirev1.MessageDeleted{
			RoomId: s.Room, Seq: int64(s.Seq), Prev: prev, Target: int64(s.Entry.Target),
			User: s.Entry.User, Timestamp: millis(s.Entry.TimeMs),
		}}
	default:
		m := &wirev1.Message{
			RoomId: s.Room, Seq: int64(s.Seq), Prev: prev,
			User: s.Entry.User, Content: s.Entry.Content, Data: s.Entry.Data, Timestamp: millis(s.Entry.TimeMs),
		}
		if s.Entry.Kind == busv1.LogEntry_KIND_ROOM_MESSAGE {
			f.Event = &wirev1.ServerFrame_RoomMessage{RoomMessage: m}
		} else {
			f.Event = &wirev1.ServerFrame_ChatMessage{ChatMessage: m}
		}
	}
	return f
}

// live makes the frames of something that is not stored.
func liveFrames(room string, event *busv1.LiveEvent) []addressed {
	switch e := event.Event.(type) {
	case *busv1.LiveEvent_Signal:
		return []addressed{{except: e.Signal.SessionId, frames: []*Outgoing{ephemeral(&wirev1.ServerFrame{
			Event: &wirev1.ServerFrame_Signal{Signal: &wirev1.Signal{
				RoomId: room, Event: e.Signal.Event, Data: e.Signal.Data, User: e.Signal.User,
			}},
		})}}}
	case *busv1.LiveEvent_Roster:
		return rosterFrames(room, e.Roster)
	case *busv1.LiveEvent_Status:
		presence := &wirev1.Presence{User: e.Status.User, Status: e.Status.Status, Text: optional(e.Status.Text)}
		return []addressed{{
			frames: []*Outgoing{ephemeral(&wirev1.ServerFrame{Event: &wirev1.ServerFrame_Presence{Presence: presence}})},
			about:  []string{e.Status.User.GetId()},
			told:   e.Status.Told,
		}}
	case *busv1.LiveEvent_Changed:
		if e.Changed.GetRoom().GetRoomId() != room {
			return nil
		}
		return []addressed{{frames: []*Outgoing{NewOutgoing(&wirev1.ServerFrame{
			Event: &wirev1.ServerFrame_RoomUpdated{RoomUpdated: e.Changed.Room},
		})}}}
	}
	return nil
}

// addressed is frames for all members but some, who get them in one piece.
type addressed struct {
	frames []*Outgoing
	except string // a session
	// about names the user that each frame is about, who does not get it; nil
	// where all get all.
	about []string
	// told are rooms whose members have got the frames there.
	told []string
}

func (a *addressed) isAbout(m Member) bool {
	return a.about != nil && slices.Contains(a.about, m.UserID())
}

// rosterPiece is how many changes a member gets in one piece at most. Whoever
// one of them is about gets the others of its piece one by one.
const rosterPiece = 32

func rosterFrames(room string, roster *busv1.RosterEvent) []addressed {
	if len(roster.Joined)+len(roster.Left) == 0 {
		return []addressed{{frames: []*Outgoing{ephemeral(&wirev1.ServerFrame{
			Event: &wirev1.ServerFrame_RoomStats{RoomStats: &wirev1.RoomStats{RoomId: room, MemberCount: roster.MemberCount}},
		})}}}
	}
	var pieces []addressed
	add := func(user *wirev1.User, f *wirev1.ServerFrame) {
		if n := len(pieces); n == 0 || len(pieces[n-1].frames) == rosterPiece {
			pieces = append(pieces, addressed{})
		}
		last := &pieces[len(pieces)-1]
		last.frames = append(last.frames, ephemeral(f))
		last.about = append(last.about, user.GetId())
	}
	change := func(user *wirev1.User) *wirev1.RosterChange {
		return &wirev1.RosterChange{RoomId: room, User: user, MemberCount: roster.MemberCount, Timestamp: millis(roster.TimeMs)}
	}
	for _, user := range roster.Joined {
		add(user, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_UserJoined{UserJoined: change(user)}})
	}
	for _, user := range roster.Left {
		add(user, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_UserLeft{UserLeft: change(user)}})
	}
	return pieces
}

// sendable says whether members can be told. What no frame can carry comes from
// nobody of ours, and would end the connection of everybody to whom it is sent.
// JSON carries the least, and mostly somebody is sent it.
func sendable(pieces []addressed) error {
	for _, a := range pieces {
		for _, out := range a.frames {
			if _, err := out.Prepared(frame.JSON); err != nil {
				return err
			}
		}
	}
	return nil
}

func ephemeral(f *wirev1.ServerFrame) *Outgoing { return &Outgoing{Frame: f, Ephemeral: true} }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func millis(ms int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(ms)) }
