package client

import (
	"fmt"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// SignIn authenticates with a token and gives the answer.
func (c *Client) SignIn(token string) *wirev1.AuthSuccess {
	c.t.Helper()
	answer := c.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: token}}})
	if answer.GetAuthSuccess() == nil {
		c.t.Fatalf("auth answered %v", answer)
	}
	return answer.GetAuthSuccess()
}

// Join joins a room and gives its state and the first page of its history.
func (c *Client) Join(room string) (*wirev1.RoomJoined, *wirev1.MessageHistory) {
	c.t.Helper()
	return c.JoinWith(&wirev1.JoinRoom{RoomId: room})
}

// JoinWith is Join with all fields.
func (c *Client) JoinWith(j *wirev1.JoinRoom) (*wirev1.RoomJoined, *wirev1.MessageHistory) {
	c.t.Helper()
	answer := c.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: j}})
	if answer.GetRoomJoined() == nil {
		c.t.Fatalf("join-room %s answered %v", j.RoomId, answer)
	}
	history := c.Wait("message-history", func(f *wirev1.ServerFrame) bool {
		return f.GetMessageHistory() != nil && f.GetId() == answer.GetId()
	})
	return answer.GetRoomJoined(), history.GetMessageHistory()
}

// Say sends a chat-message and gives its ack.
func (c *Client) Say(room, content string) *wirev1.Ack {
	c.t.Helper()
	answer := c.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_ChatMessage{
		ChatMessage: &wirev1.SendMessage{RoomId: room, Content: &content},
	}})
	if answer.GetAck() == nil {
		c.t.Fatalf("chat-message to %s answered %v", room, answer)
	}
	return answer.GetAck()
}

// Hear waits for a chat-message of this content in a room.
func (c *Client) Hear(room, content string) *wirev1.Message {
	c.t.Helper()
	f := c.Wait(fmt.Sprintf("chat-message %.40s", content), func(f *wirev1.ServerFrame) bool {
		m := f.GetChatMessage()
		return m != nil && m.RoomId == room && m.GetContent() == content
	})
	return f.GetChatMessage()
}

// WantError waits for the error that answers a request and checks its code.
func (c *Client) WantError(id, code string) *wirev1.Error {
	c.t.Helper()
	f := c.Wait("error "+code, func(f *wirev1.ServerFrame) bool { return f.GetError() != nil && f.GetId() == id })
	if f.GetError().Code != code {
		c.t.Fatalf("error %v, want code %s", f.GetError(), code)
	}
	return f.GetError()
}

// AskError sends a request that must fail and checks the code.
func (c *Client) AskError(f *wirev1.ClientFrame, code string) *wirev1.Error {
	c.t.Helper()
	answer := c.Ask(f)
	if answer.GetError().GetCode() != code {
		c.t.Fatalf("%s answered %v, want error %s", frame.RequestType(f), answer, code)
	}
	return answer.GetError()
}
