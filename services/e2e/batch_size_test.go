package e2e

import (
	"strings"
	"testing"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// TestBatchesAreBoundedInBytes has more said within one interval than may wait
// for a client. Were all of it collected, it would go out at once and end the
// connection, though the client reads.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	const most, messages = 256 << 10, 60
	s := stack.Start(t, stack.Options{})
	alice := client.Dial(t, s.URLs[0], client.Options{})
	alice.SignIn(s.Token(t, "alice"))
	bob := client.Dial(t, s.URLs[0], client.Options{})
	bob.SignIn(s.Token(t, "bob"))
	rooms := []string{"one", "two", "three"}
	for _, room := range rooms {
		alice.Join(room)
		bob.Join(room)
	}
	bob.Ask(ask.Configure(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 1000, IntervalMs: 10_000}}))
	content := strings.Repeat("x", 16<<10)
	begin := time.Now()
	for i := range messages {
		alice.Say(rooms[i%len(rooms)], content)
	}
	// Long before the interval is over all but the last few have come.
	for got := 0; got < messages-8; {
		batch := bob.Want("message-batch").GetMessageBatch()
		size := 0
		for _, m := range batch.Messages {
			size += len(m.GetChatMessage().GetContent())
		}
		if got += len(batch.Messages); size > most {
			t.Fatalf("a batch of %d bytes", size)
		}
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if !bob.Alive() {
		t.Error("the connection has ended")
	}
}
