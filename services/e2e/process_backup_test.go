package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// A deployment that is in use is saved, and restored into an empty NATS: rooms,
// accounts, messages and their numbers are there, what came after the backup is
// not, and clients that remember a place of the first life are told that it
// means nothing any more.
func TestProcessBackup(t *testing.T) {
	parley := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), process.Binary(t, process.Parley), append([]string{"admin"}, args...)...).CombinedOutput()
		return string(out), err
	}
	dir := filepath.Join(t.TempDir(), "backup")

	first := process.Deploy(t, 1)
	alice := client.Dial(t, first.URLs[0], client.Options{})
	me := alice.SignIn(register(t, first.URLs[0], "alice"))
	for _, visibility := range []string{"public", "private"} {
		alice.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: visibility, Visibility: &visibility, Persistent: new(true)}))
	}
	joined, _ := alice.Join("private")
	const saved = 30
	var seqs []int64
	for i := range saved {
		seqs = append(seqs, alice.Say("private", fmt.Sprint("before ", i)).GetSeq())
	}
	if out, err := parley("backup", "--dir", dir, "--nats-url", "nats://"+first.Broker()); err != nil || !strings.Contains(out, "KV_parley_rooms") {
		t.Fatalf("parley admin backup: %v: %s", err, out)
	}
	late := alice.Say("private", "after the backup").GetSeq()
	if out, err := parley("backup", "--dir", dir, "--nats-url", "nats://"+first.Broker()); err == nil || !strings.Contains(out, "exists") {
		t.Errorf("a second backup into the same directory: %v: %s", err, out)
	}
	if out, err := parley("restore", "--dir", dir, "--nats-url", "nats://"+first.Broker()); err == nil || !strings.Contains(out, "restore into an empty one") {
		t.Errorf("restoring into a deployment: %v: %s", err, out)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the backup's directory: %v, %v", info, err)
	}
	var manifest struct{ Streams []struct{ Name string } }
	content, err := os.ReadFile(filepath.Join(dir, "backup.json"))
	if err == nil {
		err = json.Unmarshal(content, &manifest)
	}
	if n := len(manifest.Streams); err != nil || n == 0 || manifest.Streams[n-1].Name != "KV_parley_config" {
		t.Errorf("the manifest: %v: %s", err, content)
	}
	for _, p := range first.All() {
		p.Kill()
	}

	second := process.Plan(t, 1)
	second.StartNATS()
	second.NATS.WaitReady()
	if out, err := parley("restore", "--dir", dir, "--nats-url", "nats://"+second.Broker()); err != nil {
		t.Fatalf("parley admin restore: %v: %s", err, out)
	}
	for _, s := range process.Services {
		second.StartService(s)
	}
	second.StartGateway(0)
	second.WaitReady()

	status, body := stack.Post(t, second.URLs[0]+"/api/auth", map[string]string{"username": "alice", "password": "correct horse"})
	token, _ := body["token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("alice's account: %d %v", status, body)
	}
	alice = client.Dial(t, second.URLs[0], client.Options{})
	if again := alice.SignIn(token); again.User.Id != me.User.Id {
		t.Errorf("alice is %v and was %v", again.User, me.User)
	}
	// By the place that she had reached, which the restored log has not.
	rejoined, history := alice.JoinWith(&wirev1.JoinRoom{RoomId: "private", After: &late, Epoch: &joined.Epoch})
	if rejoined.Recovered || rejoined.Epoch == joined.Epoch {
		t.Errorf("rejoined %v, and it was %v", rejoined, joined)
	}
	if len(history.Messages) != saved {
		t.Errorf("%d messages, want %d", len(history.Messages), saved)
	}
	for i, m := range history.Messages {
		m := m.GetChatMessage()
		if m.GetSeq() != seqs[i] || m.GetContent() != fmt.Sprint("before ", i) {
			t.Errorf("message %d is %v, want seq %d", i, m, seqs[i])
		}
	}
	if seq := alice.Say("private", "in the second life").GetSeq(); seq <= seqs[saved-1] {
		t.Errorf("the next message has seq %d, after %d", seq, seqs[saved-1])
	}
	if info := alice.Ask(ask.GetRoomInfo("public")).GetRoomInfo(); !info.GetExists() {
		t.Errorf("the other room: %v", info)
	}
	// The signing keys are restored, and so a resume of the first life is good.
	other := client.Dial(t, second.URLs[0], client.Options{})
	resumed := other.Ask(ask.Resume(me.ResumeToken, map[string]*wirev1.Position{"private": {Seq: late, Epoch: &joined.Epoch}})).GetResumed()
	if room := resumed.GetRooms()["private"]; room == nil || room.GetRecovered() {
		t.Errorf("resumed %v", resumed)
	}
}
