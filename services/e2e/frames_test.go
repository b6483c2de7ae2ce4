package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/gateway"
)

// testBadJSON sends text messages that are no request at all. The reply has
// the id where one can be read.
func testBadJSON(t *testing.T, b *badInput) {
	c := b.sender(t, frame.JSON)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, row := range []struct{ text, id, code, field string }{
		{"", "", "bad-message", ""},
		{" ", "", "bad-message", ""},
		{"hello", "", "bad-message", ""},
		{"\x00", "", "bad-message", ""},
		{"null", "", "bad-message", ""},
		{"5", "", "bad-message", ""},
		{`"ping"`, "", "bad-message", ""},
		{"true", "", "bad-message", ""},
		{"[]", "", "bad-message", ""},
		{`[{"type":"ping"}]`, "", "bad-message", ""},
		{deep(30_000), "", "bad-message", ""},
		{strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "", "bad-message", ""},
		{"{", "", "bad-message", ""},
		{`{"type":"ping"`, "", "bad-message", ""},
		{`{"type":"ping"}{"type":"ping"}`, "", "bad-message", ""},
		{`{"type":"ping"},`, "", "bad-message", ""},
		{`{type:"ping"}`, "", "bad-message", ""},
		{`{'type':'ping'}`, "", "bad-message", ""},
		{`{"type":"ping",}`, "", "bad-message", ""},
		{`{"type":"pi` + "\n" + `ng"}`, "", "bad-message", ""},
		{`{"type":"chat-message","roomId":"quiet","content":NaN}`, "", "bad-message", ""},
		{`{}`, "", "bad-message", "type"},
		{`{"id":"j1"}`, "j1", "bad-message", "type"},
		{`{"id":"j2","type":null}`, "j2", "bad-message", "type"},
		{`{"id":"j3","type":7}`, "j3", "bad-message", "type"},
		{`{"id":"j4","type":["ping"]}`, "j4", "bad-message", "type"},
		{`{"type":{},"id":"j5"}`, "j5", "bad-message", "type"},
		{`{"type":"fly","id":"j6"}`, "j6", "unknown-type", "type"},
		{`{"id":"j7","type":""}`, "j7", "unknown-type", "type"},
		{`{"id":"j8","type":"Ping"}`, "j8", "unknown-type", "type"},
		{`{"id":"j9","type":"welcome"}`, "j9", "unknown-type", "type"},
		{`{"id":"j10","type":"` + strings.Repeat("x", 5000) + `"}`, "j10", "unknown-type", "type"},
		{`{"id":"j11","type":"chat-message","roomId":"quiet","content":"a","content":"b"}`, "j11", "bad-message", "content"},
		{`{"id":"j12","type":"ping","type":"ping"}`, "j12", "bad-message", "type"},
		{`{"id":"j13","type":"chat-message","roomId":"quiet","data":` + deep(65) + `}`, "j13", "bad-message", "data"},
		{`{"id":"j14","type":"signal","roomId":"quiet","event":"e","data":` + deep(90) + `}`, "j14", "bad-message", "data"},
		{`{"id":"j15","type":"ping","extra":` + deep(200) + `}`, "", "bad-message", ""},
	} {
		c.SendText(row.text)
		answer := c.Wait("an error", func(f *wirev1.ServerFrame) bool { return f.GetError() != nil })
		checkError(t, fmt.Sprintf("%.80q", row.text), answer, row.code, row.field)
		if row.id != "" && answer.GetId() != row.id {
			t.Errorf("%.80q: the answer has id %q", row.text, answer.GetId())
		}
		if len(answer.GetError().GetMessage()) > 300 {
			t.Errorf("%.80q: a message of %d bytes", row.text, len(answer.GetError().GetMessage()))
		}
	}
	// Additions are welcome, and odd but valid JSON is JSON.
	for _, object := range []string{
		`{"type":"ping","future":{"a":[1,2,{"b":null}]}}`,
		` { "type" : "p\u0069ng" } `,
		`{"future":` + deep(60) + `,"type":"ping"}`,
	} {
		if answer := c.AskText(object); answer.GetPong() == nil {
			t.Errorf("%s: answered %v", object, answer)
		}
	}
	c.Close()
}

// testBadProtobuf sends binary messages that are no request.
func testBadProtobuf(t *testing.T, b *badInput) {
	c := b.sender(t, frame.Proto)
	marshal := func(f *wirev1.ClientFrame) []byte {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	withID := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "p1")
	newer := protowire.AppendBytes(protowire.AppendTag(bytes.Clone(withID), 999, protowire.BytesType), []byte{1})
	message := func(m *wirev1.SendMessage) []byte {
		f := ask.ChatMessage(m)
		f.Id = proto.String("p1")
		return marshal(f)
	}
	notText := bytes.Replace(message(&wirev1.SendMessage{RoomId: quiet, Content: proto.String("content")}), []byte("content"), []byte("c\xffntent"), 1)
	for _, row := range []struct {
		raw             []byte
		id, code, field string
	}{
		{nil, "", "bad-message", ""},
		{[]byte{0xff}, "", "bad-message", ""},
		{bytes.Repeat([]byte{0xff}, 1000), "", "bad-message", ""},
		{[]byte(`{"type":"ping"}`), "", "bad-message", ""},
		{make([]byte, 1000), "", "bad-message", ""},
		{notText, "p1", "bad-message", ""},
		{withID, "p1", "bad-message", ""},
		{newer, "p1", "unknown-type", ""},
		{message(&wirev1.SendMessage{RoomId: quiet, Data: []byte(`{"a":`)}), "p1", "invalid-argument", "data"},
		{message(&wirev1.SendMessage{RoomId: quiet, Data: []byte("\"\xff\"")}), "p1", "invalid-argument", "data"},
		{message(&wirev1.SendMessage{RoomId: quiet, Data: []byte(strings.Repeat("[", 1000) + strings.Repeat("]", 1000))}), "p1", "invalid-argument", "data"},
		{message(&wirev1.SendMessage{RoomId: quiet, Data: []byte{}}), "p1", "invalid-argument", "data"},
		{marshal(ask.JoinRoom(&wirev1.JoinRoom{RoomId: quiet, After: proto.Int64(1<<53 + 1)})), "", "invalid-argument", "after"},
		{marshal(ask.GetHistory(&wirev1.GetHistory{RoomId: quiet, Before: proto.Int64(-1 << 63)})), "", "invalid-argument", "before"},
		{marshal(ask.Resume("x", map[string]*wirev1.Position{quiet: {Seq: 1<<63 - 1}})), "", "invalid-argument", "rooms"},
	} {
		c.SendRaw(websocket.MessageBinary, row.raw)
		answer := c.Wait("an error", func(f *wirev1.ServerFrame) bool { return f.GetError() != nil })
		e := answer.GetError()
		if e.Code != row.code || !strings.HasPrefix(e.GetField(), row.field) || answer.GetId() != row.id {
			t.Errorf("%.80q: answered %v", row.raw, answer)
		}
	}
	c.Settle()
	c.Close()
}

// testBadFrames sends what ends a connection, with its code.
func testBadFrames(t *testing.T, b *badInput) {
	text, binary := websocket.MessageText, websocket.MessageBinary
	ping := []byte(`{"type":"ping"}`)
	for _, row := range []struct {
		name     string
		encoding frame.Encoding
		kind     websocket.MessageType
		raw      []byte
		code     int
	}{
		{"invalid UTF-8", frame.JSON, text, []byte("{\"type\":\"ping\",\"x\":\"\xff\"}"), 1007},
		{"half of a surrogate", frame.JSON, text, []byte("{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}"), 1007},
		{"only invalid UTF-8", frame.JSON, text, []byte("\x80"), 1007},
		{"binary on JSON", frame.JSON, binary, ping, 1003},
		{"empty binary on JSON", frame.JSON, binary, nil, 1003},
		{"text on protobuf", frame.Proto, text, ping, 1003},
		{"more than 64 KiB of JSON", frame.JSON, text, []byte(`{"type":"ping","x":"` + strings.Repeat("x", 64<<10) + `"}`), 1009},
		{"more than 64 KiB of protobuf", frame.Proto, binary, make([]byte, 64<<10+1), 1009},
	} {
		c := b.sender(t, row.encoding)
		c.SendRaw(row.kind, row.raw)
		if code := c.Closed(); code != row.code {
			t.Errorf("%s: closed with %d, want %d", row.name, code, row.code)
		}
	}
	// 64 KiB are no more than 64 KiB.
	c := b.sender(t, frame.JSON)
	object := `{"id":"full","type":"ping","x":"`
	c.SendText(object + strings.Repeat("x", 64<<10-len(object)-2) + `"}`)
	c.Reply("full")
	c.Close()
}

// testBadIDs sends ids that are none; the answer has none then.
func testBadIDs(t *testing.T, b *badInput) {
	long := strings.Repeat("i", 65)
	c := b.sender(t, frame.JSON)
	for id, code := range map[string]string{
		`7`: "bad-message", `true`: "bad-message", `[]`: "bad-message", `{}`: "bad-message",
		`""`: "invalid-argument", `"` + long + `"`: "invalid-argument",
	} {
		for _, request := range []string{`"type":"ping"`, `"type":"chat-message","roomId":"quiet","content":"no"`} {
			c.SendText(`{"id":` + id + `,` + request + `}`)
			answer := c.Want("error")
			checkError(t, id, answer, code, "id")
			if answer.Id != nil {
				t.Errorf("%s: the answer has id %q", id, *answer.Id)
			}
		}
	}
	if answer := c.AskText(`{"type":"ping"}`); answer.GetPong() == nil {
		t.Errorf("ping was answered %v", answer)
	}
	c.SendText(`{"id":null,"type":"ping"}`) // the same as none
	if answer := c.Want("pong"); answer.Id != nil {
		t.Errorf("a ping without id was answered %v", answer)
	}
	longest := strings.Repeat("ä", 32)
	c.SendText(`{"id":"` + longest + `","type":"ping"}`)
	c.Reply(longest)
	c.Close()

	c = b.sender(t, frame.Proto)
	for _, id := range []string{"", long} {
		f := ask.ChatMessage(&wirev1.SendMessage{RoomId: quiet, Content: proto.String("no")})
		f.Id = &id
		c.Send(f)
		answer := c.Want("error")
		checkError(t, id, answer, "invalid-argument", "id")
		if answer.Id != nil {
			t.Errorf("%q: the answer has id %q", id, *answer.Id)
		}
	}
	c.Close()
}

// testAnonymousRequests sends every request before signing in.
func testAnonymousRequests(t *testing.T, b *badInput) {
	requests := append(aboutRoom(quiet),
		ask.Chat("hello"), ask.GetRooms(&wirev1.GetRooms{}), ask.GetOnlineUsers(&wirev1.GetOnlineUsers{}), ask.AdminBroadcast("hello"),
		ask.JoinRoom(&wirev1.JoinRoom{RoomId: "dm:nobody"}))
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		c := client.Dial(t, b.s.URLs[0], client.Options{Encoding: encoding})
		for _, r := range requests {
			c.AskError(proto.CloneOf(r), "unauthenticated")
		}
		// Arguments are checked before rights.
		c.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "a.b"}), "invalid-argument")
		c.AskError(ask.Resume("nonsense", nil), "resume-failed")
		c.Settle()
		c.SignIn(signHS256(t, secret, claims{"sub": "sender"}))
		c.Close()
	}
}

// testTooManyBadMessages sends a hundred bad messages.
func testTooManyBadMessages(t *testing.T, b *badInput) {
	for _, signedIn := range []bool{false, true} {
		c := client.Dial(t, b.s.URLs[0], client.Options{})
		if signedIn {
			c = b.sender(t, frame.JSON)
		}
		for range 99 {
			c.SendText("[]")
		}
		c.Settle()
		for range 200 { // only bad messages count
			c.SendText(`{"type":"fly"}`)
		}
		c.Settle()
		c.SendText("[]")
		if code := c.Closed(); code != 1008 {
			t.Errorf("closed with %d", code)
		}
		if n := len(c.Untaken("error")); n != 300 {
			t.Errorf("%d errors came", n)
		}
	}
}

// testRateLimit sends more than a connection may.
func testRateLimit(t *testing.T, b *badInput) {
	n := b.s.AddGateway(t, func(o *gateway.Options) { o.RateLimit, o.RateBurst, o.WeighRequests = 4, 20, true })
	c := client.Dial(t, b.s.URLs[n], client.Options{})
	if limits := c.Want("welcome").GetWelcome().Limits; limits.RateLimit != 4 || limits.RateBurst != 20 {
		t.Errorf("limits %v", limits)
	}
	c.SignIn(signHS256(t, secret, claims{"sub": "hasty"}))
	c.Join("hasty")
	other := client.Dial(t, b.s.URLs[n], client.Options{})
	other.SignIn(signHS256(t, secret, claims{"sub": "patient"}))
	const sent = 60
	for i := range sent {
		f := ask.ChatMessage(&wirev1.SendMessage{RoomId: "hasty", Content: proto.String(fmt.Sprintf("m%d", i))})
		f.Id = proto.String(fmt.Sprintf("m%d", i))
		c.Send(f)
	}
	var acked []string
	for i := range sent {
		id := fmt.Sprintf("m%d", i)
		answer := c.Reply(id)
		if answer.GetAck() != nil {
			acked = append(acked, id)
			continue
		}
		e := answer.GetError()
		if e.GetCode() != "rate-limited" || e.GetRetryAfterMs() < 1 || e.GetRetryAfterMs() > 1000 {
			t.Fatalf("answered %v", answer)
		}
	}
	if len(acked) < 15 || len(acked) > 40 {
		t.Errorf("%d of %d were taken", len(acked), sent)
	}
	other.Settle() // each connection has a limit of its own
	// After the time it was told, which is longer for what counts as 4, it is served
	// again; nothing else was stored.
	read := ask.GetHistory(&wirev1.GetHistory{RoomId: "hasty", Limit: proto.Int32(100)})
	wait := c.AskError(read, "rate-limited").GetRetryAfterMs()
	if wait > 1000 {
		t.Errorf("told to wait %d ms for 4 requests of 4 a second", wait)
	}
	time.Sleep(time.Duration(wait) * time.Millisecond)
	history := c.Ask(read).GetMessageHistory()
	c.AskError(read, "rate-limited") // all four are gone
	if len(history.GetMessages()) != len(acked) {
		t.Fatalf("%d were acknowledged, the log has %v", len(acked), history)
	}
	for i, m := range history.Messages {
		if m.GetId() != acked[i] {
			t.Errorf("the log has %v, acknowledged was %s", m, acked[i])
		}
	}
	c.Close()
	other.Close()
}
