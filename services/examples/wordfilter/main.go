// Command wordfilter is an example of a hook: gateways ask it about each message
// before it is stored. It puts stars in place of some words, and refuses links
// of users who have no role.
//
//	HOOK_TOKEN=… wordfilter 127.0.0.1:9300 darn heck
//	PARLEY_HOOK_ADDR=127.0.0.1:9300 PARLEY_HOOK_TOKEN=… PARLEY_HOOK_EVENTS=publish parley serve
package main

import (
	"context"
	"crypto/subtle"
	"log"
	"net"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	hookv1 "github.com/parley-im/parley/proto/hook/v1"
)

func main() {
	token := os.Getenv("HOOK_TOKEN")
	if len(os.Args) < 3 || token == "" {
		log.Fatal("usage: HOOK_TOKEN=… wordfilter ADDRESS WORD…")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(ctx, listener, token, os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// serve answers gateways that know the token, until ctx ends.
func serve(ctx context.Context, listener net.Listener, token string, words []string) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		shown := strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), "")
		if subtle.ConstantTimeCompare([]byte(shown), []byte("Bearer "+token)) != 1 {
			return nil, status.Error(codes.Unauthenticated, "who are you?")
		}
		return next(ctx, r)
	}))
	hookv1.RegisterHookServer(server, newFilter(words))
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(listener)
}

// filter is the hook. What it is not asked about (PARLEY_HOOK_EVENTS) it need
// not answer.
type filter struct {
	hookv1.UnimplementedHookServer
	words map[string]bool // in lower case
}

func newFilter(words []string) *filter {
	f := &filter{words: make(map[string]bool, len(words))}
	for _, word := range words {
		f.words[strings.ToLower(word)] = true
	}
	return f
}

// word is what is compared: letters of any script, with what stands on them.
var word = regexp.MustCompile(`[\p{L}\p{M}\p{N}]+`)

// Publish answers with nothing for a message that stays as it is.
func (f *filter) Publish(_ context.Context, r *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
	content := r.GetContent()
	if len(r.Client.GetRoles()) == 0 && strings.Contains(content, "://") {
		return &hookv1.PublishResponse{Refusal: &hookv1.Refusal{Code: "forbidden", Message: "links are for members"}}, nil
	}
	clean := word.ReplaceAllStringFunc(content, func(said string) string {
		if !f.words[strings.ToLower(said)] {
			return said
		}
		return strings.Repeat("*", utf8.RuneCountInString(said))
	})
	if clean == content {
		return &hookv1.PublishResponse{}, nil
	}
	return &hookv1.PublishResponse{Content: &clean}, nil
}
