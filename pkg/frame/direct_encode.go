package frame

import wirev1 "github.com/parley-im/parley/proto/wire/v1"

// The frames that are sent all the time are written without reflection.

// directEvent writes the frame and reports true, if there is a direct path.
func (e *encoder) directEvent(f *wirev1.ServerFrame) bool {
	switch ev := f.GetEvent().(type) {
	case *wirev1.ServerFrame_ChatMessage:
		e.head(`{"type":"chat-message"`, f.Id)
		e.message(ev.ChatMessage)
	case *wirev1.ServerFrame_RoomMessage:
		e.head(`{"type":"room-message"`, f.Id)
		e.message(ev.RoomMessage)
	case *wirev1.ServerFrame_Ack:
		e.head(`{"type":"ack"`, f.Id)
		e.ack(ev.Ack)
	case *wirev1.ServerFrame_Chat:
		e.head(`{"type":"chat"`, f.Id)
		e.chat(ev.Chat)
	case *wirev1.ServerFrame_Signal:
		e.head(`{"type":"signal"`, f.Id)
		e.signal(ev.Signal)
	case *wirev1.ServerFrame_Welcome:
		e.head(`{"type":"welcome"`, f.Id)
		e.welcome(ev.Welcome)
	case *wirev1.ServerFrame_AuthSuccess:
		e.head(`{"type":"auth-success"`, f.Id)
		e.authSuccess(ev.AuthSuccess)
	case *wirev1.ServerFrame_RoomJoined:
		e.head(`{"type":"room-joined"`, f.Id)
		e.roomJoined(ev.RoomJoined)
	case *wirev1.ServerFrame_MessageHistory:
		if len(ev.MessageHistory.GetMessages()) > 0 {
			return false
		}
		e.head(`{"type":"message-history"`, f.Id)
		e.at(`,"roomId":`).text(ev.MessageHistory.GetRoomId())
		e.b = append(e.b, `,"messages":[]`...)
		e.at(`,"hasMore":`).boolean(ev.MessageHistory.GetHasMore())
	case *wirev1.ServerFrame_UserJoined:
		e.head(`{"type":"user-joined"`, f.Id)
		e.rosterChange(ev.UserJoined)
	default:
		return false
	}
	e.b = append(e.b, '}')
	return true
}

// directRequest is directEvent for what clients send.
func (e *encoder) directRequest(f *wirev1.ClientFrame) bool {
	switch r := f.GetRequest().(type) {
	case *wirev1.ClientFrame_ChatMessage:
		e.head(`{"type":"chat-message"`, f.Id)
		e.trace(f.Traceparent)
		e.sendMessage(r.ChatMessage)
	case *wirev1.ClientFrame_RoomMessage:
		e.head(`{"type":"room-message"`, f.Id)
		e.trace(f.Traceparent)
		e.sendMessage(r.RoomMessage)
	default:
		return false
	}
	e.b = append(e.b, '}')
	return true
}

func (e *encoder) message(m *wirev1.Message) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	e.at(`,"seq":`).integer(m.GetSeq())
	if m == nil {
		return
	}
	if m.Prev != nil {
		e.at(`,"prev":`).integer(*m.Prev)
	}
	e.user(m.User)
	if m.Content != nil {
		e.at(`,"content":`).text(*m.Content)
	}
	if m.Data != nil {
		e.at(`,"data":`).data(m.Data)
	}
	if m.Timestamp != nil {
		e.at(`,"timestamp":`).time(m.Timestamp)
	}
}

func (e *encoder) user(u *wirev1.User) {
	if u == nil {
		return
	}
	e.b = append(e.b, `,"user":{`...)
	e.at(`,"id":`).text(u.Id)
	e.at(`,"username":`).text(u.Username)
	e.b = append(e.b, '}')
}

func (e *encoder) ack(m *wirev1.Ack) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	if m != nil && m.Seq != nil {
		e.at(`,"seq":`).integer(*m.Seq)
	}
	if t := m.GetTimestamp(); t != nil {
		e.at(`,"timestamp":`).time(t)
	}
	e.at(`,"duplicate":`).boolean(m.GetDuplicate())
	if m != nil && m.Durability != nil {
		e.at(`,"durability":`).text(*m.Durability)
	}
	if m != nil && m.Synced != nil {
		e.at(`,"synced":`).boolean(*m.Synced)
	}
}

func (e *encoder) chat(m *wirev1.Chat) {
	e.at(`,"user":`).text(m.GetUser())
	e.at(`,"message":`).text(m.GetMessage())
	e.at(`,"seq":`).integer(m.GetSeq())
	if t := m.GetTimestamp(); t != nil {
		e.at(`,"timestamp":`).time(t)
	}
	if m != nil && m.Prev != nil {
		e.at(`,"prev":`).integer(*m.Prev)
	}
}

func (e *encoder) signal(m *wirev1.Signal) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	e.at(`,"event":`).text(m.GetEvent())
	if m.GetData() != nil {
		e.at(`,"data":`).data(m.Data)
	}
	e.user(m.GetUser())
}

func (e *encoder) welcome(m *wirev1.Welcome) {
	e.at(`,"message":`).text(m.GetMessage())
	e.at(`,"connectionId":`).text(m.GetConnectionId())
	if t := m.GetTimestamp(); t != nil {
		e.at(`,"timestamp":`).time(t)
	}
	e.at(`,"serverTime":`).integer(m.GetServerTime())
	e.at(`,"heartbeatIntervalMs":`).integer(m.GetHeartbeatIntervalMs())
	e.at(`,"protocol":`).text(m.GetProtocol())
	if l := m.GetLimits(); l != nil {
		e.b = append(e.b, `,"limits":{`...)
		e.at(`,"maxFrameBytes":`).integer(l.MaxFrameBytes)
		e.at(`,"maxContentBytes":`).integer(l.MaxContentBytes)
		e.at(`,"maxDataBytes":`).integer(l.MaxDataBytes)
		e.at(`,"rateLimit":`).double(l.RateLimit)
		e.at(`,"rateBurst":`).integer(l.RateBurst)
		e.at(`,"maxHistory":`).integer(int64(l.MaxHistory))
		e.at(`,"leaseMs":`).integer(l.LeaseMs)
		e.at(`,"authTimeoutMs":`).integer(l.AuthTimeoutMs)
		e.b = append(e.b, '}')
	}
}

func (e *encoder) authSuccess(m *wirev1.AuthSuccess) {
	if u := m.GetUser(); u != nil {
		e.b = append(e.b, `,"user":{`...)
		e.at(`,"id":`).text(u.Id)
		e.at(`,"username":`).text(u.Username)
		e.at(`,"roles":`)
		e.b = append(e.b, '[')
		for i, role := range u.Roles {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.text(role)
		}
		e.b = append(e.b, ']', '}')
	}
	e.at(`,"sessionId":`).text(m.GetSessionId())
	e.at(`,"resumeToken":`).text(m.GetResumeToken())
	if t := m.GetExpiresAt(); t != nil {
		e.at(`,"expiresAt":`).time(t)
	}
}

func (e *encoder) roomJoined(m *wirev1.RoomJoined) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	e.at(`,"memberCount":`).integer(m.GetMemberCount())
	e.at(`,"seq":`).integer(m.GetSeq())
	e.at(`,"epoch":`).text(m.GetEpoch())
	e.at(`,"recovered":`).boolean(m.GetRecovered())
	if m != nil && m.OldestSeq != nil {
		e.at(`,"oldestSeq":`).integer(*m.OldestSeq)
	}
	if m != nil && m.ReadSeq != nil {
		e.at(`,"readSeq":`).integer(*m.ReadSeq)
	}
	if m != nil && m.Unread != nil {
		e.at(`,"unread":`).integer(*m.Unread)
	}
}

func (e *encoder) rosterChange(m *wirev1.RosterChange) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	e.user(m.GetUser())
	e.at(`,"memberCount":`).integer(m.GetMemberCount())
	if t := m.GetTimestamp(); t != nil {
		e.at(`,"timestamp":`).time(t)
	}
}

func (e *encoder) sendMessage(m *wirev1.SendMessage) {
	e.at(`,"roomId":`).text(m.GetRoomId())
	if m != nil && m.Content != nil {
		e.at(`,"content":`).text(*m.Content)
	}
	if m.GetData() != nil {
		e.at(`,"data":`).data(m.Data)
	}
}
