package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// serving is a parley serve and where it serves clients.
type serving struct {
	*process.Process
	url, dir string
}

// serve starts parley serve with what it takes not to be in another's way, and
// what env says more.
func serve(t *testing.T, env ...string) serving {
	t.Helper()
	addr, admin, dir := process.Addr(t), process.Addr(t), filepath.Join(t.TempDir(), "data")
	env = append([]string{"PARLEY_DATA_DIR=" + dir, "PARLEY_HTTP_ADDR=" + addr, "PARLEY_ADMIN_ADDR=" + admin}, env...)
	p := process.Start(t, process.Spec{Program: process.Parley, Args: []string{"serve"}, Env: env, Admin: "http://" + admin})
	return serving{p, "http://" + addr, dir}
}

// A first start needs nothing, and is ready in a moment.
func TestProcessServe(t *testing.T) {
	process.Binary(t, process.Parley) // building it is not part of the start
	began := time.Now()
	p := serve(t)
	p.WaitReady()
	took := time.Since(began)
	t.Logf("ready after %v", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("ready only after %v", took)
	}
	port := p.url[strings.LastIndex(p.url, ":"):]
	process.Eventually(t, recovery, "the URL is printed", func() error {
		if out := p.Stdout(); !strings.Contains(out, "http://localhost"+port) {
			return fmt.Errorf("stdout is %q", out)
		}
		return nil
	})
	if info, err := os.Stat(p.dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
	calm := func(what string) {
		t.Helper()
		for _, level := range []string{"WARN", "ERROR"} {
			if strings.Contains(p.Stderr(), `"level":"`+level+`"`) {
				t.Errorf("%s warns:\n%s", what, p.Stderr())
			}
		}
	}
	calm("an undisturbed start")

	// What is served to browsers.
	status, page, err := process.Get(p.url + "/")
	if err != nil || status != http.StatusOK || !strings.Contains(page, "<html") {
		t.Errorf("GET /: %d %v %q", status, err, page)
	}
	status, keys, err := process.Get(p.url + "/.well-known/jwks.json")
	var set struct {
		Keys []struct{ Kty, Kid, D string }
	}
	if err = errors.Join(err, json.Unmarshal([]byte(keys), &set)); err != nil || status != http.StatusOK || len(set.Keys) != 1 || set.Keys[0].Kid == "" || set.Keys[0].D != "" {
		t.Errorf("the keys: %d %v %s", status, err, keys)
	}

	alice, bob := client.Dial(t, p.url, client.Options{}), client.Dial(t, p.url, client.Options{})
	alice.SignIn(stack.Token(t, p.url, "alice"))
	bob.SignIn(stack.Token(t, p.url, "bob"))
	alice.Join("general")
	bob.Join("general")
	chatting(t, "general", "hello", alice, bob)
	t.Run("admin port", func(t *testing.T) { testAdmin(t, p) })
	if code := p.Stop(); code != 0 {
		t.Errorf("exit status %d after SIGTERM", code)
	}
	calm("an orderly stop")
}

// testAdmin looks at the admin port of a process with two clients in a room
// who have said a word each.
func testAdmin(t *testing.T, p serving) {
	for path, want := range map[string]string{"/livez": "ok", "/readyz": `"ready": true`} {
		if status, body, err := process.Get(p.Admin + path); err != nil || status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %v %s", path, status, err, body)
		}
	}
	status, body, err := process.Get(p.Admin + "/health")
	var health struct {
		Status      string
		Uptime      *float64
		Connections struct{ Total, Active, Peak int }
		Messages    struct {
			Sent, Received, Failed int
			Rate                   *float64
		}
		Rooms  int
		Memory struct{ Used int64 }
	}
	if err = errors.Join(err, json.Unmarshal([]byte(body), &health)); err != nil || status != http.StatusOK {
		t.Fatalf("/health: %d %v %s", status, err, body)
	}
	if c := health.Connections; health.Status != "healthy" || health.Uptime == nil || health.Messages.Rate == nil ||
		c.Total != 2 || c.Active != 2 || c.Peak != 2 || health.Messages.Failed != 0 ||
		health.Messages.Received < 6 || health.Messages.Sent < 12 || health.Rooms < 2 || health.Memory.Used <= 0 {
		t.Errorf("/health: %s", body)
	}
	status, metrics, err := process.Get(p.Admin + "/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/metrics: %d %v", status, err)
	}
	values := make(map[string]string) // name without labels, to the last one's value
	for line := range strings.Lines(metrics) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			name, _, _ := strings.Cut(name, "{")
			values[name] = value[strings.LastIndex(value, " ")+1:]
		}
	}
	for name, want := range map[string]string{
		"parley_gateway_connections": "2", "parley_gateway_connections_peak": "2",
		"parley_gateway_connections_opened_total": "2", "parley_gateway_rooms": "2",
		"parley_gateway_publishes_total": "2", "parley_gateway_publishes_failed_total": "0",
		"parley_gateway_deliveries_total": "", "parley_gateway_queue_bytes": "",
		"parley_gateway_messages_received_total": "", "parley_gateway_messages_sent_total": "",
		"parley_gateway_delivery_latency_seconds_count": "", "parley_gateway_delivery_latency_seconds_bucket": "",
	} {
		if value, ok := values[name]; !ok || want != "" && value != want {
			t.Errorf("metric %s is %q, want %q", name, value, want)
		}
	}
}

// SIGTERM under load ends with going-away, 1001 and 0, and the next start has
// all that was promised: accounts, keys, rooms, and every acknowledged message.
func TestProcessServeRestart(t *testing.T) {
	p := serve(t, "PARLEY_RATE_LIMIT=0", "PARLEY_DRAIN_DELAY=500ms")
	p.WaitReady()
	token := stack.Token(t, p.url, "alice")
	alice := client.Dial(t, p.url, client.Options{})
	alice.SignIn(token)
	if made := alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "lasting", Persistent: proto.Bool(true)})).GetRoomCreated(); !made.GetSuccess() {
		t.Fatalf("create-room answered %v", made)
	}
	joined, _ := alice.Join("lasting")
	idle := client.Dial(t, p.url, client.Options{})
	idle.SignIn(stack.Token(t, p.url, "bob"))

	// Messages go on until the gateway says that it ends.
	sent := 0
	say := func() {
		id := fmt.Sprint("message ", sent)
		sent++
		f := ask.ChatMessage(&wirev1.SendMessage{RoomId: "lasting", Content: &id})
		f.Id = &id
		alice.Send(f)
	}
	for range 200 {
		say()
	}
	p.Signal(syscall.SIGTERM)
	process.Eventually(t, recovery, "it is not ready", func() error {
		say()
		if status, _, err := process.Get(p.Admin + "/readyz"); err != nil || status != http.StatusServiceUnavailable {
			return fmt.Errorf("/readyz: %d %v", status, err)
		}
		return nil
	})
	for _, c := range []*client.Client{alice, idle} {
		if away := c.Want("going-away").GetGoingAway(); away.ReconnectInMs < 0 {
			t.Errorf("going-away %v", away)
		}
		if code := c.Closed(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if strings.Contains(p.Stderr(), `"level":"ERROR"`) {
		t.Errorf("errors at the end:\n%s", p.Stderr())
	}
	acks := alice.Untaken("ack")
	t.Logf("%d of %d messages acknowledged", len(acks), sent)
	if len(acks) < 200 {
		t.Errorf("only %d messages were acknowledged", len(acks))
	}

	p.Restart()
	p.WaitReady()
	alice = client.Dial(t, p.url, client.Options{})
	alice.SignIn(token) // the same keys
	if again, _ := alice.Join("lasting"); again.Epoch != joined.Epoch {
		t.Errorf("the epoch was %s and is %s", joined.Epoch, again.Epoch)
	}
	limit := int32(1000)
	stored := make(map[string]int64)
	for _, m := range alice.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: "lasting", Limit: &limit})).GetMessageHistory().GetMessages() {
		stored[m.GetChatMessage().GetContent()] = m.GetChatMessage().GetSeq()
	}
	for _, ack := range acks {
		if stored[ack.GetId()] != ack.GetAck().GetSeq() {
			t.Errorf("%s, acknowledged as %d, is stored as %d", ack.GetId(), ack.GetAck().GetSeq(), stored[ack.GetId()])
		}
	}
	rooms := alice.Ask(ask.GetRooms(&wirev1.GetRooms{})).GetRoomsList().GetRooms()
	if len(rooms) == 0 || !strings.Contains(fmt.Sprint(rooms), "lasting") {
		t.Errorf("the rooms are %v", rooms)
	}
	if err := signsIn(p.url, "alice"); err != nil {
		t.Errorf("signing in again: %v", err)
	}
	if status, body := stack.Post(t, p.url+"/api/auth", map[string]string{"username": "alice", "password": "wrong"}); status != http.StatusUnauthorized {
		t.Errorf("a wrong password after a restart: %d %v", status, body)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// A killed process has lost nothing that it acknowledged.
func TestProcessServeKilled(t *testing.T) {
	p := serve(t, "PARLEY_RATE_LIMIT=0")
	p.WaitReady()
	token := stack.Token(t, p.url, "alice")
	alice := client.Dial(t, p.url, client.Options{})
	me := alice.SignIn(token)
	joined, _ := alice.Join("general")
	var last int64
	for i := range 50 {
		last = alice.Say("general", fmt.Sprint("message ", i)).GetSeq()
	}
	p.Kill()
	alice.Closed()
	p.Restart()
	p.WaitReady()
	alice = client.Dial(t, p.url, client.Options{})
	resumed := alice.Ask(ask.Resume(me.ResumeToken, map[string]*wirev1.Position{"general": {Seq: last - 10, Epoch: &joined.Epoch}})).GetResumed()
	if room := resumed.GetRooms()["general"]; !room.GetRecovered() || room.Seq != last {
		t.Fatalf("resumed %v", resumed)
	}
	if missed := alice.Want("message-history").GetMessageHistory().Messages; len(missed) != 10 || missed[9].GetChatMessage().GetContent() != "message 49" {
		t.Errorf("the last 10 are %v", missed)
	}
	client.Dial(t, p.url, client.Options{}).SignIn(token)
}

// A second signal ends at once what takes long to end.
func TestProcessSecondSignal(t *testing.T) {
	p := serve(t, "PARLEY_DRAIN_DELAY=1m", "PARLEY_GRACE=2m")
	p.WaitReady()
	p.Signal(syscall.SIGTERM)
	process.Eventually(t, recovery, "it drains", func() error {
		if p.Ready() == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	if !p.Running() {
		t.Fatal("it did not drain")
	}
	began := time.Now()
	if code := p.Stop(); code == 0 || time.Since(began) > 10*time.Second {
		t.Errorf("exit status %d, %v after the second signal", code, time.Since(began))
	}
}
