package e2e

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// until sends a request until it is answered with a code, "" for success.
func until(t *testing.T, c *client.Client, f *wirev1.ClientFrame, code string) {
	t.Helper()
	stack.Eventually(t, frame.RequestType(f)+" is answered as it should be", func() error {
		if answer := c.Ask(f); answer.GetError().GetCode() != code {
			return fmt.Errorf("answered %v, want %q", answer, code)
		}
		return nil
	})
}

func testMute(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, other := named(t, "a"), named(t, "b")
	owner := signedIn(t, s, 0, encoding, "owner")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Join(room)
	eves := []*client.Client{signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 1, encoding, "eve")}
	for _, c := range eves {
		c.Join(room)
		c.Join(other)
	}
	eves[0].Say(room, "before")
	said := owner.Hear(room, "before")
	message := func(room string) *wirev1.ClientFrame {
		return ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")})
	}
	writes := []*wirev1.ClientFrame{
		message(room),
		ask.RoomMessage(&wirev1.SendMessage{RoomId: room, Data: []byte("1")}),
		ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "typing"}),
		ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: said.Seq, Content: proto.String("y")}),
	}

	start := time.Now()
	wantAck(t, owner, room, ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "eve", Reason: proto.String("noise")}))
	for _, c := range eves {
		until(t, c, message(room), "muted")
	}
	within(t, start, "mute")
	late := signedIn(t, s, 1, encoding, "eve")
	late.Join(room)
	for _, c := range append(eves, late) {
		for _, f := range writes {
			if e := c.AskError(f, "muted"); e.RetryAfterMs != nil {
				t.Errorf("muted for ever: %v", e)
			}
		}
		c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room}))
	}
	until(t, eves[0], message(other), "") // elsewhere she may
	owner.Say(room, "peace")
	eves[1].Hear(room, "peace") // and she goes on reading

	// Also where she comes back to.
	token := late.SignIn(signHS256(t, secret, claims{"sub": "eve"})).ResumeToken
	joined, _ := late.Join(room)
	late.Cut()
	back := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
	resumed := back.Ask(ask.Resume(token, map[string]*wirev1.Position{room: {Seq: joined.Seq}})).GetResumed()
	if got := resumed.GetRooms()[room]; got == nil || got.Error != nil {
		t.Fatalf("resumed %v", resumed)
	}
	back.AskError(message(room), "muted")

	start = time.Now()
	wantAck(t, owner, room, ask.Unmute(&wirev1.Moderate{RoomId: room, UserId: "eve"}))
	for _, c := range append(eves, back) {
		until(t, c, message(room), "")
	}
	within(t, start, "unmute")
}

func testMuteForAWhile(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	owner, eve := signedIn(t, s, 0, encoding, "owner"), signedIn(t, s, 1, encoding, "eve")
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	eve.Join(room)
	message := ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")})
	end := time.Now().Add(1200 * time.Millisecond)
	wantAck(t, owner, room, ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "eve", Until: timestamppb.New(end)}))
	until(t, eve, message, "muted")
	if after := eve.AskError(message, "muted").GetRetryAfterMs(); after < 1 || after > 1200 {
		t.Errorf("retry after %d ms", after)
	}
	until(t, eve, message, "")
	if left := time.Until(end); left > time.Millisecond {
		t.Errorf("it was over %v too early", left)
	}
}

// testMuteInTheLobby: everybody is in the lobby without having been admitted.
func testMuteInTheLobby(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	user := named(t, "eve")
	admin, eve := signedIn(t, s, 0, encoding, "root", "admin"), signedIn(t, s, 1, encoding, user)
	until(t, eve, ask.Chat("x"), "")
	wantAck(t, admin, "lobby", ask.Mute(&wirev1.Moderate{RoomId: "lobby", UserId: user}))
	until(t, eve, ask.Chat("x"), "muted")
	signedIn(t, s, 0, encoding, user).AskError(ask.Chat("x"), "muted") // who comes later
	wantAck(t, admin, "lobby", ask.Unmute(&wirev1.Moderate{RoomId: "lobby", UserId: user}))
	until(t, eve, ask.Chat("x"), "")
}
