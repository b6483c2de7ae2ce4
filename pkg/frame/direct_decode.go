package frame

import (
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// The frames that clients send and get all the time are read without
// reflection: a type of this file is the generated message with a setter.

type (
	sendMessage wirev1.SendMessage
	sendSignal  wirev1.SendSignal
	sendChat    wirev1.SendChat
	message     wirev1.Message
	ack         wirev1.Ack
	user        wirev1.User
	empty       struct{}
)

// directRequest puts the request of type t into the frame and returns its
// setter, or nil if there is no direct path for it.
func directRequest(t *frameType, f *wirev1.ClientFrame) setter {
	switch t.name {
	case "chat-message":
		m := new(wirev1.SendMessage)
		f.Request = &wirev1.ClientFrame_ChatMessage{ChatMessage: m}
		return (*sendMessage)(m)
	case "room-message":
		m := new(wirev1.SendMessage)
		f.Request = &wirev1.ClientFrame_RoomMessage{RoomMessage: m}
		return (*sendMessage)(m)
	case "signal":
		m := new(wirev1.SendSignal)
		f.Request = &wirev1.ClientFrame_Signal{Signal: m}
		return (*sendSignal)(m)
	case "chat":
		m := new(wirev1.SendChat)
		f.Request = &wirev1.ClientFrame_Chat{Chat: m}
		return (*sendChat)(m)
	case "ping":
		f.Request = &wirev1.ClientFrame_Ping{Ping: new(wirev1.Ping)}
		return empty{}
	}
	return nil
}

// directEvent is directRequest for what clients get.
func directEvent(t *frameType, f *wirev1.ServerFrame) setter {
	switch t.name {
	case "chat-message":
		m := new(wirev1.Message)
		f.Event = &wirev1.ServerFrame_ChatMessage{ChatMessage: m}
		return (*message)(m)
	case "room-message":
		m := new(wirev1.Message)
		f.Event = &wirev1.ServerFrame_RoomMessage{RoomMessage: m}
		return (*message)(m)
	case "ack":
		m := new(wirev1.Ack)
		f.Event = &wirev1.ServerFrame_Ack{Ack: m}
		return (*ack)(m)
	}
	return nil
}

func (m *sendMessage) set(f *field, v value) (err *Error) {
	switch f.number {
	case 1:
		m.RoomId, err = v.text()
	case 2:
		m.Content, err = v.optional()
	case 3:
		m.Data, err = v.data()
	}
	return err
}

func (m *sendSignal) set(f *field, v value) (err *Error) {
	switch f.number {
	case 1:
		m.RoomId, err = v.text()
	case 2:
		m.Event, err = v.text()
	case 3:
		m.Data, err = v.data()
	}
	return err
}

func (m *sendChat) set(_ *field, v value) (err *Error) {
	m.Message, err = v.text()
	return err
}

func (empty) set(*field, value) *Error { return nil }

func (m *message) set(f *field, v value) (err *Error) {
	switch f.number {
	case 1:
		m.RoomId, err = v.text()
	case 2:
		m.Seq, err = v.int64()
	case 3:
		m.Prev, err = v.optionalInt64()
	case 4:
		if err = v.want("an object"); err == nil {
			m.User = new(wirev1.User)
			err = readObject(v, f.plan, (*user)(m.User), envelope{})
		}
	case 5:
		m.Content, err = v.optional()
	case 6:
		m.Data, err = v.data()
	case 7:
		m.Timestamp, err = v.time()
	}
	return err
}

func (m *user) set(f *field, v value) (err *Error) {
	switch f.number {
	case 1:
		m.Id, err = v.text()
	case 2:
		m.Username, err = v.text()
	}
	return err
}

func (m *ack) set(f *field, v value) (err *Error) {
	switch f.number {
	case 1:
		m.RoomId, err = v.text()
	case 2:
		m.Seq, err = v.optionalInt64()
	case 3:
		m.Timestamp, err = v.time()
	case 4:
		m.Duplicate, err = v.boolean()
	case 5:
		m.Durability, err = v.optional()
	case 6:
		m.Synced, err = v.optionalBoolean()
	}
	return err
}
