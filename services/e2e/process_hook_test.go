package e2e

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	hookv1 "github.com/parley-im/parley/proto/hook/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// A gateway asks the hook that its settings name, and shows it a token of its
// own; a hook that comes later is found.
func TestProcessHook(t *testing.T) {
	addr, shown, start := planHook(t)
	d := process.Plan(t, 1)
	d.Trust = append(d.Trust, "PARLEY_HOOK_ADDR="+addr, "PARLEY_HOOK_TOKEN=the token of a hook",
		"PARLEY_HOOK_EVENTS=publish", "PARLEY_HOOK_ON_FAILURE=refuse")
	d.Start() // the hook does not answer yet
	alice := client.Dial(t, d.URLs[0], client.Options{})
	alice.SignIn(register(t, d.URLs[0], "alice"))
	alice.Join("general")
	alice.AskError(ask.ChatMessage(&wirev1.SendMessage{RoomId: "general", Content: proto.String("hello?")}), "unavailable")
	start()
	until(t, alice, ask.ChatMessage(&wirev1.SendMessage{RoomId: "general", Content: proto.String("damn")}), "")
	alice.Hear("general", "****")
	if got := <-shown; got != "Bearer the token of a hook" {
		t.Errorf("the gateway shows %q", got)
	}
}

// planHook gives a bouncer's address, which answers once start is called, and what
// it is shown in place of a password each time.
func planHook(t *testing.T) (addr string, shown <-chan string, start func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tokens := make(chan string, 10_000)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		tokens <- strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), " ")
		return next(ctx, r)
	}))
	hookv1.RegisterHookServer(server, new(bouncer))
	ended := make(chan error, 1)
	start = func() {
		go func() { ended <- server.Serve(listener) }()
		t.Cleanup(func() {
			server.Stop()
			<-ended
		})
	}
	t.Cleanup(func() { _ = listener.Close() }) // where it was never started
	return listener.Addr().String(), tokens, start
}
