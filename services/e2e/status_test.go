package e2e

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// testStatus has a user tell how available it is: those who share rooms hear of
// it once, on both gateways, and nobody else does.
func testStatus(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	a, b := named(t, "a"), named(t, "b")
	ann := signedIn(t, s, 0, encoding, named(t, "ann"))
	near, far := signedIn(t, s, 0, encoding, "near"), signedIn(t, s, 1, encoding, "far")
	stranger := signedIn(t, s, 1, encoding, "stranger") // in the lobby, as all are
	for _, c := range []*client.Client{ann, near, far} {
		c.Join(a)
		c.Join(b)
	}
	// A join is answered when presence knows of it, so it knows the two devices
	// in this order, though they are on two gateways.
	twin := signedIn(t, s, 1, encoding, named(t, "ann"))
	twin.Join(named(t, "c"))
	ann.AskError(ask.SetStatus("", ""), "invalid-argument")
	ann.AskError(ask.SetStatus("asleep", ""), "invalid-argument")
	ann.AskError(ask.SetStatus("away", strings.Repeat("x", 129)), "invalid-argument")

	set := func(c *client.Client, status, text string) {
		t.Helper()
		if got := c.Ask(ask.SetStatus(status, text)).GetStatusSet(); got.GetStatus() != status || got.GetText() != text {
			t.Fatalf("set-status was answered %v", got)
		}
	}
	hear := func(status, text string) {
		t.Helper()
		for _, c := range []*client.Client{near, far} {
			got := c.Want("presence").GetPresence()
			if got.User.GetId() != named(t, "ann") || got.Status != status || got.GetText() != text {
				t.Errorf("presence %v, want %s %q", got, status, text)
			}
		}
	}
	set(ann, "away", "lunch") // the other device is online
	set(twin, "busy", "")
	hear("away", "lunch")
	set(ann, "busy", "work")
	hear("busy", "") // of the newer device
	twin.Close()
	hear("busy", "work")
	set(ann, "online", "")
	hear("online", "")
	for _, c := range []*client.Client{ann, near, far, stranger} {
		c.Settle()
		if more := c.Untaken("presence"); len(more) > 0 {
			t.Errorf("somebody was told %v", more)
		}
	}
	// A room of two more: who shares only one of the rooms hears it there.
	stranger.Join(b)
	set(ann, "away", "")
	stranger.Wait("presence", func(f *wirev1.ServerFrame) bool { return f.GetPresence().GetStatus() == "away" })
	hear("away", "")
}
