package history_test

import (
	"context"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startNATS(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	server, err := embedded.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

func connect(t *testing.T, o bus.Options) *bus.Bus {
	t.Helper()
	o.Name = "test"
	b, err := bus.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// running is the service, run and reached by gRPC.
type running struct {
	historyv1.HistoryClient
	service *history.Service
	bus     *bus.Bus
	// end ends the service, and leaves its gRPC server.
	end func()
}

func start(t *testing.T, o history.Options) *running {
	t.Helper()
	if o.Bus == nil {
		o.Bus = connect(t, bus.Options{InProcess: startNATS(t, embedded.Options{})})
	}
	s, err := history.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{service: s, bus: o.Bus, HistoryClient: historyv1.NewHistoryClient(serve(t, s))}
	r.end = background(t, s.Run)
	eventually(t, "ready", func() bool { return s.Ready(t.Context()) == nil })
	return r
}

// serve gives a gRPC connection to s.
func serve(t *testing.T, s *history.Service) *grpc.ClientConn {
	t.Helper()
	server := rpc.NewServer(rpc.ServerOptions{})
	s.Register(server.Registrar())
	pipe := rpc.Pipe()
	background(t, func(ctx context.Context) error { return server.Run(ctx, pipe) })
	conn, err := rpc.Dial("history", "", rpc.ClientOptions{InProcess: pipe, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A server that has only just begun to run says that it is not serving, and
	// a call made until the first look at its health fails.
	conn.Connect()
	eventually(t, "connected", func() bool { return conn.GetState() == connectivity.Ready })
	return conn
}

func background(t *testing.T, run func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(end)
	return end
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

var ada = &wirev1.User{Id: "u1", Username: "ada"}

// publish stores n messages whose contents count from first.
func (r *running) publish(t *testing.T, room string, first, n int) (seqs []uint64) {
	t.Helper()
	for i := range n {
		answer, err := r.Publish(t.Context(), &historyv1.PublishRequest{RoomId: room, User: ada, Content: proto.String(strconv.Itoa(first + i))})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, answer.Seq)
	}
	return seqs
}

func contents(messages []*historyv1.Message) (texts []string) {
	for _, m := range messages {
		texts = append(texts, m.GetContent())
	}
	return texts
}

// numbers are the texts first … last.
func numbers(first, last int) (texts []string) {
	for i := first; i <= last; i++ {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d %v, want %d %v", what, len(got), got, len(want), want)
	}
}

// all reads a stream to its end.
func all(t *testing.T, stream grpc.ServerStreamingClient[historyv1.Message], err error) (messages []*historyv1.Message) {
	t.Helper()
	for err == nil {
		var m *historyv1.Message
		if m, err = stream.Recv(); err == nil {
			messages = append(messages, m)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return messages
}

func TestPublishStoresOnce(t *testing.T) {
	r := start(t, history.Options{})
	request := &historyv1.PublishRequest{
		RoomId: "general", Id: "m1", User: &wirev1.User{Id: "u1", Username: "Zoe\u0308"}, Content: proto.String(""),
		Data: []byte(`{ "a": [1, 2] }`), Kind: historyv1.Message_KIND_ROOM_MESSAGE,
	}
	before := time.Now().Truncate(time.Millisecond)
	first, err := r.Publish(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if first.Seq == 0 || first.Duplicate || first.Timestamp.AsTime().Before(before) || first.Timestamp.AsTime().After(time.Now()) {
		t.Errorf("first: %v", first)
	}
	again, err := r.Publish(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if again.Seq != first.Seq || !again.Duplicate || again.Timestamp != nil {
		t.Errorf("again: %v", again)
	}
	// The same id of another user, or in another room, is another message.
	request.User = &wirev1.User{Id: "u2", Username: "bob"}
	if other, err := r.Publish(t.Context(), request); err != nil || other.Duplicate {
		t.Errorf("another user: %v %v", other, err)
	}
	request.RoomId = "other"
	if other, err := r.Publish(t.Context(), request); err != nil || other.Duplicate {
		t.Errorf("another room: %v %v", other, err)
	}
	page, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"})
	if err != nil {
		t.Fatal(err)
	}
	want := &historyv1.Message{
		RoomId: "general", Seq: first.Seq, Kind: historyv1.Message_KIND_ROOM_MESSAGE, Id: "m1",
		User: &wirev1.User{Id: "u1", Username: "Zo\u00eb"}, Content: proto.String(""), Data: []byte(`{"a":[1,2]}`), Timestamp: first.Timestamp,
	}
	if len(page.Messages) != 2 || !proto.Equal(page.Messages[0], want) {
		t.Errorf("got %v, want first %v", page.Messages, want)
	}
}

func TestPages(t *testing.T) {
	r := start(t, history.Options{Bus: connect(t, bus.Options{InProcess: startNATS(t, embedded.Options{}), Shards: 2})})
	var seqs []uint64
	for i := range 12 { // in between others
		seqs = append(seqs, r.publish(t, "general", 10*i, 10)...)
		r.publish(t, "b", 0, 2)
		r.publish(t, "c", 0, 1)
	}
	after := func(n uint64) *uint64 { return &n }
	for name, c := range map[string]struct {
		ask  *historyv1.ListMessagesRequest
		want []string
		more bool
	}{
		"default":      {&historyv1.ListMessagesRequest{}, numbers(70, 119), true},
		"newest":       {&historyv1.ListMessagesRequest{Limit: 3}, numbers(117, 119), true},
		"all":          {&historyv1.ListMessagesRequest{Limit: 1000}, numbers(0, 119), false},
		"exactly all":  {&historyv1.ListMessagesRequest{Limit: 120}, numbers(0, 119), false},
		"before":       {&historyv1.ListMessagesRequest{Limit: 5, Before: seqs[50]}, numbers(45, 49), true},
		"before few":   {&historyv1.ListMessagesRequest{Limit: 5, Before: seqs[3]}, numbers(0, 2), false},
		"before first": {&historyv1.ListMessagesRequest{Limit: 5, Before: seqs[0]}, nil, false},
		"before far":   {&historyv1.ListMessagesRequest{Limit: 2, Before: 1 << 60}, numbers(118, 119), true},
		"from start":   {&historyv1.ListMessagesRequest{Limit: 4, After: after(0)}, numbers(0, 3), true},
		"after":        {&historyv1.ListMessagesRequest{Limit: 4, After: after(seqs[50])}, numbers(51, 54), true},
		"after few":    {&historyv1.ListMessagesRequest{Limit: 4, After: after(seqs[117])}, numbers(118, 119), false},
		"after last":   {&historyv1.ListMessagesRequest{Limit: 4, After: after(seqs[119])}, nil, false},
	} {
		c.ask.RoomId = "general"
		got, err := r.ListMessages(t.Context(), c.ask)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same(t, name, contents(got.Messages), c.want)
		if got.HasMore != c.more {
			t.Errorf("%s: has_more is %v", name, got.HasMore)
		}
	}
	if got, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "nowhere"}); err != nil || len(got.Messages) != 0 || got.HasMore {
		t.Errorf("a room without a log: %v %v", got, err)
	}
}

// A page of the greatest messages does not fit into one gRPC message; walking
// on with has_more finds them all.
func TestLargePages(t *testing.T) {
	r := start(t, history.Options{})
	const n = 150
	data := append(append([]byte{'"'}, slices.Repeat([]byte{'x'}, 16<<10-2)...), '"')
	long := string(slices.Repeat([]byte{'y'}, 16<<10))
	for range n {
		_, err := r.Publish(t.Context(), &historyv1.PublishRequest{RoomId: "general", User: ada, Content: &long, Data: data})
		if err != nil {
			t.Fatal(err)
		}
	}
	walk := func(next func(*historyv1.ListMessagesRequest, []*historyv1.Message)) (seen map[uint64]bool, pages int) {
		seen = map[uint64]bool{}
		ask := &historyv1.ListMessagesRequest{RoomId: "general", Limit: 1000}
		next(ask, nil)
		for {
			page, err := r.ListMessages(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, m := range page.Messages {
				seen[m.Seq] = true
			}
			if !page.HasMore {
				return seen, pages
			}
			next(ask, page.Messages)
		}
	}
	for name, next := range map[string]func(*historyv1.ListMessagesRequest, []*historyv1.Message){
		"forward": func(ask *historyv1.ListMessagesRequest, m []*historyv1.Message) {
			ask.After = new(uint64)
			if m != nil {
				*ask.After = m[len(m)-1].Seq
			}
		},
		"back": func(ask *historyv1.ListMessagesRequest, m []*historyv1.Message) {
			if m != nil {
				ask.Before = m[0].Seq
			}
		},
	} {
		if seen, pages := walk(next); len(seen) != n || pages != 2 {
			t.Errorf("%s: %d of %d messages in %d pages", name, len(seen), n, pages)
		}
	}
}

func TestErase(t *testing.T) {
	r := start(t, history.Options{})
	r.publish(t, "general", 0, 7)
	r.publish(t, "other", 0, 3)
	for _, want := range []uint64{7, 0} {
		if got, err := r.Erase(t.Context(), &historyv1.EraseRequest{RoomId: "general"}); err != nil || got.Erased != want {
			t.Errorf("got %v %v, want %d", got, err, want)
		}
	}
	for room, want := range map[string]int{"general": 0, "other": 3} {
		if got, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: room}); err != nil || len(got.Messages) != want {
			t.Errorf("%s: %v %v, want %d", room, got, err, want)
		}
	}
}

func TestARoomThatKeepsLess(t *testing.T) {
	r := start(t, history.Options{})
	r.publish(t, "general", 0, 9)
	r.publish(t, "other", 0, 9)
	for _, c := range []struct {
		keep   uint32
		erased uint64
		left   []string
	}{{20, 0, numbers(0, 8)}, {5, 4, numbers(4, 8)}, {3, 2, numbers(6, 8)}, {5, 0, numbers(6, 8)}, {1, 2, numbers(8, 8)}, {1, 0, numbers(8, 8)}} {
		if got, err := r.Trim(t.Context(), &historyv1.TrimRequest{RoomId: "general", Keep: c.keep}); err != nil || got.Erased != c.erased {
			t.Errorf("keeping %d: %v %v, want %d erased", c.keep, got, err, c.erased)
		}
		got, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"})
		if err != nil || got.HasMore {
			t.Fatal(got, err)
		}
		same(t, "general", contents(got.Messages), c.left)
	}
	if got, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "other"}); err != nil || len(got.Messages) != 9 {
		t.Errorf("of another room was taken: %v %v", got, err)
	}
	if got, err := r.Trim(t.Context(), &historyv1.TrimRequest{RoomId: "empty", Keep: 1}); err != nil || got.Erased != 0 {
		t.Errorf("Trim of an empty room: %v %v", got, err)
	}
}

func TestRetentionIsBroughtToTheLog(t *testing.T) {
	b := connect(t, bus.Options{InProcess: startNATS(t, embedded.Options{}), Shards: 3})
	r := start(t, history.Options{Bus: b})
	r.publish(t, "general", 0, 20)
	r.end()
	r = start(t, history.Options{Bus: b, Log: bus.LogConfig{Retention: 5}})
	got, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "smaller retention", contents(got.Messages), numbers(15, 19))
	r.end()
	r = start(t, history.Options{Bus: b, Log: bus.LogConfig{Retention: 7}})
	r.publish(t, "general", 20, 10)
	if got, err = r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"}); err != nil {
		t.Fatal(err)
	}
	same(t, "greater retention", contents(got.Messages), numbers(23, 29))
}

func TestNotReadyBeforeTheLogIsThere(t *testing.T) {
	s, err := history.New(history.Options{Bus: connect(t, bus.Options{InProcess: startNATS(t, embedded.Options{})})})
	if err != nil {
		t.Fatal(err)
	}
	client := historyv1.NewHistoryClient(serve(t, s))
	check := func(when string, want errs.Code) {
		t.Helper()
		if got := s.Ready(t.Context()); (got == nil) != (want == "") {
			t.Errorf("%s: Ready is %v", when, got)
		}
		_, errPublish := client.Publish(t.Context(), &historyv1.PublishRequest{RoomId: "a", User: ada, Content: proto.String("x")})
		_, errList := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "a"})
		_, errErase := client.Erase(t.Context(), &historyv1.EraseRequest{RoomId: "a"})
		stream, errReplay := client.Replay(t.Context(), &historyv1.ReplayRequest{RoomId: "a"})
		if errReplay == nil {
			if _, errReplay = stream.Recv(); errReplay == io.EOF {
				errReplay = nil
			}
		}
		for _, err := range []error{errPublish, errList, errErase, errReplay} {
			if errs.CodeOf(err) != want {
				t.Errorf("%s: got %v, want %q", when, err, want)
			}
		}
	}
	check("before Run", errs.Unavailable)
	end := background(t, s.Run)
	eventually(t, "ready", func() bool { return s.Ready(t.Context()) == nil })
	check("running", "")
	end()
	check("after Run", errs.Unavailable)
}

func TestOptions(t *testing.T) {
	b := connect(t, bus.Options{InProcess: startNATS(t, embedded.Options{})})
	for name, o := range map[string]history.Options{
		"no bus":    {},
		"retention": {Bus: b, Log: bus.LogConfig{Retention: -1}},
		"sizes":     {Bus: b, MaxContent: -1},
	} {
		if _, err := history.New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
