package main

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
)

// As a gateway asks it.
func TestFilter(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, "a token", []string{"darn", "été"}) }()
	hook := dial(t, listener.Addr().String(), "a token")
	for content, want := range map[string]string{
		"Darn it, darn!": "**** it, ****!",
		"darned":         "",
		"L'Été":          "L'***",
		"hello":          "",
	} {
		answer, err := hook.Publish(t.Context(), &hookv1.PublishRequest{Content: &content})
		if err != nil || answer.Refusal != nil || answer.GetContent() != want {
			t.Errorf("%q: %v, %v, want %q", content, answer, err, want)
		}
	}
	link := &hookv1.PublishRequest{Content: proto.String("see https://example.com")}
	if answer, err := hook.Publish(t.Context(), link); err != nil || answer.GetRefusal().GetCode() != string(errs.Forbidden) {
		t.Errorf("a link: %v, %v", answer, err)
	}
	link.Client = &hookv1.Client{Roles: []string{"member"}}
	if answer, err := hook.Publish(t.Context(), link); err != nil || answer.Refusal != nil {
		t.Errorf("a member's link: %v, %v", answer, err)
	}
	if _, err := dial(t, listener.Addr().String(), "another").Publish(t.Context(), link); err == nil || status.Code(err) == codes.OK {
		t.Error("a stranger was answered")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, addr, token string) hookv1.HookClient {
	t.Helper()
	conn, err := rpc.Dial("hook", addr, rpc.ClientOptions{Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return hookv1.NewHookClient(conn)
}
