package faults

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// TestDiskOfOneNode has the disk of one NATS node of three go wrong in every
// way, one after another, while the checker writes and reads: a majority is
// enough for all that is promised.
func TestDiskOfOneNode(t *testing.T) {
	if os.Getenv("PARLEY_DISK") == "" {
		t.Skip("takes a minute: make disk runs it")
	}
	var volumes [nodes]*volume
	c := deployOn(t, func(i int, dir string) { volumes[i] = mount(t, dir, 256*mib) })
	report := checked(t, c, 3*time.Minute, func(b *breaker) {
		for _, f := range []fault{
			{"disk of a nats leader full", func(b *breaker) { b.diskFull(volumes[:]) }},
			{"store of a nats node read-only", func(b *breaker) { b.readOnly(volumes[:]) }},
			{"store of a nats node corrupted", (*breaker).corrupt},
			{"store of a nats node removed", (*breaker).removeStore},
			{"disk of a nats leader slow", (*breaker).slowDisk},
			{"disks of all nats nodes full", func(b *breaker) { b.allFull(volumes[:]) }},
		} {
			t.Logf("%7.1fs  %s", b.control.Elapsed().Seconds(), f.name)
			b.run(f)
		}
	})
	c.wantReplicas()
	t.Logf("OUTCOME one node's disk full, read-only, corrupted, removed, slow, then all full: %d acknowledged, broken promises %v, replicas alike", report.Acked, report.Counts)
}

// checked runs the checker for at most a while, until do has returned.
func checked(t *testing.T, c *cluster, most time.Duration, do func(*breaker)) *check.Report {
	t.Helper()
	seed := rand.Uint64() >> 1
	report, err := check.Run(t.Context(), check.Options{
		URLs: c.urls, Rooms: 8, Writers: 8, Readers: 1, Secret: []byte(secret), Retention: retention,
		Duration: most, Rate: ciRate / 2, Seed: seed, Progress: t.Output(),
		During: func(ctx context.Context, control *check.Control) error {
			do(&breaker{cluster: c, control: control, rand: rand.New(rand.NewPCG(seed, 1)), ctx: ctx})
			control.End()
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteText(t.Output()); err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Acked == 0 {
		t.Errorf("of %d messages, broken promises: %v; the seed is %d", report.Acked, report.Counts, seed)
	}
	return report
}

// flows waits until some more messages are acknowledged, while something is
// broken.
func (b *breaker) flows() {
	b.t.Helper()
	before := b.control.Acked()
	process.Eventually(b.t, 20*time.Second, "messages are acknowledged", func() error {
		if now := b.control.Acked(); now < before+50 {
			return fmt.Errorf("%d since then", now-before)
		}
		return nil
	})
}

// diskFull takes the space from the node that leads most.
func (b *breaker) diskFull(volumes []*volume) {
	i := b.leader()
	v, n := volumes[i], b.nats[i]
	if v == nil {
		b.t.Log("NOT TESTED HERE: a full disk, for mounting needs root; TestDiskLimit has the server's own limit")
		return
	}
	v.fill()
	n.WaitSaid("JetStream out of")
	b.flows()
	if status, body, err := process.Get(n.Admin + "/healthz"); err != nil || status != http.StatusServiceUnavailable {
		b.t.Errorf("a full node's /healthz: %d %s %v", status, body, err)
	}
	v.resize(256 * mib)
	// Space alone does not bring it back.
	n.Kill()
	n.Restart()
}

// allFull takes the space from all nodes: nothing can be said any more until
// they have room and are started anew.
func (b *breaker) allFull(volumes []*volume) {
	if volumes[0] == nil {
		b.t.Log("NOT TESTED HERE: full disks, for mounting needs root")
		return
	}
	for _, v := range volumes {
		v.fill()
	}
	g := b.gateways[0]
	process.Eventually(b.t, time.Minute, "a gateway says that the log takes no messages", func() error {
		status, body, err := process.Get(g.Admin + "/readyz")
		if err == nil && !strings.Contains(body, "the log takes no messages") && !strings.Contains(body, "the log does not answer") {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	for i, n := range b.nats {
		n.Kill()
		volumes[i].resize(256 * mib)
		n.Restart()
	}
}

// readOnly starts a node on files that it cannot write to.
func (b *breaker) readOnly(volumes []*volume) {
	i := b.rand.IntN(nodes)
	v, n := volumes[i], b.nats[i]
	n.Kill()
	if v == nil {
		b.t.Log("NOT TESTED HERE: a read-only disk, for mounting needs root")
		n.Restart()
		return
	}
	v.readOnly(true)
	n.Restart()
	n.WaitSaid("storage directory is not writable")
	if n.Wait() == 0 {
		b.t.Error("a node that cannot write ended as if all were well")
	}
	b.flows()
	v.readOnly(false)
	n.Restart()
}

// blocks are the files in which a node has the messages of the log.
func (c *cluster) blocks(node int) []string {
	var list []string
	err := filepath.WalkDir(c.stores[node], func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".blk" && strings.Contains(path, "PARLEY_LOG_") {
			list = append(list, path)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		c.t.Fatalf("the node has no messages: %v", err)
	}
	return list
}

// spoil changes some bytes in each file of messages of a node that is down.
func (c *cluster) spoil(node, bytes int) {
	for _, name := range c.blocks(node) {
		text, err := os.ReadFile(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for at := len(text) / 10; at < len(text); at += 1 + len(text)/bytes {
			text[at] ^= 0xff
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestDiskCorrupted reads what was acknowledged again and again when a replica
// has come back with changed bytes in its messages.
func TestDiskCorrupted(t *testing.T) {
	if os.Getenv("PARLEY_DISK") == "" {
		t.Skip("make disk runs it")
	}
	c := deploy(t)
	k := talk(t, c.urls[0], 0)
	for range 100 {
		if err := k.trySay(); err != nil {
			t.Fatal(err)
		}
	}
	i := c.leader()
	n := c.nats[i]
	n.Stop()
	c.spoil(i, 20)
	n.Restart()
	n.WaitReady()
	for range 20 {
		k.reads(t)
	}
	c.wantReplicas()
	t.Logf("OUTCOME a corrupted replica: %d messages read 20 times", len(k.acked))
}

// corrupt flips bytes in the messages of the node that leads most, while that is
// down, and ends another when it is back, so that it may lead again.
func (b *breaker) corrupt() {
	i := b.leader()
	n := b.nats[i]
	n.Kill()
	b.spoil(i, 5)
	b.alone(n, i)
}

// alone starts a node again that has lost what it had and, when it says that it
// has caught up, takes another away, so that it is needed and may lead.
func (b *breaker) alone(n *process.Process, i int) {
	n.Restart()
	n.WaitReady()
	other := b.nats[(i+1)%nodes]
	other.Kill()
	b.flows()
	other.Restart()
}

// removeStore takes all that a node has away.
func (b *breaker) removeStore() {
	i := b.leader()
	n := b.nats[i]
	n.Kill()
	if err := os.RemoveAll(filepath.Join(b.stores[i], "jetstream")); err != nil {
		b.t.Fatal(err)
	}
	b.flows()
	b.alone(n, i)
}

// slowDisk has the node that leads most stand still for nine tenths of the
// time, as one does that waits for its disk.
func (b *breaker) slowDisk() {
	n := b.nats[b.leader()]
	for range 20 {
		n.Signal(syscall.SIGSTOP)
		b.wait(90 * time.Millisecond)
		n.Signal(syscall.SIGCONT)
		b.wait(10 * time.Millisecond)
	}
}
