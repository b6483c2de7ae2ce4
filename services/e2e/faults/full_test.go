package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// TestDiskLimit has NATS come to its own limit (max_file_store, or by default
// three quarters of what the disk had free): what is too much is answered
// unavailable, all else goes on, and with more room everything does.
func TestDiskLimit(t *testing.T) {
	t.Parallel()
	dir, addr, monitor := t.TempDir(), process.Addr(t), process.Addr(t)
	file := filepath.Join(dir, "nats.conf")
	limit := func(store string) {
		text := fmt.Sprintf("listen: %q\nhttp: %q\njetstream { store_dir: %q, max_file_store: %s }\n", addr, monitor, dir, store)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	limit("4MB")
	nats := process.Start(t, process.Spec{Program: process.NATS, Args: []string{"-c", file}, Admin: "http://" + monitor, ReadyPath: "/healthz"})
	nats.WaitReady()
	s := serve(t, filepath.Join(dir, "data"), "PARLEY_NATS_URL=nats://"+addr)
	s.WaitReady()
	talker := talk(t, s.url, 0)
	refused := talker.fill(t, 1000)
	s.WaitSaid("insufficient resources")
	s.wantCheck(t, "log", "insufficient resources")
	talker.reads(t)
	nats.WaitSaid("resource limits exceeded")

	nats.Kill()
	limit("1GB")
	nats.Restart()
	nats.WaitReady()
	s.WaitReady()
	process.Eventually(t, 30*time.Second, "messages are taken again", talker.trySay)
	s.wantCheck(t, "log", "")
	talker.reads(t)
	t.Logf("OUTCOME NATS at its file limit: %d messages acknowledged and kept, then %v; went on with a higher limit", len(talker.acked), refused)
}

// TestDiskFull has the disk of a parley serve be full: nothing that was
// acknowledged is lost, and with room and a restart everything goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	v := mount(t, dir, 64*mib)
	if v == nil {
		t.Skip("NOT TESTED HERE: a full disk, for mounting one needs root on Linux; TestDiskLimit has NATS's own limit")
	}
	s := serve(t, dir)
	s.WaitReady()
	talker := talk(t, s.url, 0)
	for range 20 {
		if err := talker.trySay(); err != nil {
			t.Fatal(err)
		}
	}
	v.fill()
	refused := talker.fill(t, 1000)
	s.WaitSaid("no space left on device") // by the NATS inside
	s.wantCheck(t, "log", "could not write")
	talker.reads(t)
	v.resize(64 * mib)
	if os.Getenv("PARLEY_DISK") != "" { // takes 5 s
		t.Logf("with room, and before a restart: %v", talker.trySay())
	}
	s.Stop()
	s.Restart()
	s.WaitReady()
	again := talk(t, s.url, len(talker.acked))
	again.acked = talker.acked
	again.reads(t)
	if err := again.trySay(); err != nil {
		t.Error(err)
	}
	t.Logf("OUTCOME the disk of a parley serve full: %d messages acknowledged and kept, then %v; went on with room and a restart", len(talker.acked), refused)
}

// serving is a parley serve, and where it serves clients.
type serving struct {
	*process.Process
	url string
}

func serve(t *testing.T, dir string, env ...string) serving {
	addr, admin := process.Addr(t), process.Addr(t)
	env = append(env, "PARLEY_DATA_DIR="+dir, "PARLEY_HTTP_ADDR="+addr, "PARLEY_ADMIN_ADDR="+admin, "PARLEY_JWT_SECRET="+secret,
		"PARLEY_RATE_LIMIT=0", "PARLEY_INPUT_RATE=0", "PARLEY_LOG_FORMAT=text")
	return serving{process.Start(t, process.Spec{Program: process.Parley, Args: []string{"serve"}, Env: env, Admin: "http://" + admin}), "http://" + addr}
}

// wantCheck wants a check of /readyz to tell something, the process ready all
// the same; an empty text is that all is well.
func (s serving) wantCheck(t *testing.T, name, text string) {
	t.Helper()
	process.Eventually(t, 20*time.Second, "/readyz tells of "+name, func() error {
		status, body, err := process.Get(s.Admin + "/readyz")
		if err != nil {
			return err
		}
		var answer struct {
			Checks map[string]struct{ Error string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return err
		}
		told := answer.Checks[name].Error
		if status != http.StatusOK || !strings.Contains(told, text) || (text == "") != (told == "") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// talker says one message after another in a room.
type talker struct {
	*client.Client
	said  int
	acked []string // contents
}

const fullRoom = "full"

func talk(t *testing.T, url string, said int) *talker {
	k := &talker{Client: client.Dial(t, url, client.Options{}), said: said}
	k.SignIn(signed(t, jwt.MapClaims{"userId": "talker", "username": "talker"}))
	k.Join(fullRoom)
	return k
}

// refusedError is an answer that is an error.
type refusedError struct{ answer *wirev1.Error }

func (e refusedError) Error() string { return e.answer.GetCode() + ": " + e.answer.GetMessage() }

// trySay says one message of 12 KiB.
func (k *talker) trySay() error {
	k.said++
	content := fmt.Sprintf("%06d", k.said) + strings.Repeat(".", 12<<10)
	answer := k.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_ChatMessage{
		ChatMessage: &wirev1.SendMessage{RoomId: fullRoom, Content: &content},
	}})
	if answer.GetAck() == nil {
		return refusedError{answer.GetError()}
	}
	k.acked = append(k.acked, content[:6])
	return nil
}

// fill says messages until one is refused, which is to be as unavailable and
// with a time to try again.
func (k *talker) fill(t *testing.T, most int) refusedError {
	t.Helper()
	for range most {
		if err := k.trySay(); err != nil {
			e := err.(refusedError)
			if e.answer.GetCode() != "unavailable" || e.answer.GetRetryAfterMs() == 0 {
				t.Errorf("a full disk is answered %v", e.Error())
			}
			return e
		}
	}
	t.Fatalf("%d messages were taken", most)
	panic("not reached")
}

// reads wants everything acknowledged to be in the history, in its order.
func (k *talker) reads(t *testing.T) {
	t.Helper()
	room := fullRoom
	var found []string
	var before *int64
	for {
		answer := k.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetHistory{GetHistory: &wirev1.GetHistory{RoomId: room, Before: before}}})
		page := answer.GetMessageHistory()
		if page == nil {
			t.Fatalf("get-history answered %v", answer)
		}
		var list []string
		for _, m := range page.Messages {
			list = append(list, m.GetChatMessage().GetContent()[:6])
		}
		found = append(list, found...)
		if len(page.Messages) == 0 || !page.HasMore {
			break
		}
		seq := page.Messages[0].GetChatMessage().Seq
		before = &seq
	}
	// What was refused may have been stored.
	at := 0
	for _, f := range found {
		if at < len(k.acked) && f == k.acked[at] {
			at++
		}
	}
	if at < len(k.acked) {
		t.Errorf("of %d acknowledged messages, %d are in the history; missing is %s", len(k.acked), at, k.acked[at])
	}
}
