package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// patience bounds every wait of an attacker.
const patience = 20 * time.Second

// What the target is set to, small so that an attack reaches it soon.
const (
	strangers  = 300
	perAddress = 100
	perUser    = 50
	rooms      = 30
	made       = 40
)

// target is a Parley process and two clients of it that behave.
type target struct {
	*process.Process
	url, host  string
	token      string // of the attacker
	alice, bob *client.Client
	said       int
}

func start(t *testing.T) *target {
	t.Helper()
	dir := t.TempDir()
	if err := process.Build(".", dir, "github.com/parley-im/parley/services/cmd/parley"); err != nil {
		t.Fatal(err)
	}
	addr, admin := process.Addr(t), process.Addr(t)
	p := process.Start(t, process.Spec{
		Program: process.Parley, Path: filepath.Join(dir, "parley"), Args: []string{"serve"}, Admin: "http://" + admin,
		Env: []string{
			"PARLEY_DATA_DIR=" + filepath.Join(dir, "data"), "PARLEY_HTTP_ADDR=" + addr, "PARLEY_ADMIN_ADDR=" + admin,
			"PARLEY_LIMIT_PRIVATE=on", "PARLEY_CONNECT_RATE=200", "PARLEY_CONNECT_BURST=200",
			fmt.Sprint("PARLEY_MAX_UNAUTHENTICATED=", strangers), fmt.Sprint("PARLEY_MAX_PER_ADDRESS=", perAddress),
			fmt.Sprint("PARLEY_MAX_PER_USER=", perUser), fmt.Sprint("PARLEY_MAX_ROOMS=", rooms), fmt.Sprint("PARLEY_ROOMS_PER_HOUR=", made),
			"PARLEY_HEARTBEAT=1s", "PARLEY_AUTH_TIMEOUT=2s", "PARLEY_INPUT_BURST=1MiB", "PARLEY_LOG_LEVEL=warn",
		},
	})
	p.WaitReady()
	g := &target{Process: p, url: "http://" + addr, host: addr}
	g.token = stack.Token(t, g.url, "mallory")
	g.alice, g.bob = client.Dial(t, g.url, client.Options{}), client.Dial(t, g.url, client.Options{})
	g.alice.SignIn(stack.Token(t, g.url, "alice"))
	g.bob.SignIn(stack.Token(t, g.url, "bob"))
	g.alice.Join("calm")
	g.bob.Join("calm")
	return g
}

// chat has the well-behaved say and hear things until done is closed, and gives
// how long each took from the one to the other.
func (g *target) chat(done <-chan struct{}) (took []time.Duration) {
	for {
		g.said++
		content := fmt.Sprint("message ", g.said)
		began := time.Now()
		g.alice.Say("calm", content)
		g.bob.Hear("calm", content) // each, so that none is lost
		took = append(took, time.Since(began))
		select {
		case <-done:
			return took
		case <-time.After(30 * time.Millisecond): // they may send 50 a second
		}
	}
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2].Round(10 * time.Microsecond)
}

// files is how many descriptors the process has open.
func (g *target) files(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// memory is the process's resident memory, MiB.
func (g *target) memory(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	if found == nil {
		t.Fatal("no VmRSS")
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n >> 10
}

// metric reads one of the process's, summed over labels that contain some text.
func (g *target) metric(name, label string) (sum float64, err error) {
	_, body, err := process.Get(g.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' || !strings.Contains(rest, label) {
			continue
		}
		fields := strings.Fields(rest)
		n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// counted says so where less than least of something was counted.
func (g *target) counted(name, label string, least float64) error {
	n, err := g.metric(name, label)
	if err == nil && n < least {
		err = fmt.Errorf("%s %s is %v, want %v", name, label, n, least)
	}
	return err
}

// source is an attacker's address; each i has another.
func source(i int) net.IP { return net.IPv4(127, 1, byte(i>>8), byte(i)) }

// socket opens one from an address and says something.
func (g *target) socket(i int, say string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: source(i)}}
	c, err := d.Dial("tcp", g.host)
	if err != nil {
		return nil, err
	}
	if err = c.SetDeadline(time.Now().Add(patience)); err == nil {
		_, err = io.WriteString(c, say)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// request is an upgrade; with the token where it signs in.
func (g *target) request(token string, header ...string) string {
	lines := append([]string{"GET /ws HTTP/1.1", "Host: " + g.host, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw=="}, header...)
	if token != "" {
		lines = append(lines, "Authorization: Bearer "+token)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// crowd is attackers' sockets.
type crowd []net.Conn

func (c crowd) close() {
	for _, s := range c {
		_ = s.Close() // many have been ended
	}
}

// gather opens n sockets, some from each address, that all say the same. Those
// that are refused are none of them.
func (g *target) gather(n, each int, say string) (all crowd) {
	for i := range n {
		if c, err := g.socket(i/each, say); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// toEnd reads until the target closes, and gives the close code; 0 where the
// connection ended without one.
func toEnd(c io.Reader) (code int, err error) {
	r := bufio.NewReader(c)
	if head, _ := r.Peek(4); string(head) == "HTTP" {
		if answer, err := http.ReadResponse(r, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			return 0, ended(err)
		}
	}
	for {
		first, payload, err := client.ReadFrame(r)
		if err != nil {
			return 0, ended(err)
		}
		if code := client.CloseCode(payload); first == 0x80|client.OpClose && code != 0 {
			return code, nil
		}
	}
}

// ended takes no error for one but that nothing came any more.
func ended(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("not ended: %w", err)
	}
	return nil // a reset is an end, too
}
