package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
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
				shows func(*breaker, time.Duration) // what is different then
			}{
				{"gateway", c.gateways[0], (*breaker).tokens},
				{"nats leader", c.nats[b.leader()], nil},
				{process.Auth, c.services[process.Auth], (*breaker).issued},
				{process.Registry, c.services[process.Registry], (*breaker).judged},
				{process.Presence, c.services[process.Presence], nil},
				{process.History, c.services[process.History], nil},
			}[:map[bool]int{false: 2, true: 6}[all]] {
				f := fault{fmt.Sprintf("clock of %s %+.0f h", victim.name, wrong.Hours()), func(b *breaker) {
					victim.SetClock(wrong)
					if victim.shows != nil {
						victim.shows(b, wrong)
					}
					if victim.Process == c.gateways[0] && (all || wrong > 0) {
						b.told(wrong)
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

// issued has an auth service whose clock is wrong make a token: of one that is
// ahead the gateways think that it comes too early, and one of a service that is
// behind ends before its time.
func (b *breaker) issued(wrong time.Duration) {
	b.t.Helper()
	body := fmt.Sprintf(`{"username": "late%d", "password": "a password of this test"}`, wrong/time.Hour+1)
	var answer struct{ Token string }
	process.Eventually(b.t, 20*time.Second, "auth makes a token", func() error {
		response, err := http.Post(b.urls[1]+"/api/register", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", response.Status)
		}
		return json.NewDecoder(response.Body).Decode(&answer)
	})
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(answer.Token, &claims); err != nil || claims.IssuedAt == nil || claims.ExpiresAt == nil {
		b.t.Errorf("auth makes a token %+v: %v", claims, err)
		return
	}
	if off := time.Until(claims.IssuedAt.Time) - wrong; off.Abs() > time.Minute {
		b.t.Errorf("auth %v wrong makes a token of %v", wrong, claims.IssuedAt)
	}
	conn := client.Dial(b.t, b.urls[1], client.Options{})
	defer conn.Close()
	said := conn.Ask(ask.Auth(answer.Token))
	b.t.Logf("of a token that an auth service %v wrong has made, which ends in %v, a gateway says: %v", wrong, time.Until(claims.ExpiresAt.Time).Round(time.Second), said.GetAuthFailed())
	if wrong > 0 && said.GetAuthSuccess() != nil || wrong < 0 && time.Until(claims.ExpiresAt.Time) > time.Minute {
		b.t.Errorf("the token of an auth service %v wrong is as good as any", wrong)
	}
}

// judged has a registry whose clock is wrong mute somebody for half an hour, which is
// over for one that is ahead.
func (b *breaker) judged(wrong time.Duration) {
	b.t.Helper()
	owner, other := client.Dial(b.t, b.urls[1], client.Options{}), client.Dial(b.t, b.urls[2], client.Options{})
	defer owner.Close()
	defer other.Close()
	owner.SignIn(signed(b.t, jwt.MapClaims{"userId": "judge", "username": "judge"}))
	other.SignIn(signed(b.t, jwt.MapClaims{"userId": "judged", "username": "judged"}))
	room := fmt.Sprintf("court-%d", wrong/time.Hour+1)
	owner.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: room}))
	owner.Join(room)
	other.Join(room)
	mute := ask.Mute(&wirev1.Moderate{RoomId: room, UserId: "judged", Until: timestamppb.New(time.Now().Add(30 * time.Minute))})
	said := owner.Ask(mute).GetError()
	b.t.Logf("a registry %v wrong says of a mute for half an hour: %v", wrong, said)
	if refused := said != nil; refused != (wrong > 0) {
		b.t.Errorf("a registry %v wrong refuses a mute for half an hour: %v", wrong, said)
	}
}
