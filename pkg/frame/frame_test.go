package frame_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func TestNames(t *testing.T) {
	if got := frame.JSON.Subprotocol(); got != "parley.v1.json" {
		t.Errorf("JSON is %q", got)
	}
	if got := frame.Proto.Subprotocol(); got != "parley.v1.proto" {
		t.Errorf("Proto is %q", got)
	}
	if got := frame.RequestType(join()); got != "join-room" {
		t.Errorf("type %q", got)
	}
	if got := frame.EventType(ack()); got != "ack" {
		t.Errorf("type %q", got)
	}
	if got := frame.RequestType(nil) + frame.RequestType(&wirev1.ClientFrame{}) +
		frame.EventType(nil) + frame.EventType(&wirev1.ServerFrame{}); got != "" {
		t.Errorf("types %q of frames without one", got)
	}
}

func binary(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantError(t *testing.T, err error, code, field string) {
	t.Helper()
	got, ok := errors.AsType[*frame.Error](err)
	if !ok || got.Code != code || got.Field != field {
		t.Errorf("error %#v, want %s at %q", err, code, field)
	}
}

// A request that has id "r1" and something wrong with it, in binary.
func TestRefusedBinaryRequests(t *testing.T) {
	id := proto.String("r1")
	send := func(data string) *wirev1.ClientFrame_ChatMessage {
		return &wirev1.ClientFrame_ChatMessage{ChatMessage: &wirev1.SendMessage{RoomId: "general", Data: []byte(data)}}
	}
	after := func(n int64) *wirev1.ClientFrame_JoinRoom {
		return &wirev1.ClientFrame_JoinRoom{JoinRoom: &wirev1.JoinRoom{RoomId: "general", After: &n}}
	}
	ban := func(until *timestamppb.Timestamp) *wirev1.ClientFrame_Ban {
		return &wirev1.ClientFrame_Ban{Ban: &wirev1.Moderate{Until: until}}
	}
	newer := protowire.AppendTag([]byte("\x0a\x02r1"), 900, protowire.BytesType)
	newer = protowire.AppendBytes(newer, []byte("what"))
	for name, test := range map[string]struct {
		b           []byte
		code, field string
	}{
		"no request":       {binary(t, &wirev1.ClientFrame{Id: id}), frame.BadMessage, ""},
		"newer request":    {newer, frame.UnknownType, ""},
		"cut off":          {[]byte("\x0a\x02r1\x12\x7f"), frame.BadMessage, ""},
		"invalid UTF-8":    {[]byte("\x0a\x02r1\x12\x03\x0a\x01\xff"), frame.BadMessage, ""},
		"data no JSON":     {binary(t, &wirev1.ClientFrame{Id: id, Request: send("{")}), frame.InvalidArgument, "data"},
		"data empty":       {binary(t, &wirev1.ClientFrame{Id: id, Request: send("")}), frame.InvalidArgument, "data"},
		"data two values":  {binary(t, &wirev1.ClientFrame{Id: id, Request: send("1 2")}), frame.InvalidArgument, "data"},
		"data no UTF-8":    {binary(t, &wirev1.ClientFrame{Id: id, Request: send("\"\xff\"")}), frame.InvalidArgument, "data"},
		"data too deep":    {binary(t, &wirev1.ClientFrame{Id: id, Request: send(strings.Repeat("[", 65) + strings.Repeat("]", 65))}), frame.InvalidArgument, "data"},
		"integer beyond":   {binary(t, &wirev1.ClientFrame{Id: id, Request: after(1<<53 + 1)}), frame.InvalidArgument, "after"},
		"integer below":    {binary(t, &wirev1.ClientFrame{Id: id, Request: after(math.MinInt64)}), frame.InvalidArgument, "after"},
		"time with nanos":  {binary(t, &wirev1.ClientFrame{Id: id, Request: ban(&timestamppb.Timestamp{Nanos: -1})}), frame.InvalidArgument, "until"},
		"time beyond":      {binary(t, &wirev1.ClientFrame{Id: id, Request: ban(&timestamppb.Timestamp{Seconds: 1 << 50})}), frame.InvalidArgument, "until"},
		"integer in a map": {binary(t, &wirev1.ClientFrame{Id: id, Request: &wirev1.ClientFrame_Resume{Resume: &wirev1.Resume{Rooms: map[string]*wirev1.Position{"a": {Seq: 1 << 60}}}}}), frame.InvalidArgument, "rooms.seq"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := frame.DecodeClient(frame.Proto, test.b)
			wantError(t, err, test.code, test.field)
			if f.GetId() != "r1" || f.Request != nil {
				t.Errorf("frame %v beside the error", f)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	for id, valid := range map[string]bool{"": false, "x": true, strings.Repeat("x", 64): true, strings.Repeat("é", 33): false} {
		for _, enc := range []frame.Encoding{frame.JSON, frame.Proto} {
			f := &wirev1.ClientFrame{Id: &id, Request: &wirev1.ClientFrame_Ping{Ping: &wirev1.Ping{}}}
			b, err := frame.AppendClient(nil, enc, f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := frame.DecodeClient(enc, b)
			if valid && (err != nil || got.GetId() != id) {
				t.Errorf("%q in %s: %v, %v", id, enc, got, err)
			}
			if !valid {
				wantError(t, err, frame.InvalidArgument, "id")
				if got.Id != nil {
					t.Errorf("id %q stands beside its refusal", *got.Id)
				}
			}
		}
	}
}

func TestUnknownTypeIsQuotedAndCut(t *testing.T) {
	_, err := frame.DecodeClient(frame.JSON, []byte(`{"type":"a\nb`+strings.Repeat("é", 100)+`"}`))
	wantError(t, err, frame.UnknownType, "type")
	if m := err.Error(); !strings.Contains(m, `"a\nb`) || !strings.Contains(m, `é"…`) || len(m) > 130 {
		t.Errorf("message %s", m)
	}
}

func TestDataFromBinaryIsCompact(t *testing.T) {
	sent := &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Signal{Signal: &wirev1.SendSignal{
		RoomId: "general", Event: "x", Data: []byte("{ \"a b\" :\n[1.50, \" \\\" \"] }"),
	}}}
	f, err := frame.DecodeClient(frame.Proto, binary(t, sent))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.GetSignal().Data), `{"a b":[1.50," \" "]}`; got != want {
		t.Errorf("data %s, want %s", got, want)
	}
}

// A client goes on working when the gateway has learned new events.
func TestNewerEvents(t *testing.T) {
	_, err := frame.DecodeServer(frame.JSON, []byte(`{"type":"hologram","x":1}`))
	wantError(t, err, frame.UnknownType, "type")

	history := &wirev1.ServerFrame{Event: &wirev1.ServerFrame_MessageHistory{MessageHistory: &wirev1.MessageHistory{
		RoomId: "general", Messages: []*wirev1.ServerFrame{{}, chatEvent(), {}},
	}}}
	got, err := frame.DecodeServer(frame.Proto, binary(t, history))
	if err != nil {
		t.Fatal(err)
	}
	if m := got.GetMessageHistory().Messages; len(m) != 1 || !proto.Equal(m[0], chatEvent()) {
		t.Errorf("messages %v", m)
	}
}

func TestFramesInFramesAreBounded(t *testing.T) {
	nest := func(levels int) *wirev1.ServerFrame {
		f := ack()
		for range levels {
			f = &wirev1.ServerFrame{Event: &wirev1.ServerFrame_MessageHistory{
				MessageHistory: &wirev1.MessageHistory{Messages: []*wirev1.ServerFrame{f}},
			}}
		}
		return f
	}
	text, err := frame.AppendServer(nil, frame.JSON, nest(4))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := frame.DecodeServer(frame.JSON, text); err != nil || !proto.Equal(f, nest(4)) {
		t.Errorf("at the bound: %v, %v", f, err)
	}
	deeper := `{"type":"message-history","messages":[` + string(text) + `]}`
	_, err = frame.DecodeServer(frame.JSON, []byte(deeper))
	wantError(t, err, frame.BadMessage, strings.TrimSuffix(strings.Repeat("messages.", 5), "."))
	_, err = frame.DecodeServer(frame.Proto, binary(t, nest(5)))
	wantError(t, err, frame.BadMessage, strings.TrimSuffix(strings.Repeat("messages.", 5), "."))
	if _, err = frame.AppendServer(nil, frame.JSON, nest(5)); err == nil {
		t.Error("written beyond the bound")
	}
	for _, levels := range []int{60, 2000} {
		if _, err := frame.DecodeServer(frame.Proto, binary(t, nest(levels))); err == nil {
			t.Errorf("%d levels: no error", levels)
		}
	}
}

func TestFramesThatCannotBeWritten(t *testing.T) {
	message := func(change func(*wirev1.Message)) *wirev1.ServerFrame {
		f := chatEvent()
		change(f.GetChatMessage())
		return f
	}
	for name, test := range map[string]struct {
		f           *wirev1.ServerFrame
		code, field string
	}{
		"no frame":       {nil, frame.BadMessage, "type"},
		"no event":       {&wirev1.ServerFrame{}, frame.BadMessage, "type"},
		"data no JSON":   {message(func(m *wirev1.Message) { m.Data = []byte("{") }), frame.InvalidArgument, "data"},
		"data empty":     {message(func(m *wirev1.Message) { m.Data = []byte{} }), frame.InvalidArgument, "data"},
		"integer beyond": {message(func(m *wirev1.Message) { m.Seq = 1<<53 + 1 }), frame.InvalidArgument, "seq"},
		"time beyond":    {message(func(m *wirev1.Message) { m.Timestamp.Seconds = 1 << 50 }), frame.InvalidArgument, "timestamp"},
		"no UTF-8":       {message(func(m *wirev1.Message) { m.Content = proto.String("\xff") }), frame.InvalidArgument, ""},
		"no number":      {&wirev1.ServerFrame{Event: &wirev1.ServerFrame_Welcome{Welcome: &wirev1.Welcome{Limits: &wirev1.Limits{RateLimit: math.NaN()}}}}, frame.InvalidArgument, "rateLimit"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := frame.AppendServer([]byte("before"), frame.JSON, test.f)
			wantError(t, err, test.code, test.field)
			if string(b) != "before" {
				t.Errorf("dst came back as %q", b)
			}
		})
	}
	if _, err := frame.AppendServer(nil, frame.Proto, message(func(m *wirev1.Message) { m.Content = proto.String("\xff") })); err == nil {
		t.Error("protobuf carried invalid UTF-8")
	}
	_, err := frame.AppendServer(nil, frame.Proto, &wirev1.ServerFrame{})
	wantError(t, err, frame.BadMessage, "type")
	_, err = frame.AppendClient(nil, frame.Proto, &wirev1.ClientFrame{})
	wantError(t, err, frame.BadMessage, "type")
}

// One frame goes to many connections: writing it must not change it.
func TestOneFrameWrittenByMany(t *testing.T) {
	f := chatEvent()
	f.GetChatMessage().Data = []byte(`{ "a": [1, 2] }`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				text, err := frame.AppendServer(nil, frame.JSON, f)
				if err != nil || !strings.Contains(string(text), `"data":{"a":[1,2]}`) {
					t.Errorf("%s, %v", text, err)
					return
				}
			}
		})
	}
	all.Wait()
}
