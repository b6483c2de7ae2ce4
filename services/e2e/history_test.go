package e2e

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// fill stores n messages with the contents from, from+1, … and gives their seqs.
func fill(t *testing.T, c *client.Client, room string, from, n int) []int64 {
	t.Helper()
	for i := range n {
		c.Send(message(room, fmt.Sprintf("fill-%d", from+i), fmt.Sprint(from+i)))
	}
	var seqs []int64
	for i := range n {
		answer := c.Reply(fmt.Sprintf("fill-%d", from+i))
		if answer.GetAck() == nil || answer.GetAck().Duplicate {
			t.Fatalf("message %d was answered %v", from+i, answer)
		}
		seqs = append(seqs, answer.GetAck().GetSeq())
	}
	return seqs
}

// pages reads message-history frames that answer a request until one that has
// no more, none larger than most, and gives their messages.
func pages(t *testing.T, c *client.Client, id string, most int) (list []*wirev1.Message, count int) {
	t.Helper()
	for {
		page := c.Wait("message-history", func(f *wirev1.ServerFrame) bool {
			return f.GetMessageHistory() != nil && f.GetId() == id
		}).GetMessageHistory()
		count++
		if len(page.Messages) > most {
			t.Errorf("a page of %d", len(page.Messages))
		}
		for _, f := range page.Messages {
			list = append(list, f.GetChatMessage())
		}
		if !page.HasMore {
			return list, count
		}
	}
}

// numbered checks that messages are those with contents from, from+1, … in
// the order of their seq.
func numbered(t *testing.T, what string, list []*wirev1.Message, from, n int) {
	t.Helper()
	if len(list) != n {
		t.Errorf("%s: %d messages, want %d", what, len(list), n)
		return
	}
	var last int64
	for i, m := range list {
		if m.GetContent() != fmt.Sprint(from+i) || m.Seq <= last {
			t.Errorf("%s: message %d is %v", what, i, m)
			return
		}
		last = m.Seq
	}
}

func testHistory(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob") // who is not in the room
	joined, _ := alice.Join(room)
	const total, kept = 1250, 1000
	seqs := fill(t, alice, room, 0, total)
	page := func(r *wirev1.GetHistory) ([]*wirev1.Message, bool) {
		t.Helper()
		r.RoomId = room
		answer := bob.Ask(ask.GetHistory(r)).GetMessageHistory()
		if answer.GetRoomId() != room {
			t.Fatalf("get-history %v: %v", r, answer)
		}
		var list []*wirev1.Message
		for _, f := range answer.Messages {
			list = append(list, f.GetChatMessage())
		}
		return list, answer.HasMore
	}
	list, more := page(&wirev1.GetHistory{})
	numbered(t, "the newest", list, total-50, 50)
	if !more {
		t.Error("there is nothing before the newest 50")
	}
	list, more = page(&wirev1.GetHistory{Limit: proto.Int32(1000)})
	numbered(t, "all", list, total-kept, kept)
	if more {
		t.Error("there is more than all")
	}
	if m := list[0]; m.Prev != nil || m.User.Id != "alice" || m.RoomId != room || m.Timestamp == nil {
		t.Errorf("a message of history is %v", m)
	}
	// Backwards from the end, page by page.
	var back []*wirev1.Message
	before := seqs[total-1] + 1
	for n := 0; ; n++ {
		list, more = page(&wirev1.GetHistory{Before: &before, Limit: proto.Int32(300)})
		back = append(list, back...)
		if !more || n > 10 {
			break
		}
		before = list[0].Seq
	}
	numbered(t, "backwards", back, total-kept, kept)
	// Forwards from the beginning.
	var forth []*wirev1.Message
	var after int64
	for n := 0; ; n++ {
		list, more = page(&wirev1.GetHistory{After: &after, Limit: proto.Int32(300)})
		forth = append(forth, list...)
		if !more || n > 10 {
			break
		}
		after = list[len(list)-1].Seq
	}
	numbered(t, "forwards", forth, total-kept, kept)
	list, more = page(&wirev1.GetHistory{After: &seqs[total-4]})
	numbered(t, "the last three", list, total-3, 3)
	if more {
		t.Error("there is more after the last three")
	}
	list, more = page(&wirev1.GetHistory{Before: &seqs[total-kept+2]})
	numbered(t, "the first two", list, total-kept, 2)
	if more {
		t.Error("there is more before the first two")
	}
	for name, r := range map[string]*wirev1.GetHistory{
		"after the last":   {After: &seqs[total-1]},
		"after all time":   {After: proto.Int64(1 << 53)},
		"before the first": {Before: &seqs[total-kept]},
		"before 0":         {Before: proto.Int64(0)},
		"before 1":         {Before: proto.Int64(1)},
	} {
		if list, more = page(r); len(list) > 0 || more {
			t.Errorf("%s: %d messages, more %v", name, len(list), more)
		}
	}
	list, _ = page(&wirev1.GetHistory{Before: proto.Int64(1 << 53), Limit: proto.Int32(1)})
	numbered(t, "before the end of time", list, total-1, 1)
	bob.AskError(ask.GetHistory(&wirev1.GetHistory{RoomId: named(t, "missing")}), "not-found")

	// What a joiner is told, and how much of it.
	for _, n := range []int32{0, 1, 100, 1000} {
		state, history := bob.JoinWith(&wirev1.JoinRoom{RoomId: room, History: &n})
		if len(history.Messages) != int(n) || history.HasMore != (n < kept) || state.Seq != seqs[total-1] || state.Epoch != joined.Epoch || state.Recovered || state.OldestSeq != nil {
			t.Errorf("history %d: %v and %d messages, more %v", n, state, len(history.Messages), history.HasMore)
		}
	}
	if _, history := bob.Join(room); len(history.Messages) != 50 || !history.HasMore {
		t.Errorf("by default: %d messages, more %v", len(history.Messages), history.HasMore)
	}
}

func testJoinAfter(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	first, _ := alice.Join(room)
	const total, kept = 1100, 1000
	seqs := fill(t, alice, room, 0, total)
	join := func(after int64, epoch *string) (*wirev1.RoomJoined, []*wirev1.Message, int) {
		t.Helper()
		f := ask.JoinRoom(&wirev1.JoinRoom{RoomId: room, After: &after, Epoch: epoch})
		answer := bob.Ask(f)
		if answer.GetRoomJoined() == nil {
			t.Fatalf("answered %v", answer)
		}
		if answer.GetRoomJoined().Recovered {
			list, n := pages(t, bob, f.GetId(), 200)
			return answer.GetRoomJoined(), list, n
		}
		// The newest come instead, on one page; there is more before it.
		page := bob.Want("message-history")
		if page.GetId() != f.GetId() || !page.GetMessageHistory().HasMore {
			t.Errorf("after %d: %.200v", after, page)
		}
		var list []*wirev1.Message
		for _, m := range page.GetMessageHistory().Messages {
			list = append(list, m.GetChatMessage())
		}
		return answer.GetRoomJoined(), list, 1
	}
	for _, missed := range []int{0, 1, 5, 63, 64, 65, 199, 200, 201, 650, 999, 1000} {
		state, list, n := join(seqs[total-1-missed], &first.Epoch)
		if missed < kept { // else the log has dropped what was seen last
			if !state.Recovered || state.OldestSeq != nil || state.Seq != seqs[total-1] || n != max(1, (missed+199)/200) {
				t.Errorf("%d missed: %v on %d pages", missed, state, n)
			}
			numbered(t, fmt.Sprint(missed, " missed"), list, total-missed, missed)
			continue
		}
		if state.Recovered || state.GetOldestSeq() != seqs[total-kept] {
			t.Errorf("%d missed: %v", missed, state)
		}
	}
	for name, row := range map[string]struct {
		after int64
		epoch *string
	}{
		"too long ago":     {seqs[10], &first.Epoch},
		"from 0":           {0, nil},
		"another life":     {seqs[total-3], proto.String("another")},
		"of no life":       {seqs[total-3], proto.String("")},
		"ahead of the log": {seqs[total-1] + 100, &first.Epoch},
	} {
		state, list, _ := join(row.after, row.epoch)
		if state.Recovered || state.GetOldestSeq() != seqs[total-kept] || state.Seq != seqs[total-1] || state.Epoch != first.Epoch {
			t.Errorf("%s: %v", name, state)
		}
		numbered(t, name, list, total-50, 50)
	}
	// Fewer than the retention since the beginning: nothing can be lost.
	small := named(t, "small")
	alice.Join(small)
	fill(t, alice, small, 0, 70)
	f := ask.JoinRoom(&wirev1.JoinRoom{RoomId: small, After: proto.Int64(0)})
	if state := bob.Ask(f).GetRoomJoined(); !state.GetRecovered() {
		t.Errorf("from the beginning: %v", state)
	}
	list, _ := pages(t, bob, f.GetId(), 200)
	numbered(t, "from the beginning", list, 0, 70)
}

// testJoinWhileSpoken joins again and again while messages come: what was
// missed and what comes live are the whole, each once.
func testJoinWhileSpoken(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.Join(room)
	// ahead is how far the writer may be before the reader: well within the
	// retention, or a reader that has little of the processor would rightly not
	// be brought up to date.
	const total, ahead = 1500, 500
	slots := make(chan struct{}, ahead)
	done := make(chan error, 1)
	go func() {
		for i := range total {
			select {
			case slots <- struct{}{}:
			case <-t.Context().Done(): // the reader has failed
				done <- t.Context().Err()
				return
			}
			if err := alice.TrySend(message(room, fmt.Sprint(i), fmt.Sprint(i))); err != nil {
				done <- err
				return
			}
			if i%50 == 49 {
				time.Sleep(5 * time.Millisecond) // spreads them; nothing waits for it
			}
		}
		done <- nil
	}()
	var got []*wirev1.Message
	var seen int64
	take := func(messages ...*wirev1.Message) {
		got = append(got, messages...)
		for range messages {
			<-slots
		}
	}
	for len(got) < total {
		f := ask.JoinRoom(&wirev1.JoinRoom{RoomId: room, After: &seen})
		state := bob.Ask(f).GetRoomJoined()
		if !state.GetRecovered() {
			t.Fatalf("joined %v", state)
		}
		list, _ := pages(t, bob, f.GetId(), 200)
		take(list...)
		for range min(20, total-len(got)) {
			m := bob.Want("chat-message").GetChatMessage()
			if n := len(got); n > 0 && m.GetPrev() != got[n-1].Seq {
				t.Fatalf("%v came after %v", m, got[n-1])
			}
			take(m)
		}
		bob.Ask(ask.LeaveRoom(room))
		for _, f := range bob.Untaken("chat-message") { // came before it had left
			take(f.GetChatMessage())
			bob.Want("chat-message")
		}
		seen = got[len(got)-1].Seq
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	numbered(t, "all", got, 0, total)
}
