package e2e

import (
	"testing"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func TestChatAcrossGateways(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2})
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		t.Run(encoding.String(), func(t *testing.T) {
			room := "general-" + encoding.String()
			alice := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
			alice.Want("welcome")
			me := alice.SignIn(s.Token(t, "alice"))
			if me.User.Username != "alice" || me.SessionId == "" || me.ResumeToken == "" || me.ExpiresAt == nil {
				t.Errorf("auth-success %v", me)
			}
			joined, history := alice.Join(room)
			if joined.MemberCount != 1 || joined.Seq != 0 || joined.Epoch == "" || len(history.Messages) != 0 || history.HasMore {
				t.Errorf("first join: %v, %v", joined, history)
			}
			first := alice.Say(room, "hello?")
			bob := client.Dial(t, s.URLs[1], client.Options{Encoding: encoding})
			bob.SignIn(s.Token(t, "bob"))
			joined, history = bob.Join(room)
			if joined.MemberCount != 2 || joined.Seq != first.GetSeq() || len(history.Messages) != 1 ||
				history.Messages[0].GetChatMessage().GetContent() != "hello?" {
				t.Errorf("second join: %v, %v", joined, history)
			}
			if change := alice.Want("user-joined").GetUserJoined(); change.User.Username != "bob" || change.MemberCount != 2 {
				t.Errorf("user-joined %v", change)
			}
			ack := bob.Say(room, "hello!")
			heard := alice.Hear(room, "hello!")
			if heard.Seq != ack.GetSeq() || heard.GetPrev() != first.GetSeq() || heard.User.Username != "bob" ||
				!heard.Timestamp.AsTime().Equal(ack.Timestamp.AsTime()) {
				t.Errorf("heard %v, acked %v", heard, ack)
			}
			bob.Hear(room, "hello!")
			bob.Send(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_Signal{Signal: &wirev1.SendSignal{RoomId: room, Event: "typing"}}})
			if signal := alice.Want("signal").GetSignal(); signal.Event != "typing" || signal.User.Username != "bob" {
				t.Errorf("signal %v", signal)
			}
			bob.Close()
			if change := alice.Want("user-left").GetUserLeft(); change.User.Username != "bob" || change.MemberCount != 1 {
				t.Errorf("user-left %v", change)
			}
		})
	}
}
