package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// HAProxy and nginx, with the configurations of deploy/lb, stand before three
// gateways. One of these is drained and one killed while messages are sent: all
// clients come back, nobody who connects is ever refused, and of what was
// acknowledged nothing is missing, twice or out of order.
func TestProcessBalancers(t *testing.T) {
	if os.Getenv("PARLEY_NO_BALANCERS") == "1" {
		t.Skip("PARLEY_NO_BALANCERS=1: not trying deploy/lb")
	}
	d := process.Plan(t, 3)
	d.Env = []string{"PARLEY_JWT_SECRET=" + string(secret), "PARLEY_RATE_LIMIT=0", "PARLEY_RETENTION=100000",
		// Longer than HAProxy takes to notice, as deploy/lb/README.md asks for.
		"PARLEY_DRAIN_DELAY=5s"}
	d.Start()
	haproxy, nginx := startHAProxy(t, d), startNginx(t, d)

	o := check.Options{
		URLs: []string{haproxy.url, nginx}, Rooms: 16, Writers: 32, Readers: 2, Rate: 150, Duration: 20 * time.Second,
		Secret: secret, Retention: 100_000, Progress: t.Output(),
	}
	o.During = func(ctx context.Context, control *check.Control) error {
		ctx, cancel := context.WithCancel(ctx)
		var knocking sync.WaitGroup
		defer knocking.Wait()
		defer cancel()
		for _, url := range o.URLs {
			knocking.Go(func() { knock(t, ctx, url) })
		}
		spread(t, 6, d.Gateways...)

		mended := control.Fault("gateway drained")
		if status := d.Gateways[0].Stop(); status != 0 {
			t.Errorf("the drained gateway ended with status %d", status)
		}
		back(t, control)
		spread(t, 9, d.Gateways[1:]...)
		d.Gateways[0].Restart()
		d.Gateways[0].WaitReady()
		haproxy.sees(t, 3)
		mended()

		mended = control.Fault("gateway killed")
		d.Gateways[1].Kill()
		back(t, control)
		// The gateway that came back is among those that take them, slowly at first.
		spread(t, 1, d.Gateways[0], d.Gateways[2])
		d.Gateways[1].Restart()
		d.Gateways[1].WaitReady()
		haproxy.sees(t, 3)
		mended()
		return nil
	}
	report, err := check.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteText(t.Output()); err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Errorf("promises were broken: %v", report.Counts)
	}
	// The checker has each client connect once more at its end, and what went
	// with two of three gateways is about two thirds of them.
	if least := 2*report.Clients + report.Clients/3; report.Acked < 1000 || report.Resumes < report.Clients || report.Connections < least {
		t.Errorf("%d messages, %d resumes and %d connections of %d clients prove nothing", report.Acked, report.Resumes, report.Connections, report.Clients)
	}
}

// back waits until all clients are connected and in their rooms.
func back(t *testing.T, control *check.Control) {
	t.Helper()
	process.Eventually(t, recovery, "all clients are back", func() error {
		if !control.Whole() {
			return errors.New("some client is not connected, or not in all of its rooms")
		}
		return nil
	})
}

// spread sees that each of these gateways has at least as many connections.
func spread(t *testing.T, least int, gateways ...*process.Process) {
	t.Helper()
	process.Eventually(t, recovery, "the connections are spread", func() error {
		var counts []int
		for _, g := range gateways {
			var health struct {
				Connections struct{ Active int }
			}
			_, body, err := process.Get(g.Admin + "/health")
			if err == nil {
				err = json.Unmarshal([]byte(body), &health)
			}
			if err != nil {
				return err
			}
			counts = append(counts, health.Connections.Active)
		}
		if slices.Min(counts) < least {
			return fmt.Errorf("the gateways have %v", counts)
		}
		t.Logf("the gateways have %v connections", counts)
		return nil
	})
}

// knock connects again and again. Whichever gateway is ending, another answers.
func knock(t *testing.T, ctx context.Context, url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	let, refused := 0, map[string]int{}
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ws", nil)
		if err != nil {
			t.Error(err)
			return
		}
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, value)
		}
		resp, err := client.Do(r)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			refused[err.Error()]++
		case resp.StatusCode != http.StatusSwitchingProtocols:
			refused[resp.Status]++
		default:
			let++
		}
		if err == nil {
			resp.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if len(refused) > 0 || let < 100 {
		t.Errorf("%s let %d in and refused %v", url, let, refused)
	}
}

// balancerFile is a file of deploy/lb with lines of the test's in place of those
// that match.
func balancerFile(t *testing.T, name string, lines ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "lb", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for i := 0; i < len(lines); i += 2 {
		line := regexp.MustCompile(`(?m)(^\s*` + lines[i] + `.*\n)+`)
		if !line.MatchString(text) {
			t.Fatalf("%s has no line that begins with %q", name, lines[i])
		}
		text = line.ReplaceAllLiteralString(text, lines[i+1]+"\n")
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// balancerPath finds a balancer's program.
func balancerPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // Debian's place, not in everybody's PATH
	}
	if err != nil {
		t.Fatalf("no %s in PATH: run scripts/install-balancers, or set PARLEY_NO_BALANCERS=1 to leave this test out", name)
	}
	return path
}

// haproxy is a running HAProxy and where it serves.
type haproxy struct{ url, admin string }

func startHAProxy(t *testing.T, d *process.Deployment) haproxy {
	t.Helper()
	var servers []string
	for i, g := range d.Gateways {
		_, check, _ := net.SplitHostPort(strings.TrimPrefix(g.Admin, "http://"))
		servers = append(servers, fmt.Sprintf("    server gateway%d %s check port %s", i, strings.TrimPrefix(d.URLs[i], "http://"), check))
	}
	config := balancerFile(t, "haproxy.cfg", "server-template ", strings.Join(servers, "\n"))
	bind, admin := process.Addr(t), process.Addr(t)
	h := haproxy{"http://" + bind, "http://" + admin}
	process.Start(t, process.Spec{
		Program: "haproxy", Path: balancerPath(t, "haproxy"), Args: []string{"-db", "-f", config},
		Env:   []string{"PARLEY_LB_BIND=" + bind, "PARLEY_LB_ADMIN=" + admin},
		Admin: h.admin, ReadyPath: "/stats",
	}).WaitReady()
	h.sees(t, len(d.Gateways))
	return h
}

// sees waits until HAProxy has found n gateways ready.
func (h haproxy) sees(t *testing.T, n int) {
	t.Helper()
	process.Eventually(t, recovery, "HAProxy finds the gateways", func() error {
		_, body, err := process.Get(h.admin + "/metrics")
		if err != nil {
			return err
		}
		up := regexp.MustCompile(`(?m)^haproxy_server_status\{proxy="gateways",server="[^"]*",state="UP"\} 1$`)
		if found := len(up.FindAllString(body, -1)); found != n {
			return fmt.Errorf("%d of %d are up", found, n)
		}
		return nil
	})
}

func startNginx(t *testing.T, d *process.Deployment) string {
	t.Helper()
	var servers []string
	for _, url := range d.URLs {
		servers = append(servers, "server "+strings.TrimPrefix(url, "http://")+" max_fails=1 fail_timeout=2s;")
	}
	dir, addr := t.TempDir(), process.Addr(t)
	places := "http {\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		places += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	config := balancerFile(t, "nginx.conf", "http {", places, "server gateway-", strings.Join(servers, "\n"), "listen 80;", "listen "+addr+";")
	p := process.Start(t, process.Spec{
		Program: "nginx", Path: balancerPath(t, "nginx"),
		Args:  []string{"-p", dir, "-c", config, "-e", "stderr", "-g", "daemon off; pid " + filepath.Join(dir, "pid") + ";"},
		Admin: "http://" + addr, ReadyPath: "/.well-known/jwks.json",
	})
	p.WaitReady()
	// Its workers outlive a master that is killed.
	t.Cleanup(func() {
		p.Signal(syscall.SIGTERM)
		p.Wait()
	})
	return "http://" + addr
}
