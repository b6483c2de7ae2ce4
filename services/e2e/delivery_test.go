package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

func TestDelivery(t *testing.T) {
	s := stack.Start(t, stack.Options{
		Gateways: 2,
		Gateway:  func(o *gateway.Options) { o.JWTSecret, o.Lease = secret, 2*time.Second },
		Log:      bus.LogConfig{Retention: 1000},
	})
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack.Stack, frame.Encoding)
	}{
		{"ack", testAck},
		{"idempotence", testIdempotence},
		{"fire and forget", testFireAndForget},
		{"chain", testChain},
		{"history", testHistory},
		{"joining after", testJoinAfter},
		{"joining live", testJoinWhileSpoken},
		{"resume", testResume},
		{"resume no flap", testResumeWithoutFlap},
		{"resume refused", testResumeRefused},
		{"batch", testBatch},
		{"compressed", testCompressed},
		{"deflate", testDeflate},
	} {
		for _, encoding := range encodings {
			t.Run(part.name+"/"+encoding.String(), func(t *testing.T) { part.test(t, s, encoding) })
		}
	}
	t.Run("order", func(t *testing.T) { testOrder(t, s) })
	t.Run("slow reader", func(t *testing.T) { testSlowReader(t, s) })
}

// message makes a chat-message with an id.
func message(room, id, content string) *wirev1.ClientFrame {
	f := ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: &content})
	if id != "" {
		f.Id = &id
	}
	return f
}

func testAck(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.Join(room)
	bob.Join(room)
	before := time.Now().Add(-time.Second)
	f := ask.RoomMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("<i>ü🙂\x00\u2028</i>"), Data: []byte(` { "n" : 1.0e2, "s":"\u00fc" } `)})
	f.Id = proto.String("an id, of\tany character ü")
	alice.Send(f)
	ack := alice.Reply(*f.Id).GetAck()
	if ack.GetRoomId() != room || ack.GetSeq() < 1 || ack.GetDuplicate() || ack.Timestamp.AsTime().Before(before) {
		t.Errorf("ack %v", ack)
	}
	for _, c := range []*client.Client{alice, bob} {
		got := c.Want("room-message")
		m := got.GetRoomMessage()
		if got.GetId() != *f.Id || m.RoomId != room || m.Seq != ack.GetSeq() || m.GetPrev() != 0 || m.Prev == nil || m.User.Id != "alice" ||
			m.GetContent() != "<i>ü🙂\x00\u2028</i>" || !m.Timestamp.AsTime().Equal(ack.Timestamp.AsTime()) {
			t.Errorf("room-message %v", got)
		}
		if string(m.Data) != `{"n":1.0e2,"s":"\u00fc"}` { // compact, and otherwise as written
			t.Errorf("data %s", m.Data)
		}
	}
	// Data of any kind, without content.
	for _, data := range []string{`null`, `false`, `0`, `""`, `[]`, `{}`, `"x"`, `-1.5e-7`, `12345678901234567890`} {
		alice.Ask(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Data: []byte(data)}))
		if m := bob.Want("chat-message").GetChatMessage(); string(m.Data) != data || m.Content != nil {
			t.Errorf("data %s came as %v", data, m)
		}
	}
}

func testIdempotence(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, other := named(t, "a"), named(t, "b")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	for _, c := range []*client.Client{alice, bob} {
		c.Join(room)
		c.Join(other)
	}
	send := func(c *client.Client, room, content string) *wirev1.Ack {
		t.Helper()
		c.Send(message(room, "same", content))
		answer := c.Reply("same")
		if answer.GetAck() == nil {
			t.Fatalf("answered %v", answer)
		}
		return answer.GetAck()
	}
	first := send(alice, room, "one")
	second := send(alice, room, "two")
	if first.Duplicate || !second.Duplicate || second.GetSeq() != first.GetSeq() || second.RoomId != room {
		t.Errorf("acked %v, then %v", first, second)
	}
	elsewhere := signedIn(t, s, 1, encoding, "alice") // the same user on another gateway
	elsewhere.Join(room)
	if third := send(elsewhere, room, "three"); !third.Duplicate || third.GetSeq() != first.GetSeq() {
		t.Errorf("acked %v, then %v", first, third)
	}
	if ack := send(alice, other, "four"); ack.Duplicate {
		t.Errorf("another room: %v", ack)
	}
	if ack := send(bob, room, "five"); ack.Duplicate {
		t.Errorf("another user: %v", ack)
	}
	f := ask.RoomMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("six")})
	f.Id = proto.String("same")
	alice.Send(f) // of whatever kind
	if ack := alice.Reply("same").GetAck(); !ack.GetDuplicate() || ack.GetSeq() != first.GetSeq() {
		t.Errorf("a room-message: %v", ack)
	}
	alice.Say(room, "the end")
	alice.Say(other, "the end")
	for _, c := range []*client.Client{alice, bob} {
		c.Hear(other, "the end")
		c.Hear(room, "the end")
		var got []string
		for _, f := range c.Untaken("chat-message") {
			got = append(got, f.GetChatMessage().GetContent())
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"five", "four", "one"}) || len(c.Untaken("room-message")) > 0 {
			t.Errorf("delivered %q", got)
		}
	}
	// Many at once: one is first.
	for range 20 {
		alice.Send(message(room, "many", "many"))
	}
	fresh := 0
	for range 20 {
		answer := alice.Reply("many")
		if answer.GetAck() == nil {
			t.Fatalf("answered %v", answer)
		}
		if !answer.GetAck().Duplicate {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d were first", fresh)
	}
}

func testFireAndForget(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.Join(room)
	bob.Join(room)
	for range 3 {
		alice.Send(message(room, "", "the same"))
	}
	for range 3 {
		f := bob.Wait("chat-message", func(f *wirev1.ServerFrame) bool { return f.GetChatMessage() != nil })
		if f.Id != nil || f.GetChatMessage().GetContent() != "the same" {
			t.Errorf("chat-message %v", f)
		}
		alice.Hear(room, "the same")
	}
	alice.Settle()
	if acks := alice.Untaken("ack"); len(acks) > 0 {
		t.Errorf("unasked acks %v", acks)
	}
	alice.Send(message("elsewhere", "", "x"))
	if e := alice.Want("error"); e.Id != nil || e.GetError().Code != "not-joined" {
		t.Errorf("error %v", e)
	}
}

// testChain checks that each message names the one before it.
func testChain(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room, noise := named(t, "a"), named(t, "noise")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.Join(noise)
	for _, c := range []*client.Client{alice, bob} {
		c.Join(room)
	}
	const many = 300
	for i := range many {
		c := []*client.Client{alice, bob}[i%2]
		c.Send(message(room, fmt.Sprint(i), fmt.Sprint(i)))
		if i%7 == 0 {
			alice.Send(message(noise, "", "noise"))
		}
	}
	for _, c := range []*client.Client{alice, bob} {
		var last int64
		for i := range many {
			m := c.Wait("chat-message", func(f *wirev1.ServerFrame) bool { return f.GetChatMessage().GetRoomId() == room }).GetChatMessage()
			if m.Prev == nil || m.GetPrev() != last || m.Seq <= last {
				t.Fatalf("message %d: %v, the one before had seq %d", i, m, last)
			}
			last = m.Seq
		}
	}
}

// testOrder has many write at the same time: readers on both gateways see the
// same, and each writer's own in the order it was sent.
func testOrder(t *testing.T, s *stack.Stack) {
	const writers, each = 8, 400
	room := named(t, "a")
	readers := []*client.Client{
		signedIn(t, s, 0, frame.JSON, "reader-0"), signedIn(t, s, 1, frame.Proto, "reader-1"), signedIn(t, s, 1, frame.JSON, "reader-2"),
	}
	for _, c := range readers {
		c.Join(room)
	}
	done := make(chan *client.Client, writers)
	for w := range writers {
		c := signedIn(t, s, w%2, encodings[w/2%2], fmt.Sprintf("writer-%d", w))
		c.Join(room)
		go func() {
			defer func() { done <- c }()
			for i := range each {
				if c.TrySend(message(room, fmt.Sprint(i), fmt.Sprintf("%d %d", w, i))) != nil {
					return // the reader misses it
				}
			}
		}()
	}
	for range writers {
		<-done
	}
	type seen struct {
		seq  int64
		text string
	}
	var first []seen
	for n, c := range readers {
		var list []seen
		next := map[int]int{}
		var last int64
		for range writers * each {
			m := c.Want("chat-message").GetChatMessage()
			var w, i int
			if _, err := fmt.Sscanf(m.GetContent(), "%d %d", &w, &i); err != nil {
				t.Fatal(err)
			}
			if i != next[w] || m.GetPrev() != last {
				t.Fatalf("reader %d: %v came after seq %d and %d of its writer", n, m, last, next[w])
			}
			next[w]++
			last = m.Seq
			list = append(list, seen{m.Seq, m.GetContent()})
		}
		if n == 0 {
			first = list
		} else if !slices.Equal(list, first) {
			t.Errorf("reader %d saw another order", n)
		}
	}
}
