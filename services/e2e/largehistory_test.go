package e2e

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// What a client has missed may be several times what may wait for it in its
// queue; it gets all of it, for it has asked.
func TestRecoveryLargerThanTheQueue(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) { o.RateLimit = 0 }})
	writer := client.Dial(t, s.URLs[0], client.Options{})
	writer.SignIn(s.Token(t, "writer"))
	writer.Join("large")
	const messages = 300
	text := strings.Repeat("x", 16<<10)
	for range messages {
		writer.Say("large", text)
		writer.Hear("large", text)
	}
	for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
		reader := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding})
		reader.SignIn(s.Token(t, "reader"))
		joined, page := reader.JoinWith(&wirev1.JoinRoom{RoomId: "large", After: proto.Int64(0)})
		got := len(page.Messages)
		for page.HasMore {
			page = reader.Want("message-history").GetMessageHistory()
			got += len(page.Messages)
		}
		if !joined.Recovered || got != messages {
			t.Errorf("%s: recovered %v, %d of %d messages", encoding, joined.Recovered, got, messages)
		}
	}
}
