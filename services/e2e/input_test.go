package e2e

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// badInput is a deployment in which a sender says what is wrong, in a room
// where a bystander on the other gateway must notice nothing of it.
type badInput struct {
	s         *stack.Stack
	bystander *client.Client
}

const quiet = "quiet"

func TestBadInput(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) { o.JWTSecret = secret }})
	token := s.Token(t, "bystander")
	for _, part := range []struct {
		name string
		test func(*testing.T, *badInput)
	}{
		{"values", testBadValues},
		{"missing", testMissingFields},
		{"kinds", testWrongKinds},
		{"json", testBadJSON},
		{"protobuf", testBadProtobuf},
		{"frames", testBadFrames},
		{"ids", testBadIDs},
		{"tokens", testBadTokens},
		{"anonymous", testAnonymousRequests},
		{"abuse", testTooManyBadMessages},
		{"rate", testRateLimit},
	} {
		t.Run(part.name, func(t *testing.T) {
			b := &badInput{s: s, bystander: client.Dial(t, s.URLs[1], client.Options{})}
			b.bystander.SignIn(token)
			b.bystander.Join(quiet)
			part.test(t, b)
			b.undisturbed(t)
		})
	}
}

// sender is a signed-in member of the quiet room.
func (b *badInput) sender(t *testing.T, encoding frame.Encoding) *client.Client {
	t.Helper()
	c := client.Dial(t, b.s.URLs[0], client.Options{Encoding: encoding})
	c.SignIn(signHS256(t, secret, claims{"sub": "sender"}))
	c.Join(quiet)
	return c
}

// undisturbed checks that the bystander has heard nothing of what went before,
// and still chats.
func (b *badInput) undisturbed(t *testing.T) {
	t.Helper()
	c := b.sender(t, frame.JSON)
	c.Say(quiet, "after "+t.Name())
	b.bystander.Hear(quiet, "after "+t.Name())
	b.bystander.Say(quiet, "still here")
	b.bystander.Hear(quiet, "still here")
	c.Hear(quiet, "still here")
	for _, event := range []string{"chat-message", "room-message", "signal", "error", "room-deleted", "admin-message", "chat"} {
		if list := b.bystander.Untaken(event); len(list) > 0 {
			t.Errorf("the bystander was sent %v", list)
		}
	}
	c.Close()
}

func text(n int) *string { return proto.String(strings.Repeat("x", n)) }

func dataOf(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }

// aboutRoom are the requests that name a room, about this one.
func aboutRoom(room string) []*wirev1.ClientFrame {
	hello := proto.String("hello")
	return []*wirev1.ClientFrame{
		{Request: &wirev1.ClientFrame_CreateRoom{CreateRoom: &wirev1.CreateRoom{RoomId: room}}},
		{Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: &wirev1.JoinRoom{RoomId: room}}},
		{Request: &wirev1.ClientFrame_LeaveRoom{LeaveRoom: &wirev1.LeaveRoom{RoomId: room}}},
		{Request: &wirev1.ClientFrame_ChatMessage{ChatMessage: &wirev1.SendMessage{RoomId: room, Content: hello}}},
		{Request: &wirev1.ClientFrame_RoomMessage{RoomMessage: &wirev1.SendMessage{RoomId: room, Content: hello}}},
		{Request: &wirev1.ClientFrame_Signal{Signal: &wirev1.SendSignal{RoomId: room, Event: "typing"}}},
		{Request: &wirev1.ClientFrame_GetHistory{GetHistory: &wirev1.GetHistory{RoomId: room}}},
		{Request: &wirev1.ClientFrame_GetRoomInfo{GetRoomInfo: &wirev1.GetRoomInfo{RoomId: room}}},
		{Request: &wirev1.ClientFrame_GetRoomMembers{GetRoomMembers: &wirev1.GetRoomMembers{RoomId: room}}},
		{Request: &wirev1.ClientFrame_GetOnlineUsers{GetOnlineUsers: &wirev1.GetOnlineUsers{RoomId: &room}}},
	}
}

// testBadValues sends fields of the right kind with wrong values.
func testBadValues(t *testing.T, b *badInput) {
	type row struct {
		request     *wirev1.ClientFrame
		code, field string
	}
	var table []row
	add := func(code, field string, requests ...*wirev1.ClientFrame) {
		for _, r := range requests {
			table = append(table, row{r, code, field})
		}
	}
	for _, room := range []string{
		"", "a.b", "*", ">", "quiet.>", "parley.out.0.quiet", " ", "a b", " quiet", "quiet\n", "\x00", "ä", "🙂", "../x",
		"$JS.API.>", "a/b", `a"b`, "a,b", strings.Repeat("x", 65), strings.Repeat("x", 10_000),
	} {
		add("invalid-argument", "roomId", aboutRoom(room)...)
		add("invalid-argument", "rooms", ask.Resume("token", map[string]*wirev1.Position{room: {Seq: 1}}))
		if room != "" {
			add("invalid-argument", "prefix", ask.GetRooms(&wirev1.GetRooms{Prefix: &room}))
		}
	}
	add("invalid-argument", "roomId",
		ask.CreateRoom(&wirev1.CreateRoom{RoomId: "dm:x"}), ask.CreateRoom(&wirev1.CreateRoom{RoomId: "dm:"}))
	add("not-found", "", ask.JoinRoom(&wirev1.JoinRoom{RoomId: "dm:nobody"}))
	for _, limit := range []int32{-1, 0, 1001, -1 << 31, 1<<31 - 1} {
		add("invalid-argument", "limit",
			ask.GetHistory(&wirev1.GetHistory{RoomId: quiet, Limit: &limit}), ask.GetRooms(&wirev1.GetRooms{Limit: &limit}),
			ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: quiet, Limit: &limit}), ask.GetOnlineUsers(&wirev1.GetOnlineUsers{Limit: &limit}))
		if limit != 0 {
			add("invalid-argument", "history", ask.JoinRoom(&wirev1.JoinRoom{RoomId: quiet, History: &limit}))
		}
	}
	for _, seq := range []int64{-1, -1 << 53} {
		add("invalid-argument", "after",
			ask.JoinRoom(&wirev1.JoinRoom{RoomId: quiet, After: &seq}), ask.GetHistory(&wirev1.GetHistory{RoomId: quiet, After: &seq}))
		add("invalid-argument", "before", ask.GetHistory(&wirev1.GetHistory{RoomId: quiet, Before: &seq}))
		add("invalid-argument", "rooms", ask.Resume("token", map[string]*wirev1.Position{quiet: {Seq: seq}}))
	}
	add("invalid-argument", "before", ask.GetHistory(&wirev1.GetHistory{RoomId: quiet, Before: proto.Int64(9), After: proto.Int64(1)}))
	for _, cursor := range []string{"?", "..", "a\x00b", strings.Repeat("x", 513), strings.Repeat("x", 20_000)} {
		add("invalid-argument", "cursor",
			ask.GetRooms(&wirev1.GetRooms{Cursor: &cursor}), ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: quiet, Cursor: &cursor}),
			ask.GetOnlineUsers(&wirev1.GetOnlineUsers{Cursor: &cursor}))
	}
	for _, m := range []*wirev1.SendMessage{{RoomId: quiet, Content: text(17 << 10)}, {RoomId: quiet, Content: text(16<<10 + 1), Data: []byte(`1`)}} {
		add("too-large", "content", ask.ChatMessage(m), ask.RoomMessage(m))
	}
	for _, data := range [][]byte{dataOf(17 << 10), dataOf(16<<10 + 1)} {
		m := &wirev1.SendMessage{RoomId: quiet, Data: data}
		add("too-large", "data", ask.ChatMessage(m), ask.RoomMessage(m), ask.Signal(&wirev1.SendSignal{RoomId: quiet, Event: "e", Data: data}))
	}
	empty := &wirev1.SendMessage{RoomId: quiet, Content: proto.String("")}
	add("invalid-argument", "content", ask.ChatMessage(empty), ask.RoomMessage(empty), ask.AdminBroadcast(""))
	add("too-large", "message", ask.Chat(*text(16<<10 + 1)))
	add("invalid-argument", "message", ask.Chat(""))
	add("too-large", "content", ask.AdminBroadcast(*text(17 << 10)))
	for _, event := range []string{"", strings.Repeat("x", 65), "a\x00", "a\nb"} {
		add("invalid-argument", "event", ask.Signal(&wirev1.SendSignal{RoomId: quiet, Event: event}))
	}
	for _, name := range []string{"", strings.Repeat("x", 129), "a\x00", "a\nb"} {
		add("invalid-argument", "name", ask.CreateRoom(&wirev1.CreateRoom{RoomId: "bad-name", Name: &name}))
	}
	for _, word := range []string{"", "Public", "secret"} {
		add("invalid-argument", "visibility", ask.CreateRoom(&wirev1.CreateRoom{RoomId: "bad-visibility", Visibility: &word}))
		add("invalid-argument", "compression", ask.Configure(&wirev1.Configure{Compression: &word}))
	}
	for _, n := range []int32{-1, 1001} {
		add("invalid-argument", "batch.maxMessages", ask.Configure(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: n}}))
	}
	for _, n := range []int32{-1, 10_001} {
		add("invalid-argument", "batch.intervalMs", ask.Configure(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 5, IntervalMs: n}}))
	}
	add("invalid-argument", "token", ask.Auth(""))
	add("invalid-argument", "resumeToken", ask.Resume("", nil))
	add("resume-failed", "", ask.Resume("nonsense", nil))
	add("invalid-argument", "roomId", ask.LeaveRoom("lobby"), ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: "lobby"}))
	add("not-joined", "", ask.LeaveRoom("elsewhere"), ask.ChatMessage(&wirev1.SendMessage{RoomId: "elsewhere", Content: text(1)}),
		ask.RoomMessage(&wirev1.SendMessage{RoomId: "elsewhere", Content: text(1)}), ask.Signal(&wirev1.SendSignal{RoomId: "elsewhere", Event: "e"}))
	add("forbidden", "", ask.AdminBroadcast("hello"))

	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		t.Run(encoding.String(), func(t *testing.T) {
			c := b.sender(t, encoding)
			for i, row := range table {
				answer := c.Ask(proto.CloneOf(row.request))
				checkError(t, fmt.Sprintf("%d, %.200s", i, row.request), answer, row.code, row.field)
			}
			// What is just inside the limits is taken.
			largest := ask.ChatMessage(&wirev1.SendMessage{RoomId: "largest", Content: text(16 << 10), Data: dataOf(16 << 10)})
			c.Join("largest")
			if answer := c.Ask(largest); answer.GetAck() == nil {
				t.Errorf("the largest message was answered %v", answer)
			}
			if got := c.Hear("largest", *text(16 << 10)); len(got.Data) != 16<<10 {
				t.Errorf("data of %d bytes came", len(got.Data))
			}
			if answer := c.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: strings.Repeat("x", 64)})); answer.GetRoomCreated() == nil {
				t.Errorf("a room id of 64 characters was answered %v", answer)
			}
			c.Close()
		})
	}
}

// checkError checks a refusal: its code, and the field named in it.
func checkError(t *testing.T, what string, answer *wirev1.ServerFrame, code, field string) {
	t.Helper()
	e := answer.GetError()
	if e.GetCode() != code || e.GetField() != field || !strings.Contains(e.GetMessage(), field) || e.GetMessage() == "" {
		t.Errorf("%s: answered %v, want %s of field %q", what, answer, code, field)
	}
}

// testMissingFields sends every request without what it needs.
func testMissingFields(t *testing.T, b *badInput) {
	c := b.sender(t, frame.JSON)
	for kind, needed := range map[string][]string{
		"auth": {"token"}, "create-room": {"roomId"}, "join-room": {"roomId"}, "leave-room": {"roomId"},
		"chat-message": {"roomId", "content"}, "room-message": {"roomId", "content"}, "signal": {"roomId", "event"},
		"chat": {"message"}, "get-history": {"roomId"}, "get-room-info": {"roomId"}, "get-room-members": {"roomId"},
		"get-room-sanctions": {"roomId"},
		"admin-broadcast":    {"content"}, "resume": {"resumeToken"},
	} {
		for _, missing := range needed {
			for _, null := range []bool{false, true} {
				text := fmt.Sprintf(`{"type":%q`, kind)
				for _, field := range needed {
					if field != missing {
						text += fmt.Sprintf(`,%q:%q`, field, quiet)
					} else if null { // the same as missing
						text += fmt.Sprintf(`,%q:null`, field)
					}
				}
				answer := c.AskText(text + "}")
				checkError(t, text, answer, "invalid-argument", missing)
			}
		}
	}
	c.Close()
}

// testWrongKinds sends every field of every request as each JSON kind that it
// is not.
func testWrongKinds(t *testing.T, b *badInput) {
	unserved := map[string]bool{}
	var c *client.Client
	sent := 0
	try := func(kind, field, object string) {
		if c == nil || sent%90 == 0 { // a hundred would be abuse
			if c != nil {
				c.Close()
			}
			c = b.sender(t, frame.JSON)
		}
		sent++
		answer := c.AskText(object)
		if answer.GetError().GetCode() == "unknown-type" {
			unserved[kind] = true
			return
		}
		checkError(t, object, answer, "bad-message", field)
	}
	requests := (&wirev1.ClientFrame{}).ProtoReflect().Descriptor().Oneofs().ByName("request").Fields()
	for i := range requests.Len() {
		kind := strings.ReplaceAll(string(requests.Get(i).Name()), "_", "-")
		fields := requests.Get(i).Message().Fields()
		for j := range fields.Len() {
			f := fields.Get(j)
			for _, value := range wrongValues(f) {
				try(kind, f.JSONName(), fmt.Sprintf(`{"type":%q,%q:%s}`, kind, f.JSONName(), value))
			}
		}
	}
	for _, alias := range []string{"join-room", "leave-room"} {
		try(alias, "room", fmt.Sprintf(`{"type":%q,"room":7}`, alias))
	}
	for _, object := range []struct{ field, text string }{
		{"batch.maxMessages", `{"type":"configure","batch":{"maxMessages":"5"}}`},
		{"batch.intervalMs", `{"type":"configure","batch":{"intervalMs":[]}}`},
		{"rooms", `{"type":"resume","resumeToken":"x","rooms":{"quiet":"5"}}`},
		{"rooms.seq", `{"type":"resume","resumeToken":"x","rooms":{"quiet":{"seq":"5"}}}`},
		{"rooms.epoch", `{"type":"resume","resumeToken":"x","rooms":{"quiet":{"seq":5,"epoch":5}}}`},
	} {
		try("", object.field, object.text)
	}
	if sent < 100 {
		t.Errorf("only %d were sent", sent)
	}
	for _, kind := range []string{"auth", "join-room", "chat-message", "get-history", "configure", "resume"} {
		if unserved[kind] {
			t.Errorf("%s is of unknown type", kind)
		}
	}
	// Integers that are none, or beyond what the protocol carries.
	c = b.sender(t, frame.JSON)
	for _, n := range []string{"1.5", "1.0", "1e3", "9007199254740993", "-9007199254740993", "99999999999999999999"} {
		for field, object := range map[string]string{
			"after":             `{"type":"join-room","roomId":"quiet","after":%s}`,
			"before":            `{"type":"get-history","roomId":"quiet","before":%s}`,
			"limit":             `{"type":"get-rooms","limit":%s}`,
			"history":           `{"type":"join-room","roomId":"quiet","history":%s}`,
			"batch.maxMessages": `{"type":"configure","batch":{"maxMessages":%s}}`,
			"rooms":             `{"type":"resume","resumeToken":"x","rooms":{"quiet":%s}}`,
		} {
			checkError(t, object+n, c.AskText(fmt.Sprintf(object, n)), "invalid-argument", field)
		}
	}
	c.Close()
}

// wrongValues are JSON values of all kinds that a field is not.
func wrongValues(f protoreflect.FieldDescriptor) []string {
	all := map[string]string{"string": `"5"`, "number": `5`, "boolean": `true`, "array": `["5"]`, "object": `{"a":"b"}`}
	switch {
	case f.IsMap():
		delete(all, "object")
	case f.IsList(): // of strings
		all["array"] = `["5",5]`
	case f.Kind() == protoreflect.StringKind:
		delete(all, "string")
	case f.Kind() == protoreflect.BoolKind:
		delete(all, "boolean")
	case f.Kind() == protoreflect.Int32Kind, f.Kind() == protoreflect.Int64Kind:
		delete(all, "number")
	case f.Kind() == protoreflect.BytesKind:
		return nil // any JSON value is right
	case f.Kind() == protoreflect.MessageKind && f.Message().FullName() == "google.protobuf.Timestamp":
		delete(all, "string")
	case f.Kind() == protoreflect.MessageKind:
		delete(all, "object")
	}
	var list []string
	for _, value := range all {
		list = append(list, value)
	}
	return list
}
