package parley

import (
	"encoding/json"
	"fmt"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Event is what [Room.Events] and [Client.Events] give. Of a room: [Message],
// [Edited], [Deleted] and [Gap], which are in the order of its log and never
// missing; [Signal], [Joined], [Left], [Stats] and [Updated], the oldest of
// which go where too many wait. Of a client: [Presence], [Broadcast], [GoingAway]
// and [Trouble].
type Event interface{ event() }

// User is who did something. Live messages of the lobby tell the username only.
type User struct{ ID, Username string }

// Message is an entry of a room's log that somebody sent.
type Message struct {
	Room string
	// Seq is its place in the log.
	Seq int64
	// ID is what its sender called it, "" where that gave no name.
	ID   string
	User User
	// Content is its text, Data what came beside it or instead; nil without.
	Content string
	Data    json.RawMessage
	Time    time.Time
	// Live tells whether it came as it was sent, and not out of the log.
	Live bool
}

// Edited is new content of an earlier message.
type Edited struct {
	Room string
	Seq  int64
	// Target is the Seq of the message.
	Target  int64
	User    User
	Content string
	Time    time.Time
	Live    bool
}

// Deleted says that an earlier message is gone from the log.
type Deleted struct {
	Room string
	Seq  int64
	// Target is the Seq of the message.
	Target int64
	User   User
	Time   time.Time
	Live   bool
}

// Gap says that messages are missing at this place: the log does not have them any
// more. The newest follow. It is also an error, for [Room.Messages].
type Gap struct {
	Room string
	// OldestSeq is the oldest that the log still holds, 0 where that is not told.
	OldestSeq int64
	// OtherLog: the room was made anew, or restored from a backup, and earlier
	// places mean nothing; otherwise retention has dropped what is missing.
	OtherLog bool
}

// Error tells what is missing.
func (g Gap) Error() string {
	if g.OtherLog {
		return fmt.Sprintf("room %s: its log is another one", g.Room)
	}
	return fmt.Sprintf("room %s: messages are missing, its log begins at %d", g.Room, g.OldestSeq)
}

// Signal is what somebody told who was there, and is stored nowhere.
type Signal struct {
	Room, Name string
	Data       json.RawMessage
	User       User
}

// Joined says that a user came into the room, with the first device.
type Joined struct {
	Room        string
	User        User
	MemberCount int64
}

// Left says that a user went, with the last device.
type Left struct {
	Room        string
	User        User
	MemberCount int64
}

// Stats comes instead of Joined and Left where many are.
type Stats struct {
	Room        string
	MemberCount int64
}

// Updated tells the settings of the room that are in force now.
type Updated struct{ *wirev1.RoomUpdated }

// Presence says how available somebody is who shares a room.
type Presence struct {
	User User
	// Status is online, away or busy.
	Status, Text string
}

// Broadcast is an administrator's word to everybody.
type Broadcast struct {
	From    User
	Content string
	Time    time.Time
}

// Invited says that the user belongs to a room from now on: one to which
// somebody has invited them, or a direct one that was opened for the first time.
// It is not joined by that. It may be lost with a connection; lists of rooms have
// the room.
type Invited struct {
	Room string
	// By is who did it: empty for a back end, the user for a room that they
	// opened on another device.
	By User
}

// GoingAway says that the gateway is about to close the connection; the client
// comes back by itself.
type GoingAway struct{ ReconnectIn time.Duration }

// Trouble is an error that answers nothing that anybody waits for.
type Trouble struct{ *Error }

func (Message) event()   {}
func (Edited) event()    {}
func (Deleted) event()   {}
func (Gap) event()       {}
func (Signal) event()    {}
func (Joined) event()    {}
func (Left) event()      {}
func (Stats) event()     {}
func (Updated) event()   {}
func (Presence) event()  {}
func (Broadcast) event() {}
func (Invited) event()   {}
func (GoingAway) event() {}
func (Trouble) event()   {}

func user(u *wirev1.User) User { return User{u.GetId(), u.GetUsername()} }

// entry is one of a room's log: what it is, where it stands, and what it follows.
type entry struct {
	Event
	seq, prev int64
	id        string
	user      User
}

// isEntry tells whether a frame is of a room's log.
func isEntry(f *wirev1.ServerFrame) bool {
	switch f.Event.(type) {
	case *wirev1.ServerFrame_ChatMessage, *wirev1.ServerFrame_RoomMessage, *wirev1.ServerFrame_Chat,
		*wirev1.ServerFrame_MessageEdited, *wirev1.ServerFrame_MessageDeleted:
		return true
	}
	return false
}

// readEntry reads a frame of a room's log, as the entry that it is; false for
// frames that are none.
func readEntry(room string, f *wirev1.ServerFrame, live bool) (entry, bool) {
	e := entry{id: f.GetId()}
	message := func(m *wirev1.Message) {
		e.seq, e.prev, e.user = m.Seq, m.GetPrev(), user(m.User)
		e.Event = Message{Room: room, Seq: m.Seq, ID: e.id, User: e.user, Content: m.GetContent(), Data: m.Data, Time: m.Timestamp.AsTime(), Live: live}
	}
	switch k := f.Event.(type) {
	case *wirev1.ServerFrame_ChatMessage:
		message(k.ChatMessage)
	case *wirev1.ServerFrame_RoomMessage:
		message(k.RoomMessage)
	case *wirev1.ServerFrame_Chat:
		m := k.Chat
		e.seq, e.prev, e.user = m.Seq, m.GetPrev(), User{Username: m.User}
		e.Event = Message{Room: room, Seq: m.Seq, ID: e.id, User: e.user, Content: m.Message, Time: m.Timestamp.AsTime(), Live: live}
	case *wirev1.ServerFrame_MessageEdited:
		m := k.MessageEdited
		e.seq, e.prev, e.user = m.Seq, m.GetPrev(), user(m.User)
		e.Event = Edited{Room: room, Seq: m.Seq, Target: m.Target, User: e.user, Content: m.GetContent(), Time: m.Timestamp.AsTime(), Live: live}
	case *wirev1.ServerFrame_MessageDeleted:
		m := k.MessageDeleted
		e.seq, e.prev, e.user = m.Seq, m.GetPrev(), user(m.User)
		e.Event = Deleted{Room: room, Seq: m.Seq, Target: m.Target, User: e.user, Time: m.Timestamp.AsTime(), Live: live}
	default:
		return entry{}, false
	}
	return e, true
}
