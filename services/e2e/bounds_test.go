package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// A client that sends and never reads is ended when its queue is full, and
// nobody else notices.
func TestSenderThatNeverReads(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.RateLimit, o.QueueBytes = secret, 0, 128<<10
	}})
	alice, bob := signedIn(t, s, 0, frame.JSON, "alice"), signedIn(t, s, 0, frame.JSON, "bob")
	alice.Join("calm")
	bob.Join("calm")
	mute, _ := client.Upgrade(t, s.URLs[0], "/ws", http.Header{
		"Authorization": {"Bearer " + signHS256(t, secret, claims{"sub": "mute"})},
	})
	mute.ReadBuffer(64 << 10)
	mute.Write(client.OpText, []byte(`{"type":"join-room","roomId":"noise"}`))
	message := fmt.Appendf(nil, `{"type":"chat-message","id":"x%%d","roomId":"noise","content":%q}`, strings.Repeat("n", 8<<10))
	// Each comes back to its sender, who does not take it.
	deadline := time.Now().Add(client.Patience)
	for i := 0; mute.TryWrite(client.OpText, fmt.Appendf(nil, string(message), i)) == nil; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages were taken from a client that reads nothing", i)
		}
	}
	alice.Say("calm", "still here")
	bob.Hear("calm", "still here")
}

// Clients that read nothing have together no more waiting than they may, though
// none has as much as one may, and those who read notice nothing.
func TestQueueTotal(t *testing.T) {
	const (
		mutes = 6
		total = 1 << 20
		most  = total + mutes*(64<<10+2*(16<<10)) // of each what may wait all the same, and the message that is one too many
	)
	reader := metric.NewManualReader()
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.RateLimit, o.QueueBytes, o.QueueTotal = secret, 0, total, total
		o.Meter = metric.NewMeterProvider(metric.WithReader(reader)).Meter("total")
	}})
	alice, bob := signedIn(t, s, 0, frame.JSON, "alice"), signedIn(t, s, 0, frame.JSON, "bob")
	alice.Join("noise")
	bob.Join("noise")
	var mute *client.Raw
	for i := range mutes {
		mute, _ = client.Upgrade(t, s.URLs[0], "/ws", http.Header{
			"Authorization": {"Bearer " + signHS256(t, secret, claims{"sub": fmt.Sprint("mute-", i)})},
		})
		mute.Write(client.OpText, []byte(`{"type":"join-room","id":"j","roomId":"noise"}`))
		for mute.ReadText()["type"] != "message-history" {
		}
		mute.ReadBuffer(64 << 10)
	}
	deadline := time.Now().Add(client.Patience)
	waited, slow := int64(0), int64(0)
	for i := 0; slow < mutes; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d clients that read nothing are ended; %d bytes waited for them", slow, mutes, waited)
		}
		content := fmt.Sprintf("%d %s", i, strings.Repeat("n", 15<<10))
		alice.Say("noise", content)
		bob.Hear("noise", content)
		waited = max(waited, counted(t, reader, "parley.gateway.queue.bytes"))
		slow = counted(t, reader, "parley.gateway.queue.overflows")
		if slow == 0 && waited > most {
			break
		}
	}
	if waited < total || waited > most {
		t.Errorf("at most %d bytes waited, want %d to %d", waited, total, most)
	}
	for {
		opcode, payload, err := mute.Read()
		if err != nil {
			t.Fatalf("the connection ended without a close frame: %v", err)
		}
		if opcode == client.OpClose {
			if code := client.CloseCode(payload); code != 4102 {
				t.Errorf("closed with %d, want 4102", code)
			}
			break
		}
	}
}

// A gateway that ends sends its clients away in waves.
func TestDrainGoesInWaves(t *testing.T) {
	const wave = 2
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.DrainWave, o.DrainInterval, o.DrainTimeout = secret, wave, 5*time.Second, 12*time.Second
	}})
	var clients []*client.Client
	for i := range 2 * wave {
		clients = append(clients, signedIn(t, s, 0, frame.JSON, fmt.Sprint("user-", i)))
	}
	done := s.StopGateway(0)
	alive := func() (n int) {
		for _, c := range clients {
			if c.Alive() {
				n++
			}
		}
		return n
	}
	stack.Eventually(t, "the first wave is gone", func() error {
		if n := alive(); n > wave {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
	// The second wave is 5 s behind; those in it are served meanwhile.
	if n := alive(); n != wave {
		t.Fatalf("%d of %d clients are there between the waves, want %d", n, len(clients), wave)
	}
	for _, c := range clients {
		if c.Alive() {
			c.Settle()
		}
	}
	for _, c := range clients {
		c.Want("going-away")
		if code := c.Closed(); code != 1001 {
			t.Errorf("closed with %d, want 1001", code)
		}
	}
	<-done
}

// A gateway that has many more connections than another asks some clients to
// reconnect.
func TestRebalance(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) {
		o.JWTSecret, o.Rebalance = secret, 5
	}})
	const clients = 40 // the mean is 20, tolerated are 30
	var all []*client.Client
	for i := range clients {
		all = append(all, signedIn(t, s, 0, frame.JSON, fmt.Sprint("user-", i)))
	}
	shed := func() (n int) {
		for _, c := range all {
			if !c.Alive() {
				if code := c.Closed(); code != 4200 {
					t.Fatalf("closed with %d, want 4200", code)
				}
				n++
			}
		}
		return n
	}
	stack.Eventually(t, "some were asked to reconnect", func() error {
		if n := shed(); n < 5 {
			return fmt.Errorf("%d were", n)
		}
		return nil
	})
	if n := shed(); n > clients/2 {
		t.Errorf("%d of %d were asked to reconnect, though the other gateway has none of them", n, clients)
	}
}
