package load

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// The gateway's frames are told apart by their beginning, in both encodings.
func TestLook(t *testing.T) {
	id := "0000002a"
	for want, f := range map[event]*wirev1.ServerFrame{
		ack:            {Id: &id, Event: &wirev1.ServerFrame_Ack{Ack: &wirev1.Ack{RoomId: "r", Seq: proto.Int64(42)}}},
		chatMessage:    {Event: &wirev1.ServerFrame_ChatMessage{ChatMessage: &wirev1.Message{RoomId: "r", Seq: 0x7E, Content: proto.String("~0000002axxx")}}},
		messageHistory: {Event: &wirev1.ServerFrame_MessageHistory{MessageHistory: &wirev1.MessageHistory{RoomId: "r"}}},
		authSuccess:    {Event: &wirev1.ServerFrame_AuthSuccess{AuthSuccess: &wirev1.AuthSuccess{SessionId: "s"}}},
		refusal:        {Id: &id, Event: &wirev1.ServerFrame_Error{Error: &wirev1.Error{Code: "not-joined"}}},
		other:          {Event: &wirev1.ServerFrame_RoomMessage{RoomMessage: &wirev1.Message{RoomId: "r", Seq: 1}}},
	} {
		for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
			b, err := frame.AppendServer(nil, encoding, f)
			if err != nil {
				t.Fatal(err)
			}
			got, gotID := look(encoding, b)
			if got != want {
				t.Errorf("%v: %q is %v, want %v", encoding, b, got, want)
			}
			if n, ok := number(gotID); want == ack && (!ok || n != 42) {
				t.Errorf("%v: %q acknowledges %q", encoding, b, gotID)
			}
			if n, _, ok := marked(b); ok != (want == chatMessage) || ok && n != 42 {
				t.Errorf("%v: %q has number %d, %v", encoding, b, n, ok)
			}
		}
	}
}

// What the load sends is what the gateway's own decoder takes.
func TestRequests(t *testing.T) {
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		r := requests{encoding: encoding}
		b, err := r.message("room", 0xBEEF)
		if err != nil {
			t.Fatal(err)
		}
		_, payload, _ := socket.Next(b)
		f, err := frame.DecodeClient(encoding, payload)
		if err != nil {
			t.Fatal(err)
		}
		content := f.GetChatMessage().GetContent()
		if f.GetId() != "0000beef" || !strings.HasPrefix(content, "~0000beefx") || len(content) != ContentBytes {
			t.Errorf("%v: %v", encoding, f)
		}
		if b, err = r.join("room", 7); err != nil {
			t.Fatal(err)
		}
		_, payload, _ = socket.Next(b)
		if f, err = frame.DecodeClient(encoding, payload); err != nil || f.GetJoinRoom().GetHistory() != 7 {
			t.Errorf("%v: %v, %v", encoding, f, err)
		}
	}
}
