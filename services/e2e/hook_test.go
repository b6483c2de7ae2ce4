package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// bouncer is a hook.
type bouncer struct {
	hookv1.UnimplementedHookServer
	thinks chan struct{} // says that it is asked about "think", and waits for the answer

	mu    sync.Mutex
	asked []string
}

func (b *bouncer) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, fmt.Sprintf(format, args...))
}

func (b *bouncer) Connect(_ context.Context, r *hookv1.ConnectRequest) (*hookv1.ConnectResponse, error) {
	b.note("connect %s %v", r.Client.User.Id, r.Resume)
	switch {
	case r.Client.Remote == "" || r.Client.SessionId != "":
		return nil, fmt.Errorf("asked about %v", r)
	case r.Client.User.Id == "mallory":
		return &hookv1.ConnectResponse{Refusal: &hookv1.Refusal{Code: "banned", Message: "not you"}}, nil
	case r.Client.User.Id == "bob":
		return &hookv1.ConnectResponse{Username: proto.String("Sir Bob")}, nil
	case r.Client.User.Id == "broken":
		return &hookv1.ConnectResponse{Username: proto.String("a\nb")}, nil
	}
	return &hookv1.ConnectResponse{}, nil
}

func (b *bouncer) Join(_ context.Context, r *hookv1.JoinRequest) (*hookv1.JoinResponse, error) {
	b.note("join %s %s", r.Client.User.Id, r.RoomId)
	switch {
	case r.Client.SessionId == "":
		return nil, fmt.Errorf("asked about %v", r)
	case strings.HasPrefix(r.RoomId, "vip"):
		return &hookv1.JoinResponse{Refusal: &hookv1.Refusal{Message: "members only"}}, nil
	}
	return &hookv1.JoinResponse{NoCreate: strings.HasPrefix(r.RoomId, "missing")}, nil
}

func (b *bouncer) Publish(_ context.Context, r *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
	content := r.GetContent()
	switch {
	case content == "spam":
		return &hookv1.PublishResponse{Refusal: &hookv1.Refusal{Code: "rate-limited", Message: "no spam", RetryAfterMs: 700}}, nil
	case content == "break":
		return &hookv1.PublishResponse{Data: []byte(`{"a":1},"content":{`)}, nil
	case content == "grow":
		return &hookv1.PublishResponse{Content: proto.String(strings.Repeat("x", 1<<20))}, nil
	case r.Kind == hookv1.PublishRequest_KIND_EDIT:
		return &hookv1.PublishResponse{Content: proto.String(content + " (edited)")}, nil
	case r.Data != nil:
		return &hookv1.PublishResponse{Data: []byte(`{ "seen" : true }`)}, nil
	case content == "think":
		b.thinks <- struct{}{}
		<-b.thinks
	case strings.HasPrefix(content, "n "):
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // it thinks about each differently long
	}
	return &hookv1.PublishResponse{Content: proto.String(strings.ReplaceAll(content, "damn", "****"))}, nil
}

// serveHook serves a hook, which ends with stop or with the test.
func serveHook(t *testing.T, h hookv1.HookServer) (_ hookv1.HookClient, stop func()) {
	t.Helper()
	pipe := rpc.Pipe()
	server := grpc.NewServer()
	hookv1.RegisterHookServer(server, h)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(pipe) }()
	stop = sync.OnceFunc(func() {
		server.Stop()
		<-ended
	})
	t.Cleanup(stop)
	conn, err := rpc.Dial("hook", "", rpc.ClientOptions{InProcess: pipe, Logger: stack.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return hookv1.NewHookClient(conn), stop
}

// A hook refuses and alters what it is asked about, and nothing is reordered by
// that.
func TestHook(t *testing.T) {
	t.Parallel()
	b := new(bouncer)
	hook, _ := serveHook(t, b)
	s := stack.Start(t, stack.Options{Gateways: 2, Log: bus.LogConfig{}, Gateway: func(o *gateway.Options) {
		o.JWTSecret = []byte(secret)
		o.Hook, o.HookEvents, o.HookTimeout = hook, []string{"connect", "join", "publish"}, 4*time.Second
		o.RateLimit = 0
	}})
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		room := named(t, encoding.String())
		mallory := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
		mallory.Send(ask.Auth(signHS256(t, secret, claims{"sub": "mallory"})))
		if failed := mallory.Want("auth-failed").GetAuthFailed(); failed.Code != "banned" || failed.Message != "not you" {
			t.Errorf("mallory: %v", failed)
		}
		if code := mallory.Closed(); code != 1008 {
			t.Errorf("mallory: closed with %d", code)
		}
		client.Dial(t, s.URLs[0], client.Options{Encoding: encoding}).
			AskError(ask.Auth(signHS256(t, secret, claims{"sub": "broken"})), "unavailable")

		alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
		alice.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "vip-" + room}), "forbidden")
		alice.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "missing-" + room}), "not-found")
		alice.Join(room)
		bob.Join(room)

		// The name is the hook's choice, with a newer token as well.
		if got := bob.Ask(ask.Auth(signHS256(t, secret, claims{"sub": "bob", "username": "bobby"}))).GetAuthSuccess(); got.User.GetUsername() != "Sir Bob" {
			t.Errorf("bob is %v", got.User)
		}
		ack := bob.Say(room, "damn it")
		if m := alice.Hear(room, "**** it"); m.User.GetUsername() != "Sir Bob" {
			t.Errorf("said by %v", m.User)
		}
		say := func(c *wirev1.SendMessage) *wirev1.ClientFrame { c.RoomId = room; return ask.RoomMessage(c) }
		if refused := bob.AskError(say(&wirev1.SendMessage{Content: proto.String("spam")}), "rate-limited"); refused.GetRetryAfterMs() != 700 || refused.Message != "no spam" {
			t.Errorf("refused with %v", refused)
		}
		for _, bad := range []string{"break", "grow"} {
			bob.AskError(say(&wirev1.SendMessage{Content: &bad}), "unavailable")
		}
		bob.Ask(say(&wirev1.SendMessage{Data: []byte(`{"seen":false}`)}))
		bob.Ask(ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: ack.GetSeq(), Content: proto.String("fine")}))
		bob.Ask(ask.Chat("damn lobby"))

		// What is sent in one breath stays in its order.
		const messages = 200
		for i := range messages {
			bob.Send(ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String(fmt.Sprint("n ", i))}))
		}
		bob.Settle()
		page, err := s.History.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: room, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"**** it", `{"seen":true}`, "fine (edited)"}
		for i := range messages {
			want = append(want, fmt.Sprint("n ", i))
		}
		stack.Eventually(t, "all is stored", func() error {
			page, err = s.History.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: room, Limit: 1000})
			if err == nil && len(page.Messages) != len(want) {
				err = fmt.Errorf("%d of %d messages", len(page.Messages), len(want))
			}
			return err
		})
		for i, m := range page.Messages {
			if got := m.GetContent() + string(m.Data); got != want[i] {
				t.Fatalf("message %d is %q, want %q", i, got, want[i])
			}
		}
		lobby, err := s.History.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "lobby", Limit: 1})
		if err != nil || len(lobby.Messages) != 1 || lobby.Messages[0].GetContent() != "**** lobby" {
			t.Errorf("in the lobby: %v, %v", lobby, err)
		}
	}

	// A session that goes on is asked about anew, with each room.
	carol := client.Dial(t, s.URLs[0], client.Options{})
	in := carol.SignIn(signHS256(t, secret, claims{"sub": "carol"}))
	carol.Join("hall")
	carol.Cut()
	b.mu.Lock()
	b.asked = nil
	b.mu.Unlock()
	back := client.Dial(t, s.URLs[1], client.Options{})
	resumed := back.Ask(ask.Resume(in.ResumeToken, map[string]*wirev1.Position{"hall": {}, "vip": {}})).GetResumed()
	if resumed == nil || resumed.Rooms["hall"].GetError() != "" || resumed.Rooms["vip"].GetError() != "forbidden" {
		t.Errorf("resumed as %v", resumed)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := strings.Join(b.asked, ", "); !strings.HasPrefix(got, "connect carol true, join carol ") || len(b.asked) != 3 {
		t.Errorf("asked %s", got)
	}
}

// While a hook is down, what was chosen for each event happens.
func TestHookDown(t *testing.T) {
	t.Parallel()
	b := &bouncer{thinks: make(chan struct{})}
	hook, stop := serveHook(t, b)
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret = []byte(secret)
		o.Hook, o.HookEvents, o.HookOnFailure = hook, []string{"connect", "join", "publish"}, []string{"refuse", "connect=allow"}
		o.HookTimeout = 4 * time.Second
	}})
	alice := signedIn(t, s, 0, frame.JSON, "alice")
	alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "general"}))
	alice.Join("general")
	alice.Say("general", "hello")

	// Who is sent away while the hook thinks has not said it.
	eve := signedIn(t, s, 0, frame.JSON, "eve")
	eve.Join("general")
	eve.Send(ask.ChatMessage(&wirev1.SendMessage{RoomId: "general", Content: proto.String("think")}))
	<-b.thinks
	wantAck(t, alice, "general", ask.Kick(&wirev1.Moderate{RoomId: "general", UserId: "eve"}))
	eve.Want("kicked")
	b.thinks <- struct{}{}
	if refused := eve.Want("error").GetError(); refused.Code != "not-joined" {
		t.Errorf("kicked while the hook was asked: %v", refused)
	}

	stop()
	refused := alice.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: "general", Content: proto.String("hello?")}), "unavailable")
	if refused.GetRetryAfterMs() == 0 {
		t.Errorf("refused with %v", refused)
	}
	bob := signedIn(t, s, 0, frame.JSON, "bob")
	bob.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "general"}), "unavailable")
	if got := bob.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: "general"})).GetMessageHistory(); len(got.GetMessages()) != 1 {
		t.Errorf("stored: %v", got)
	}
}
