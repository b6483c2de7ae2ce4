// Package ask makes requests, one function for each type that is served.
package ask

import wirev1 "github.com/parley-im/parley/proto/wire/v1"

// Auth makes a request auth.
func Auth(token string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: token}}}
}

// CreateRoom makes a request create-room.
func CreateRoom(r *wirev1.CreateRoom) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_CreateRoom{CreateRoom: r}}
}

// UpdateRoom makes a request update-room.
func UpdateRoom(r *wirev1.UpdateRoom) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_UpdateRoom{UpdateRoom: r}}
}

// DeleteRoom makes a request delete-room.
func DeleteRoom(room string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_DeleteRoom{DeleteRoom: &wirev1.DeleteRoom{RoomId: room}}}
}

// JoinRoom makes a request join-room.
func JoinRoom(r *wirev1.JoinRoom) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: r}}
}

// LeaveRoom makes a request leave-room.
func LeaveRoom(room string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_LeaveRoom{LeaveRoom: &wirev1.LeaveRoom{RoomId: room}}}
}

// ChatMessage makes a request chat-message.
func ChatMessage(r *wirev1.SendMessage) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_ChatMessage{ChatMessage: r}}
}

// RoomMessage makes a request room-message.
func RoomMessage(r *wirev1.SendMessage) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_RoomMessage{RoomMessage: r}}
}

// EditMessage makes a request edit-message.
func EditMessage(r *wirev1.EditMessage) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_EditMessage{EditMessage: r}}
}

// DeleteMessage makes a request delete-message.
func DeleteMessage(room string, target int64) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_DeleteMessage{DeleteMessage: &wirev1.DeleteMessage{RoomId: room, Target: target}}}
}

// MarkRead makes a request mark-read.
func MarkRead(room string, seq int64) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_MarkRead{MarkRead: &wirev1.MarkRead{RoomId: room, Seq: seq}}}
}

// Signal makes a request signal.
func Signal(r *wirev1.SendSignal) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Signal{Signal: r}}
}

// Chat makes a request chat.
func Chat(message string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Chat{Chat: &wirev1.SendChat{Message: message}}}
}

// GetHistory makes a request get-history.
func GetHistory(r *wirev1.GetHistory) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetHistory{GetHistory: r}}
}

// GetRooms makes a request get-rooms.
func GetRooms(r *wirev1.GetRooms) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRooms{GetRooms: r}}
}

// GetRoomInfo makes a request get-room-info.
func GetRoomInfo(room string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomInfo{GetRoomInfo: &wirev1.GetRoomInfo{RoomId: room}}}
}

// GetRoomMembers makes a request get-room-members.
func GetRoomMembers(r *wirev1.GetRoomMembers) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomMembers{GetRoomMembers: r}}
}

// GetOnlineUsers makes a request get-online-users.
func GetOnlineUsers(r *wirev1.GetOnlineUsers) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetOnlineUsers{GetOnlineUsers: r}}
}

// GetPresence makes a request get-presence.
func GetPresence(users ...string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetPresence{GetPresence: &wirev1.GetPresence{UserIds: users}}}
}

// AdminBroadcast makes a request admin-broadcast.
func AdminBroadcast(content string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_AdminBroadcast{AdminBroadcast: &wirev1.AdminBroadcast{Content: content}}}
}

// Configure makes a request configure.
func Configure(r *wirev1.Configure) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Configure{Configure: r}}
}

// Resume makes a request resume.
func Resume(token string, rooms map[string]*wirev1.Position) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Resume{Resume: &wirev1.Resume{ResumeToken: token, Rooms: rooms}}}
}

// SetStatus makes a request set-status; text "" is none.
func SetStatus(status, text string) *wirev1.ClientFrame {
	r := &wirev1.SetStatus{Status: status}
	if text != "" {
		r.Text = &text
	}
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetStatus{SetStatus: r}}
}

// OpenDirect makes a request open-direct.
func OpenDirect(user string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_OpenDirect{OpenDirect: &wirev1.OpenDirect{UserId: user}}}
}

// Ping makes a request ping.
func Ping() *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Ping{Ping: &wirev1.Ping{}}}
}
