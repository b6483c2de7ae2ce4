package parley

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// golden is a file of proto/testdata/frames.
type golden struct {
	JSON  json.RawMessage
	Also  []json.RawMessage
	Proto string
}

func goldens(t *testing.T, folder string, least int) map[string]golden {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("../../proto/testdata/frames", folder, "*.json"))
	if err != nil || len(paths) < least {
		t.Fatalf("%d files of %s: %v", len(paths), folder, err)
	}
	all := make(map[string]golden)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = g
	}
	return all
}

// forms gives a frame of a gateway in each form that there is.
func (g golden) forms(t *testing.T) []*wirev1.ServerFrame {
	t.Helper()
	var list []*wirev1.ServerFrame
	add := func(enc frame.Encoding, b []byte) {
		f, err := frame.DecodeServer(enc, b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		list = append(list, f)
	}
	binary, err := base64.StdEncoding.DecodeString(g.Proto)
	if err != nil {
		t.Fatal(err)
	}
	add(frame.Proto, binary)
	for _, text := range append([]json.RawMessage{g.JSON}, g.Also...) {
		add(frame.JSON, text)
	}
	return list
}

// Every frame of a gateway, in every form, comes to the application as the same
// event, and those that are events of rooms and clients come as such.
func TestGoldenEvents(t *testing.T) {
	known := map[string]Event{
		"signal": Signal{}, "user-joined": Joined{}, "user-left": Left{}, "room-stats": Stats{}, "room-updated": Updated{},
		"chat-message": Message{}, "room-message": Message{}, "chat": Message{}, "message-edited": Edited{}, "message-deleted": Deleted{},
		"presence": Presence{}, "admin-message": Broadcast{}, "invited": Invited{}, "going-away": GoingAway{}, "error": Trouble{},
	}
	seen := make(map[string]bool)
	for name, g := range goldens(t, "server", 40) {
		var first Event
		for i, f := range g.forms(t) {
			e := told(t, f)
			if i == 0 {
				first = e
			} else if u, ok := e.(Updated); ok && proto.Equal(u.RoomUpdated, first.(Updated).RoomUpdated) {
				continue
			} else if !reflect.DeepEqual(e, first) {
				t.Errorf("%s: form %d is %+v, the first %+v", name, i, e, first)
			}
		}
		kind := frame.EventType(g.forms(t)[0])
		seen[kind] = true
		if want := known[kind]; reflect.TypeOf(want) != reflect.TypeOf(first) {
			t.Errorf("%s is %T, want %T", name, first, want)
		}
	}
	for kind := range known {
		if !seen[kind] {
			t.Errorf("there is no golden %s", kind)
		}
	}
}

// told hands a frame to a client that is in its room, and gives the event that
// comes of it; nil for none.
func told(t *testing.T, f *wirev1.ServerFrame) Event {
	t.Helper()
	c := &Client{rooms: map[string]*Room{}, letters: map[string]*letter{}, feeds: map[*stream]struct{}{}, changed: make(chan struct{})}
	c.options.Buffer = 16
	feed := newStream(16)
	c.feeds[&feed] = struct{}{}
	r := newRoom(c, roomOf(f))
	r.state, r.log.at = in, &Position{Epoch: "e", Seq: 1}
	if e, ok := readEntry("", f, true); ok {
		r.log.at.Seq = e.prev
	}
	c.rooms[r.id] = r
	f = proto.CloneOf(f)
	f.Id = nil // an error would be a reply
	c.frame(&link{calls: map[string]*call{}}, f)
	for _, s := range []*stream{&feed, &r.stream} {
		if e, ok := s.pop(); ok {
			return e
		}
	}
	return nil
}

// A history is what its entries say, with edits and deletions applied.
func TestGoldenHistory(t *testing.T) {
	h := History{Events: []Event{
		Message{Seq: 1, Content: "one"}, Message{Seq: 3, Content: "three"}, Edited{Seq: 4, Target: 1, Content: "1"}, Deleted{Seq: 5, Target: 2},
	}}
	got := h.Messages()
	if len(got) != 2 || got[0].Content != "1" || got[1].Content != "three" {
		t.Errorf("%+v", got)
	}
	for _, f := range goldens(t, "server", 40)["message-history"].forms(t) {
		n := 0
		for _, f := range f.GetMessageHistory().Messages {
			e, ok := readEntry("r", f, false)
			if !ok || e.seq == 0 {
				t.Errorf("%v is no entry", f)
			}
			n++
		}
		if n == 0 {
			t.Error("an empty history")
		}
	}
}

// made is how a request of each type is made by its method; the others are by Ask.
var made = map[string]func(ctx context.Context, c *Client, q *wirev1.ClientFrame){
	"leave-room": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { _ = c.Room("r").Leave(ctx) },
	"set-status": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_ = c.SetStatus(ctx, q.GetSetStatus().Status, q.GetSetStatus().GetText())
	},
	"edit-message": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		m := q.GetEditMessage()
		_, _ = c.Room(m.RoomId).Edit(ctx, m.Target, m.GetContent())
	},
	"delete-message": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetDeleteMessage().RoomId).Delete(ctx, q.GetDeleteMessage().Target)
	},
	"mark-read": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetMarkRead().RoomId).MarkRead(ctx, q.GetMarkRead().Seq)
	},
	"get-history": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		h := q.GetGetHistory()
		_, _ = c.Room(h.RoomId).History(ctx, Page{Limit: int(h.GetLimit()), Before: h.Before, After: h.After})
	},
	"get-room-info": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetGetRoomInfo().RoomId).Info(ctx)
	},
	"create-room": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.CreateRoom(ctx, q.GetCreateRoom())
	},
	"update-room": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetUpdateRoom().RoomId).Update(ctx, q.GetUpdateRoom())
	},
	"delete-room": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetDeleteRoom().RoomId).Remove(ctx)
	},
	"open-direct": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.OpenDirect(ctx, q.GetOpenDirect().UserId)
	},
	"invite": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetInvite().RoomId).Invite(ctx, q.GetInvite().UserId)
	},
	"uninvite": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetUninvite().RoomId).Uninvite(ctx, q.GetUninvite().UserId)
	},
	"set-role": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.Room(q.GetSetRole().RoomId).SetRole(ctx, q.GetSetRole().UserId, q.GetSetRole().GetRole())
	},
	"get-presence": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) {
		_, _ = c.PresenceOf(ctx, q.GetGetPresence().UserIds...)
	},
	"kick":   func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { moderated(ctx, c, Kick, q.GetKick()) },
	"ban":    func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { moderated(ctx, c, Ban, q.GetBan()) },
	"unban":  func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { moderated(ctx, c, Unban, q.GetUnban()) },
	"mute":   func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { moderated(ctx, c, Mute, q.GetMute()) },
	"unmute": func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { moderated(ctx, c, Unmute, q.GetUnmute()) },
	"signal": func(_ context.Context, c *Client, q *wirev1.ClientFrame) {
		var data any
		if d := q.GetSignal().Data; d != nil {
			data = json.RawMessage(d)
		}
		_ = c.Room("r").Signal(q.GetSignal().Event, data)
	},
	"chat-message": func(_ context.Context, c *Client, q *wirev1.ClientFrame) {
		m := q.GetChatMessage()
		_, _ = c.Room("r").Queue(Draft{ID: q.GetId(), Content: m.GetContent(), Data: m.Data})
	},
}

func moderated(ctx context.Context, c *Client, what Moderation, m *wirev1.Moderate) {
	var until time.Time
	if m.Until != nil {
		until = m.Until.AsTime()
	}
	_, _ = c.Room(m.RoomId).Moderate(ctx, what, m.UserId, m.GetReason(), until)
}

// Every frame of a client is what its method sends.
func TestGoldenRequests(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		enter(t, c, s, 0)
		byMethod := 0
		for name, file := range goldens(t, "client", 45) {
			f, err := frame.DecodeClient(frame.JSON, file.JSON)
			if err != nil {
				t.Fatal(name, err)
			}
			kind := frame.RequestType(f)
			switch kind {
			case "auth", "resume", "join-room": // client_test.go
				continue
			}
			do := made[kind]
			if do == nil {
				do = func(ctx context.Context, c *Client, q *wirev1.ClientFrame) { _, _ = c.Ask(ctx, q) }
			} else {
				byMethod++
			}
			go do(ctx, c, proto.CloneOf(f))
			_, b, err := s.ws.Read(ctx)
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := frame.DecodeClient(frame.JSON, b)
			if err != nil {
				t.Fatal(name, err)
			}
			if (got.Id == nil) != (kind == "signal") {
				t.Errorf("%s: the id is %v", name, got.Id)
			}
			inRoomR(f)
			got.Id, f.Id, f.Traceparent = nil, nil, nil
			if !proto.Equal(got, f) {
				t.Errorf("%s: sent %s, want %s", name, b, file.JSON)
			}
			var q struct{ ID string }
			if err := json.NewDecoder(bytes.NewReader(b)).Decode(&q); err != nil {
				t.Fatal(err)
			}
			if q.ID != "" {
				s.say(`{"type":"ack","id":%q,"roomId":"r","seq":1,"duplicate":false}`, q.ID)
			}
			synctest.Wait()
			if kind == "leave-room" {
				enter(t, c, s, 0)
			}
		}
		if byMethod < 20 {
			t.Errorf("only %d by a method", byMethod)
		}
	})
}

// inRoomR moves what needs a room that is joined to the one that is.
func inRoomR(f *wirev1.ClientFrame) {
	for _, q := range []interface{ GetRoomId() string }{f.GetLeaveRoom(), f.GetSignal(), f.GetChatMessage()} {
		if q.GetRoomId() == "" {
			continue
		}
		m := q.(proto.Message).ProtoReflect()
		m.Set(m.Descriptor().Fields().ByName("room_id"), protoreflect.ValueOfString("r"))
	}
}
