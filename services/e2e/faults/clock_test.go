package faults

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// TestClockOfOneProcess has the clock of one process after another be an hour
// ahead and an hour behind while the checker writes and reads: no order and no
// acknowledgement hangs on a clock.
func TestClockOfOneProcess(t *testing.T) {
	process.NeedClocks(t)
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	t.Parallel()
	all := os.Getenv("PARLEY_DISK") != "" // else only those that much hangs on
	c := deploy(t)
	report := checked(t, c, 2*time.Minute, func(b *breaker) {
		for _, wrong := range []time.Duration{time.Hour, -time.Hour} {
			for _, victim := range []struct {
				name string
				*process.Process
			}{
				{"gateway", c.gateways[0]},
				{"nats leader", c.nats[b.leader()]},
				{process.Auth, c.services[process.Auth]},
				{process.Presence, c.services[process.Presence]},
				{process.Registry, c.services[process.Registry]},
				{process.History, c.services[process.History]},
			}[:map[bool]int{false: 2, true: 6}[all]] {
				f := fault{fmt.Sprintf("clock of %s %+.0f h", victim.name, wrong.Hours()), func(b *breaker) {
					victim.SetClock(wrong)
					if victim.Process == c.gateways[0] {
						b.tokens(wrong)
						if all || wrong > 0 {
							b.told(wrong)
						}
					}
					b.control.Cut(2) // they resume, or sign in anew
					b.flows()
					victim.SetClock(0)
				}}
				t.Logf("%7.1fs  %s", b.control.Elapsed().Seconds(), f.name)
				b.run(f)
			}
		}
	})
	t.Logf("OUTCOME one process's clock an hour ahead and behind: %d acknowledged, broken promises %v", report.Acked, report.Counts)
}

// told wants a gateway to say that its clock is wrong, and to be ready.
func (b *breaker) told(wrong time.Duration) {
	b.t.Helper()
	g := b.gateways[0]
	way := "ahead of"
	if wrong < 0 {
		way = "behind"
	}
	process.Eventually(b.t, 20*time.Second, "a gateway says that its clock is wrong", func() error {
		status, body, err := process.Get(g.Admin + "/readyz")
		if err == nil && (status != http.StatusOK || !strings.Contains(body, way+" that of NATS")) {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	if _, body, err := process.Get(g.Admin + "/metrics"); err != nil || !strings.Contains(body, fmt.Sprintf("parley_bus_clock_offset_seconds %d", wrong/time.Second)[:30]) {
		b.t.Errorf("parley_bus_clock_offset_seconds is not in the metrics: %v", err)
	}
}

// tokens shows a gateway whose clock is wrong tokens that are good, and wants
// those refused that it must think too old or too new.
func (b *breaker) tokens(wrong time.Duration) {
	b.t.Helper()
	now := time.Now()
	refused := map[bool]bool{}
	for _, dated := range []bool{true, false} {
		claims := jwt.MapClaims{"userId": "dated", "username": "dated", "exp": now.Add(30 * time.Minute).Unix()}
		if dated {
			claims["iat"] = now.Unix()
		}
		conn := client.Dial(b.t, b.urls[0], client.Options{})
		answer := conn.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: signed(b.t, claims)}}})
		refused[dated] = answer.GetAuthSuccess() == nil
		if refused[dated] {
			b.t.Logf("a gateway %v wrong says: %v", wrong, answer)
		}
		conn.Close()
	}
	// Ahead, each has expired; behind, one was made in the future.
	if !refused[true] || refused[false] != (wrong > 0) {
		b.t.Errorf("a gateway %v wrong refuses a token with iat: %v, without: %v", wrong, refused[true], refused[false])
	}
}
