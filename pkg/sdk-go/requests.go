package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Page says which part of a log is asked for.
type Page struct {
	// Limit is how many entries at most, up to 1000; 0 is 50.
	Limit int
	// Before and After are places (a Seq) that the page ends in front of, or begins
	// behind; 0 is in front of all. With neither it is the newest.
	Before, After *int64
}

// History is a page of a log, oldest first.
type History struct {
	// Events are messages, edits and deletions.
	Events []Event
	// More tells whether the log has more on the side that was not limited.
	More bool
}

// Messages are the messages of the page as they are now: edits are applied, and
// what was deleted is not there.
func (h History) Messages() []Message {
	var list []Message
	at := make(map[int64]int)
	for _, e := range h.Events {
		switch e := e.(type) {
		case Message:
			at[e.Seq] = len(list)
			list = append(list, e)
		case Edited:
			if i, ok := at[e.Target]; ok {
				list[i].Content = e.Content
			}
		}
	}
	return list
}

// History reads a page of the log, which is not given as events. A public room
// need not be joined.
func (r *Room) History(ctx context.Context, p Page) (History, error) {
	q := &wirev1.GetHistory{RoomId: r.id, Before: p.Before, After: p.After}
	if p.Limit != 0 {
		limit := int32(p.Limit)
		q.Limit = &limit
	}
	f, err := r.c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetHistory{GetHistory: q}})
	if err != nil {
		return History{}, err
	}
	page := f.GetMessageHistory()
	h := History{More: page.GetHasMore()}
	for _, f := range page.GetMessages() {
		if e, ok := readEntry(r.id, f, false); ok {
			h.Events = append(h.Events, e.Event)
		}
	}
	return h, nil
}

// Edit gives a message another content.
func (r *Room) Edit(ctx context.Context, target int64, content string) (*wirev1.Ack, error) {
	q := &wirev1.EditMessage{RoomId: r.id, Target: target, Content: &content}
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_EditMessage{EditMessage: q}})
}

// Delete erases a message.
func (r *Room) Delete(ctx context.Context, target int64) (*wirev1.Ack, error) {
	q := &wirev1.DeleteMessage{RoomId: r.id, Target: target}
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_DeleteMessage{DeleteMessage: q}})
}

// MarkRead notes how far the user has read, on all devices.
func (r *Room) MarkRead(ctx context.Context, seq int64) (*wirev1.Ack, error) {
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_MarkRead{MarkRead: &wirev1.MarkRead{RoomId: r.id, Seq: seq}}})
}

// Info tells what is known of the room.
func (r *Room) Info(ctx context.Context) (*wirev1.RoomInfo, error) {
	f, err := r.c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomInfo{GetRoomInfo: &wirev1.GetRoomInfo{RoomId: r.id}}})
	return f.GetRoomInfo(), err
}

// Update changes what the request has of the room's settings.
func (r *Room) Update(ctx context.Context, q *wirev1.UpdateRoom) (*wirev1.Ack, error) {
	q.RoomId = r.id
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_UpdateRoom{UpdateRoom: q}})
}

// Remove ends the room, with its log.
func (r *Room) Remove(ctx context.Context) (*wirev1.Ack, error) {
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_DeleteRoom{DeleteRoom: &wirev1.DeleteRoom{RoomId: r.id}}})
}

// Moderation is what a moderator does to a user.
type Moderation string

// What moderators do.
const (
	Kick   Moderation = "kick"
	Ban    Moderation = "ban"
	Unban  Moderation = "unban"
	Mute   Moderation = "mute"
	Unmute Moderation = "unmute"
)

// Moderate acts on a user. The reason may be empty; until is when a ban or mute
// ends by itself, which one of the zero time does not.
func (r *Room) Moderate(ctx context.Context, what Moderation, userID, reason string, until time.Time) (*wirev1.Ack, error) {
	m := &wirev1.Moderate{RoomId: r.id, UserId: userID}
	if reason != "" {
		m.Reason = &reason
	}
	if !until.IsZero() {
		m.Until = timestamppb.New(until)
	}
	q := new(wirev1.ClientFrame)
	switch what {
	case Kick:
		q.Request = &wirev1.ClientFrame_Kick{Kick: m}
	case Ban:
		q.Request = &wirev1.ClientFrame_Ban{Ban: m}
	case Unban:
		q.Request = &wirev1.ClientFrame_Unban{Unban: m}
	case Mute:
		q.Request = &wirev1.ClientFrame_Mute{Mute: m}
	case Unmute:
		q.Request = &wirev1.ClientFrame_Unmute{Unmute: m}
	default:
		return nil, fmt.Errorf("%q is no moderation", what)
	}
	return r.ack(ctx, q)
}

// SetRole makes a user owner, moderator or member.
func (r *Room) SetRole(ctx context.Context, userID, role string) (*wirev1.Ack, error) {
	q := &wirev1.Moderate{RoomId: r.id, UserId: userID, Role: &role}
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetRole{SetRole: q}})
}

// Invite lets a user into the room, Uninvite out of it.
func (r *Room) Invite(ctx context.Context, userID string) (*wirev1.Ack, error) {
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Invite{Invite: &wirev1.Invite{RoomId: r.id, UserId: userID}}})
}

// Uninvite is explained at Invite.
func (r *Room) Uninvite(ctx context.Context, userID string) (*wirev1.Ack, error) {
	return r.ack(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Uninvite{Uninvite: &wirev1.Invite{RoomId: r.id, UserId: userID}}})
}

func (r *Room) ack(ctx context.Context, q *wirev1.ClientFrame) (*wirev1.Ack, error) {
	f, err := r.c.Ask(ctx, q)
	return f.GetAck(), err
}

// CreateRoom makes a room; false when it exists already.
func (c *Client) CreateRoom(ctx context.Context, q *wirev1.CreateRoom) (bool, error) {
	f, err := c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_CreateRoom{CreateRoom: q}})
	return f.GetRoomCreated().GetSuccess(), err
}

// OpenDirect gives the private room of the user and another, to be joined.
func (c *Client) OpenDirect(ctx context.Context, userID string) (*Room, error) {
	f, err := c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_OpenDirect{OpenDirect: &wirev1.OpenDirect{UserId: userID}}})
	if err != nil {
		return nil, err
	}
	return c.Room(f.GetDirectOpened().GetRoomId()), nil
}

// PresenceOf tells of up to 100 users whether they are online, in their order.
func (c *Client) PresenceOf(ctx context.Context, userIDs ...string) ([]*wirev1.UserPresence, error) {
	f, err := c.Ask(ctx, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetPresence{GetPresence: &wirev1.GetPresence{UserIds: userIDs}}})
	return f.GetPresenceList().GetUsers(), err
}

// JSON marshals data for a [Draft]; it panics where that is impossible, as of a
// channel.
func JSON(data any) json.RawMessage {
	b, err := marshal(data)
	if err != nil {
		panic(err)
	}
	return b
}

// marshal leaves what is no HTML as it is.
func marshal(data any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
