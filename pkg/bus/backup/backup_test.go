package backup_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/backup"
	"github.com/parley-im/parley/pkg/bus/bustest"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// What three nodes kept is restored into one, numbers and all, and is another
// deployment.
func TestClusterIntoSingle(t *testing.T) {
	from := bustest.Cluster(t)
	b := from.Connect(t, bus.Options{Shards: 2})
	ensure(t, b)
	const rooms, messages = 8, 20
	last := make(map[string]uint64)
	for i := range rooms * messages {
		room := "room-" + strconv.Itoa(i%rooms)
		ack, err := b.Publish(t.Context(), room, "id-"+strconv.Itoa(i), &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String("hello")})
		if err != nil {
			t.Fatal(err)
		}
		last[room] = ack.Seq
	}
	kv, err := b.Bucket(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Create(t.Context(), "alice", []byte("an account"))
	if err != nil {
		t.Fatal(err)
	}

	o := backup.Options{NATS: bus.Options{URL: from.URL}, Dir: filepath.Join(t.TempDir(), "backup"), Version: "test"}
	saved, err := backup.Save(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	into := bustest.Single(t)
	o.NATS.URL, o.NATS.Replicas = into.URL, into.Replicas
	restored, err := backup.Restore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(restored.Streams) != len(saved.Streams) || restored.Version != "test" {
		t.Errorf("restored %+v, saved %+v", restored, saved)
	}

	c := into.Connect(t, bus.Options{})
	if was, is := b.Deployment(), c.Deployment(); is.Shards != 2 || is.Incarnation == was.Incarnation || is.Incarnation == "" {
		t.Errorf("the deployment is %+v, and was %+v", is, was)
	}
	for room, seq := range last {
		if tail, err := c.Tail(t.Context(), room); err != nil || tail != seq {
			t.Errorf("%s ends at %d, want %d: %v", room, tail, seq, err)
		}
		page, err := c.ReadAfter(t.Context(), room, 0, 1000, 0)
		if err != nil || len(page.Entries) != messages {
			t.Errorf("%s has %d messages, want %d: %v", room, len(page.Entries), messages, err)
		}
	}
	again, err := c.Bucket(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := again.Get(t.Context(), "alice"); err != nil || string(e.Value) != "an account" || e.Revision != revision {
		t.Errorf("the account is %+v, want revision %d: %v", e, revision, err)
	}
	if _, err := backup.Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), "an empty one") {
		t.Errorf("restoring over a deployment: %v", err)
	}
}

// What one node kept is restored into a cluster that has only just started, and is
// then kept by all of its nodes: it is there, and is added to, while one is away.
func TestSingleIntoCluster(t *testing.T) {
	from := bustest.Single(t)
	b := from.Connect(t, bus.Options{Shards: 1})
	ensure(t, b)
	entry := &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Content: proto.String("hello")}
	ack, err := b.Publish(t.Context(), "general", "first", entry)
	if err != nil {
		t.Fatal(err)
	}
	o := backup.Options{NATS: bus.Options{URL: from.URL}, Dir: filepath.Join(t.TempDir(), "backup")}
	if _, err := backup.Save(t.Context(), o); err != nil {
		t.Fatal(err)
	}

	into := bustest.Cluster(t)
	o.NATS.URL, o.NATS.Replicas = into.URL, into.Replicas
	if _, err := backup.Restore(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	c := into.Connect(t, bus.Options{})
	if is := c.Deployment(); is.Shards != 1 || is.Incarnation == b.Deployment().Incarnation {
		t.Errorf("the deployment is %+v, and was %+v", is, b.Deployment())
	}
	into.Stop(0)
	eventually(t, "everything is there while a node is away", func() error {
		second, err := c.Publish(t.Context(), "general", "second", entry)
		if err != nil {
			return err
		}
		page, err := c.ReadAfter(t.Context(), "general", 0, 1000, second.Seq) // the node that answers may lag
		if err == nil && (len(page.Entries) != 2 || page.Entries[0].Seq != ack.Seq) {
			t.Errorf("without a node there are %v", page.Entries)
		}
		return err
	})
}

func ensure(t *testing.T, b *bus.Bus) {
	t.Helper()
	eventually(t, "the log is made", func() error { return b.EnsureLog(t.Context(), bus.LogConfig{}) })
}

// eventually asks again, for a cluster may be electing.
func eventually(t *testing.T, what string, do func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// What is no whole backup, and what there is nothing to back up in, says so.
func TestRefused(t *testing.T) {
	empty := bustest.Single(t)
	dir := t.TempDir()
	o := backup.Options{NATS: bus.Options{URL: empty.URL}, Dir: filepath.Join(dir, "new")}
	if _, err := backup.Save(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no deployment") {
		t.Errorf("saving nothing: %v", err)
	}
	if _, err := os.Stat(o.Dir); err == nil {
		t.Error("a directory was made for nothing")
	}
	for name, c := range map[string]struct{ manifest, want string }{
		"none":     {"", "not finished"},
		"garbage":  {"{", "decoding the manifest"},
		"newer":    {`{"format":2}`, "format 2"},
		"stranger": {`{"format":1,"streams":[{"name":"ORDERS"}]}`, "not Parley's"},
		"missing":  {`{"format":1,"streams":[{"name":"PARLEY_LOG_0"}]}`, "PARLEY_LOG_0"},
	} {
		o.Dir = filepath.Join(dir, name)
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if c.manifest != "" {
			if err := os.WriteFile(filepath.Join(o.Dir, "backup.json"), []byte(c.manifest), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := backup.Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
