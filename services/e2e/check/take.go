package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// The ids of requests that are no messages.
const (
	idResume = "resume"
	idAuth   = "auth"
	idPing   = "ping"
	idJoin   = "join-"
)

// answerPatience is how long a request may stay unanswered. A gateway answers
// within its command-timeout, so the connection is useless by then.
const answerPatience = 15 * time.Second

// take takes one frame in.
func (c *client) take(l *link, f *wirev1.ServerFrame, token string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := f.Event.(type) {
	case *wirev1.ServerFrame_Welcome:
		if c.writer != nil {
			c.writer.limit(e.Welcome.GetLimits())
		}
		return l.send(c.signIn(token))
	case *wirev1.ServerFrame_AuthSuccess:
		c.enter(e.AuthSuccess.ResumeToken)
		for _, p := range c.places {
			p.joinAt = time.Now()
		}
	case *wirev1.ServerFrame_Resumed:
		c.run.resumes.Add(1)
		c.enter(e.Resumed.ResumeToken)
		for _, p := range c.places {
			c.resumed(p, e.Resumed.Rooms[p.name])
		}
	case *wirev1.ServerFrame_RoomJoined:
		if p := c.byRoom[e.RoomJoined.RoomId]; p != nil {
			c.joined(p, e.RoomJoined)
		}
	case *wirev1.ServerFrame_MessageHistory:
		if p := c.byRoom[e.MessageHistory.RoomId]; p != nil {
			c.history(p, e.MessageHistory)
		}
	case *wirev1.ServerFrame_ChatMessage:
		c.deliver(e.ChatMessage, f.GetId(), Live)
	case *wirev1.ServerFrame_RoomMessage:
		c.deliver(e.RoomMessage, f.GetId(), Live)
	case *wirev1.ServerFrame_Ack:
		if c.writer != nil {
			c.writer.acked(f.GetId(), e.Ack)
		}
	case *wirev1.ServerFrame_GoingAway:
		c.returnIn = time.Duration(e.GoingAway.ReconnectInMs) * time.Millisecond
	case *wirev1.ServerFrame_Error:
		c.refused(l, f.GetId(), e.Error, token)
	case *wirev1.ServerFrame_AuthFailed:
		c.run.count("auth-failed: " + e.AuthFailed.Code)
	case *wirev1.ServerFrame_Kicked, *wirev1.ServerFrame_RoomDeleted:
		c.run.violated(Violation{Kind: Refused, Client: c.index, Detail: "got " + frame.EventType(f)})
	}
	return nil
}

// signIn is what a connection begins with: the session from before where there
// is one.
func (c *client) signIn(token string) *wirev1.ClientFrame {
	if c.resumeToken == "" {
		return &wirev1.ClientFrame{Id: proto.String(idAuth), Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: token}}}
	}
	rooms := make(map[string]*wirev1.Position)
	for _, p := range c.places {
		if p.started {
			rooms[p.name] = &wirev1.Position{Seq: int64(p.last), Epoch: &p.epoch}
		}
	}
	return &wirev1.ClientFrame{Id: proto.String(idResume), Request: &wirev1.ClientFrame_Resume{
		Resume: &wirev1.Resume{ResumeToken: c.resumeToken, Rooms: rooms},
	}}
}

func (c *client) enter(resumeToken string) {
	c.resumeToken, c.ready, c.asked = resumeToken, true, time.Time{}
	if c.writer != nil {
		c.writer.start()
	}
}

// resumed notes how one room stands after a resume.
func (c *client) resumed(p *place, room *wirev1.ResumedRoom) {
	switch {
	case room == nil: // not asked for: it had not begun yet
		p.joinAt = time.Now()
	case room.Error != nil:
		c.run.count("resume of a room: " + *room.Error)
		p.joinAt = time.Now().Add(200 * time.Millisecond)
	default:
		c.stand(p, room.Epoch, room.Recovered, uint64(room.Seq))
	}
}

func (c *client) joined(p *place, joined *wirev1.RoomJoined) {
	p.asked = time.Time{}
	if !p.started {
		p.joined, p.epoch, p.how = true, joined.Epoch, History
		if p.From == 0 {
			p.From = uint64(joined.Seq)
		}
		return
	}
	c.stand(p, joined.Epoch, joined.Recovered, uint64(joined.Seq))
}

// stand notes that the client is in a room again.
func (c *client) stand(p *place, epoch string, recovered bool, seq uint64) {
	if epoch != p.epoch {
		c.run.violated(Violation{Kind: Changed, Room: p.name, Client: c.index, Seq: p.last,
			Detail: fmt.Sprintf("the room's epoch was %s and is %s", p.epoch, epoch)})
		p.epoch = epoch
	}
	p.joined, p.how = true, Recovery
	if !recovered {
		p.how, p.skipped = History, &Gap{After: p.last, Before: never, Seq: seq}
		c.run.unrecovered.Add(1)
	}
}

// history takes in a page of what was before.
func (c *client) history(p *place, page *wirev1.MessageHistory) {
	first := uint64(never)
	if len(page.Messages) > 0 {
		first = seqOf(page.Messages[0])
	}
	if !p.started {
		p.started, p.Since = true, c.run.now()
		if first != never {
			p.From = first - 1
		}
		p.last = p.From
	}
	if p.skipped != nil {
		p.skipped.Before = first
		if first == never {
			p.skipped.Before = p.skipped.Seq + 1
		}
		p.Gaps = append(p.Gaps, *p.skipped)
		p.last = max(p.last, p.skipped.Before-1)
		p.skipped = nil
	}
	for _, f := range page.Messages {
		switch e := f.Event.(type) {
		case *wirev1.ServerFrame_ChatMessage:
			c.deliver(e.ChatMessage, f.GetId(), p.how)
		case *wirev1.ServerFrame_RoomMessage:
			c.deliver(e.RoomMessage, f.GetId(), p.how)
		}
	}
}

func seqOf(f *wirev1.ServerFrame) uint64 {
	if m := f.GetChatMessage(); m != nil {
		return uint64(m.Seq)
	}
	return uint64(f.GetRoomMessage().GetSeq())
}

// deliver records a message.
func (c *client) deliver(m *wirev1.Message, id string, how How) {
	p := c.byRoom[m.RoomId]
	if p == nil {
		return // the lobby's
	}
	k, ok := c.run.judge(m, id)
	if !ok {
		c.run.violated(Violation{Kind: Changed, Room: p.name, Client: c.index, Seq: uint64(m.Seq),
			Detail: fmt.Sprintf("id %q of user %q: not as it was sent", id, m.GetUser().GetId())})
		return
	}
	d := Delivery{Key: k, Seq: uint64(m.Seq), Prev: uint64(m.GetPrev()), At: c.run.now(), Link: c.links, How: how}
	if how == Live && m.Prev == nil {
		c.run.violated(Violation{Kind: Hole, Room: p.name, Client: c.index, Seq: d.Seq, Detail: "live without prev"})
	}
	p.Deliveries = append(p.Deliveries, d)
	p.last = max(p.last, d.Seq)
	c.run.delivered.Add(1)
}

// refused takes an error in.
func (c *client) refused(l *link, id string, e *wirev1.Error, token string) {
	after := max(time.Duration(e.GetRetryAfterMs())*time.Millisecond, 200*time.Millisecond)
	switch {
	case id == idResume:
		c.run.count("resume: " + e.Code)
		if e.Code == "unavailable" {
			l.cut() // somewhere else, soon
			return
		}
		c.resumeToken = ""
		if l.send(c.signIn(token)) != nil {
			l.cut()
		}
	case id == idAuth:
		c.run.count("auth: " + e.Code)
		l.cut()
	case strings.HasPrefix(id, idJoin):
		c.run.count("join-room: " + e.Code)
		if i, err := strconv.Atoi(id[len(idJoin):]); err == nil && i < len(c.places) {
			c.places[i].asked, c.places[i].joinAt = time.Time{}, time.Now().Add(after)
		}
	case c.writer != nil:
		c.writer.refused(id, e, after)
	}
}

// due gives what is to be sent now; an error says that the connection is of no
// use any more.
func (c *client) due(now time.Time) ([]*wirev1.ClientFrame, error) {
	var frames []*wirev1.ClientFrame
	if !c.asked.IsZero() && now.Sub(c.asked) > answerPatience {
		return nil, errSilent
	}
	if now.Sub(c.pinged) > pingEvery {
		c.pinged = now
		frames = append(frames, &wirev1.ClientFrame{Id: proto.String(idPing), Request: &wirev1.ClientFrame_Ping{Ping: &wirev1.Ping{}}})
	}
	if !c.ready {
		return frames, nil
	}
	for i, p := range c.places {
		if !p.asked.IsZero() && now.Sub(p.asked) > answerPatience {
			return nil, errSilent
		}
		if !p.joinAt.IsZero() && now.After(p.joinAt) {
			p.joinAt, p.asked = time.Time{}, now
			join := &wirev1.JoinRoom{RoomId: p.name}
			if p.started {
				join.After, join.Epoch = proto.Int64(int64(p.last)), &p.epoch
			}
			frames = append(frames, &wirev1.ClientFrame{
				Id: proto.String(idJoin + strconv.Itoa(i)), Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: join},
			})
		}
	}
	if c.writer != nil {
		frames = c.writer.due(frames, now)
	}
	return frames, nil
}
