package history_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	"github.com/parley-im/parley/services/history"
)

func from(seq uint64) *historyv1.ReplayRequest_After {
	return &historyv1.ReplayRequest_After{After: seq}
}

func since(ms int64) *historyv1.ReplayRequest_Since {
	return &historyv1.ReplayRequest_Since{Since: timestamppb.New(time.UnixMilli(ms))}
}

// following is a follow that stands: what is stored from here on comes.
func (r *running) following(t *testing.T, ctx context.Context, request *historyv1.ReplayRequest) grpc.ServerStreamingClient[historyv1.Message] {
	t.Helper()
	request.Follow = true
	stream, err := r.Replay(ctx, request)
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// next receives n messages.
func next(t *testing.T, stream grpc.ServerStreamingClient[historyv1.Message], n int) (messages []*historyv1.Message) {
	t.Helper()
	for len(messages) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(messages), n, err)
		}
		messages = append(messages, m)
	}
	return messages
}

func TestReplay(t *testing.T) {
	r := start(t, history.Options{Log: bus.LogConfig{Retention: 700}})
	seqs := r.publish(t, "general", 0, 720)
	replay := func(request *historyv1.ReplayRequest) []string {
		t.Helper()
		request.RoomId = "general"
		stream, err := r.Replay(t.Context(), request)
		return contents(all(t, stream, err))
	}
	same(t, "all", replay(&historyv1.ReplayRequest{}), numbers(20, 719))
	same(t, "after", replay(&historyv1.ReplayRequest{From: from(seqs[309])}), numbers(310, 719))
	same(t, "after what is gone", replay(&historyv1.ReplayRequest{From: from(seqs[3])}), numbers(20, 719))
	same(t, "after all", replay(&historyv1.ReplayRequest{From: from(seqs[719])}), nil)
	same(t, "from the future", replay(&historyv1.ReplayRequest{From: since(time.Now().Add(time.Hour).UnixMilli())}), nil)
	same(t, "since ever", replay(&historyv1.ReplayRequest{From: since(0)}), numbers(20, 719))
}

// Entries of all kinds come, from a time on, edits and deletions as they are.
func TestReplaySince(t *testing.T) {
	r := start(t, history.Options{})
	for i, e := range []*busv1.LogEntry{
		{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, TimeMs: 1000},
		{Kind: busv1.LogEntry_KIND_ROOM_MESSAGE, TimeMs: 2000},
		{Kind: busv1.LogEntry_KIND_EDIT, TimeMs: 2001, Target: 2},
		{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, TimeMs: 1999}, // by a clock that is behind
		{Kind: busv1.LogEntry_KIND_DELETION, TimeMs: 3000, Target: 1},
	} {
		e.Id, e.User = strconv.Itoa(i), ada
		if _, err := r.bus.Publish(t.Context(), "general", "", e); err != nil {
			t.Fatal(err)
		}
	}
	replay := func(ms int64) (got []string) {
		stream, err := r.Replay(t.Context(), &historyv1.ReplayRequest{RoomId: "general", From: since(ms)})
		for _, m := range all(t, stream, err) {
			got = append(got, fmt.Sprint(m.Id, " ", m.Kind, " ", m.Target))
		}
		return got
	}
	want := []string{"0 KIND_CHAT_MESSAGE 0", "1 KIND_ROOM_MESSAGE 0", "2 KIND_EDIT 2", "3 KIND_CHAT_MESSAGE 0", "4 KIND_DELETION 1"}
	same(t, "at 2000", replay(2000), want[1:])
	same(t, "at 2001", replay(2001), want[2:])
	same(t, "at 2500", replay(2500), want[4:])
	same(t, "at 3001", replay(3001), nil)

	// Who follows from a time in the future gets nothing earlier.
	stream := r.following(t, t.Context(), &historyv1.ReplayRequest{RoomId: "general", From: since(5000)})
	for _, ms := range []int64{4000, 5000, 4500} {
		if _, err := r.bus.Publish(t.Context(), "general", "", &busv1.LogEntry{TimeMs: ms, User: ada, Content: proto.String(fmt.Sprint(ms))}); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "followed", contents(next(t, stream, 2)), []string{"5000", "4500"})
}

// Several follows, begun at different times while several publish, all get
// everything once and in the log's order.
func TestFollowMissesNothing(t *testing.T) {
	r := start(t, history.Options{Log: bus.LogConfig{Retention: 100_000}})
	const publishers, each, followers = 6, 400, 4
	r.publish(t, "general", -1, 1)

	var publishing sync.WaitGroup
	half := make(chan struct{})
	for p := range publishers {
		publishing.Go(func() {
			for i := range each {
				if p == 0 && i == each/2 {
					close(half)
				}
				room := "general"
				if i%10 == 9 {
					r.bus.PublishAsync("noise", "", &busv1.LogEntry{}, func(bus.Ack, error) {})
				}
				text := proto.String(strconv.Itoa(p*each + i))
				if _, err := r.Publish(t.Context(), &historyv1.PublishRequest{RoomId: room, User: ada, Content: text}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const total = publishers*each + 1
	got := make([][]*historyv1.Message, followers)
	var follows sync.WaitGroup
	for i := range followers {
		follows.Go(func() {
			if i%2 == 1 {
				<-half
			}
			got[i] = next(t, r.following(t, t.Context(), &historyv1.ReplayRequest{RoomId: "general"}), total)
		})
	}
	publishing.Wait()
	follows.Wait()
	stream, err := r.Replay(t.Context(), &historyv1.ReplayRequest{RoomId: "general"})
	log := all(t, stream, err)
	if len(log) != total {
		t.Fatalf("the log has %d, want %d", len(log), total)
	}
	for i := range got {
		same := slices.EqualFunc(got[i], log, func(a, b *historyv1.Message) bool { return a.Seq == b.Seq && a.GetContent() == b.GetContent() })
		if !same {
			t.Errorf("follow %d differs from the log", i)
		}
	}
}

// A client that does not read while much more is stored than may wait for it
// gets it all from the log.
func TestSlowFollower(t *testing.T) {
	r := start(t, history.Options{})
	stream := r.following(t, t.Context(), &historyv1.ReplayRequest{RoomId: "general"})
	next(t, stream, len(r.publish(t, "general", 0, 1)))
	text := strings.Repeat("x", 8<<10)
	const n = 900 // 7 MiB: more than gRPC's windows and what may wait together
	var acks sync.WaitGroup
	acks.Add(n)
	for range n {
		r.bus.PublishAsync("general", "", &busv1.LogEntry{User: ada, Content: &text}, func(_ bus.Ack, err error) {
			defer acks.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	acks.Wait()
	last := uint64(0)
	for _, m := range next(t, stream, n) {
		if m.Seq != last+1 && last != 0 {
			t.Fatalf("%d after %d", m.Seq, last)
		}
		last = m.Seq
	}
}

// A follow outlives a NATS that is away, and misses nothing that others stored
// meanwhile.
func TestFollowOutlivesNATS(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Options{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL()
	r := start(t, history.Options{Bus: connect(t, bus.Options{URL: url})})
	stream := r.following(t, t.Context(), &historyv1.ReplayRequest{RoomId: "general"})
	r.publish(t, "general", 0, 3)
	same(t, "before", contents(next(t, stream, 3)), numbers(0, 2))
	server.Shutdown()
	eventually(t, "not ready", func() bool { return r.service.Ready(t.Context()) != nil })
	if _, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"}); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("without NATS: %v", err)
	}

	// Another process finds it again first.
	inner := startNATS(t, embedded.Options{Dir: dir, Addr: strings.TrimPrefix(url, "nats://")})
	other := connect(t, bus.Options{InProcess: inner})
	for i := 3; i < 8; i++ {
		if _, err := other.Publish(t.Context(), "general", "", &busv1.LogEntry{User: ada, Content: proto.String(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "after", contents(next(t, stream, 5)), numbers(3, 7))
	eventually(t, "ready", func() bool { return r.service.Ready(t.Context()) == nil })
}

func TestFollowsEnd(t *testing.T) {
	r := start(t, history.Options{MaxFollows: 2})
	ctx, cancel := context.WithCancel(t.Context())
	first := r.following(t, ctx, &historyv1.ReplayRequest{RoomId: "general"})
	second := r.following(t, t.Context(), &historyv1.ReplayRequest{RoomId: "general"})
	third := func() error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream, err := r.Replay(ctx, &historyv1.ReplayRequest{RoomId: "general", Follow: true})
		if err == nil {
			if header, _ := stream.Header(); header != nil && len(header["content-type"]) > 0 {
				return nil
			}
			_, err = stream.Recv()
		}
		return err
	}
	if err := third(); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	if _, err := first.Recv(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	eventually(t, "there is room again", func() bool { return third() == nil })
	// The room is still followed by the other.
	r.publish(t, "general", 0, 1)
	next(t, second, 1)
	r.end()
	if _, err := second.Recv(); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("the service ended: %v", err)
	}
}
