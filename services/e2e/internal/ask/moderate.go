package ask

import wirev1 "github.com/parley-im/parley/proto/wire/v1"

// Kick makes a request kick.
func Kick(m *wirev1.Moderate) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Kick{Kick: m}}
}

// Ban makes a request ban.
func Ban(m *wirev1.Moderate) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Ban{Ban: m}}
}

// Mute makes a request mute.
func Mute(m *wirev1.Moderate) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Mute{Mute: m}}
}

// Unmute makes a request unmute.
func Unmute(m *wirev1.Moderate) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Unmute{Unmute: m}}
}

// SetRole makes a request set-role.
func SetRole(room, user, role string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_SetRole{SetRole: &wirev1.Moderate{RoomId: room, UserId: user, Role: &role}}}
}

// Invite makes a request invite.
func Invite(room, user string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Invite{Invite: &wirev1.Invite{RoomId: room, UserId: user}}}
}

// Uninvite makes a request uninvite.
func Uninvite(room, user string) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Uninvite{Uninvite: &wirev1.Invite{RoomId: room, UserId: user}}}
}

// Unban makes a request unban.
func Unban(m *wirev1.Moderate) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Unban{Unban: m}}
}

// GetRoomSanctions makes a request get-room-sanctions.
func GetRoomSanctions(r *wirev1.GetRoomSanctions) *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomSanctions{GetRoomSanctions: r}}
}
