package frame_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var hello = strings.Repeat("Hello, all! ", 11)[:128] // bytes of content

func at() *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(1773480413589)) }

func chatRequest() *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Id: proto.String("c-42"), Request: &wirev1.ClientFrame_ChatMessage{
		ChatMessage: &wirev1.SendMessage{RoomId: "general", Content: &hello},
	}}
}

func chatEvent() *wirev1.ServerFrame {
	return &wirev1.ServerFrame{Id: proto.String("c-42"), Event: &wirev1.ServerFrame_ChatMessage{ChatMessage: &wirev1.Message{
		RoomId: "general", Seq: 4242, Prev: proto.Int64(4241), User: &wirev1.User{Id: "u-ada", Username: "Ada"},
		Content: &hello, Timestamp: at(),
	}}}
}

func ack() *wirev1.ServerFrame {
	return &wirev1.ServerFrame{Id: proto.String("c-42"), Event: &wirev1.ServerFrame_Ack{Ack: &wirev1.Ack{
		RoomId: "general", Seq: proto.Int64(4242), Timestamp: at(),
	}}}
}

func join() *wirev1.ClientFrame {
	return &wirev1.ClientFrame{Id: proto.String("c-42"), Request: &wirev1.ClientFrame_JoinRoom{
		JoinRoom: &wirev1.JoinRoom{RoomId: "general", After: proto.Int64(4242)},
	}}
}

func BenchmarkDecode(b *testing.B) {
	benchmarkDecode(b, "chat-message", client, chatRequest())
	benchmarkDecode(b, "join-room", client, join())
	benchmarkDecode(b, "event/chat-message", server, chatEvent())
	benchmarkDecode(b, "event/ack", server, ack())
}

func benchmarkDecode(b *testing.B, name string, s side, m proto.Message) {
	for _, enc := range []frame.Encoding{frame.JSON, frame.Proto} {
		b.Run(name+"/"+enc.String(), func(b *testing.B) {
			text, err := s.encode(nil, enc, m)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.decode(enc, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	benchmarkEncode(b, "chat-message", server, chatEvent())
	benchmarkEncode(b, "ack", server, ack())
	benchmarkEncode(b, "request/chat-message", client, chatRequest())
	benchmarkEncode(b, "request/join-room", client, join())
}

func benchmarkEncode(b *testing.B, name string, s side, m proto.Message) {
	for _, enc := range []frame.Encoding{frame.JSON, frame.Proto} {
		b.Run(name+"/"+enc.String(), func(b *testing.B) {
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.encode(dst, enc, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
