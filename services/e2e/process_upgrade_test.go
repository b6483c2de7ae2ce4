package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// A deployment of the version before this one is brought to this one and back
// again, in the order that deploy/UPGRADE.md states, while people chat: between
// any two steps both versions serve the same rooms, and nothing is lost, repeated
// or out of order.
func TestProcessUpgrade(t *testing.T) {
	before := previous(t)
	d := process.Plan(t, 2)
	d.Env = []string{"PARLEY_JWT_SECRET=" + string(secret), "PARLEY_RATE_LIMIT=0", "PARLEY_RETENTION=100000"}
	d.Paths = make(map[string]string)
	for _, program := range append(process.Services, process.Gateway) {
		d.Paths[program] = filepath.Join(before, program)
		process.Binary(t, program) // built before anybody waits
	}
	d.Start()

	o := check.Options{
		URLs: d.URLs, Rooms: 10, Writers: 20, Readers: 2, Rate: 100, Duration: 12 * time.Second,
		Secret: secret, Retention: 100_000, Progress: t.Output(),
	}
	o.During = func(_ context.Context, control *check.Control) error {
		// move brings a process to another version.
		move := func(p *process.Process, path string) {
			t.Helper()
			if status := p.Stop(); status != 0 {
				t.Errorf("%s ended with status %d", p.Program, status)
			}
			p.Path = path
			p.Restart()
			p.WaitReady()
		}
		this := func(p *process.Process) string { return process.Binary(t, p.Program) }
		that := func(p *process.Process) string { return filepath.Join(before, p.Program) }

		across(t, d, "all before")
		for _, s := range order {
			move(d.Services[s], this(d.Services[s]))
		}
		across(t, d, "services ahead")
		move(d.Gateways[0], this(d.Gateways[0]))
		across(t, d, "side by side")
		move(d.Gateways[1], this(d.Gateways[1]))
		across(t, d, "all after")

		// And back.
		move(d.Gateways[1], that(d.Gateways[1]))
		across(t, d, "side by side again")
		move(d.Gateways[0], that(d.Gateways[0]))
		for i := range order {
			s := d.Services[order[len(order)-1-i]]
			move(s, that(s))
		}
		across(t, d, "all before again")
		back(t, control)
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
	if report.Acked < 500 || report.Resumes < report.Clients {
		t.Errorf("%d messages and %d resumes of %d clients prove nothing", report.Acked, report.Resumes, report.Clients)
	}
}

// order is that of deploy/UPGRADE.md; gateways come last.
var order = []string{process.History, process.Registry, process.Auth, process.Presence}

// across has users of both gateways join a room, talk and hear each other, when
// every service has answered each gateway.
func across(t *testing.T, d *process.Deployment, when string) {
	t.Helper()
	room := strings.ReplaceAll(when, " ", "-")
	users := make([]*client.Client, len(d.URLs))
	for i, url := range d.URLs {
		users[i] = client.Dial(t, url, client.Options{})
		users[i].SignIn(signHS256(t, secret, claims{"sub": fmt.Sprint(room, i)}))
	}
	process.Eventually(t, recovery, "every service answers every gateway, "+when, func() error {
		for i, user := range users {
			for _, request := range []*wirev1.ClientFrame{askGetRooms(), askGetOnline(), askGetHistory()} {
				if e := user.Ask(request).GetError(); e.GetCode() == "unavailable" {
					return fmt.Errorf("%v", e)
				}
			}
			account := map[string]string{"username": fmt.Sprint(room, i), "password": "correct horse"}
			if status, body := stack.Post(t, d.URLs[i]+"/api/register", account); status == http.StatusServiceUnavailable {
				return fmt.Errorf("registering: %v", body)
			}
		}
		return nil
	})
	for _, user := range users {
		user.Join(room)
	}
	chatting(t, room, when, users[0], users[1])
	for _, user := range users {
		user.Close()
	}
}

// previous builds the programs of the version before this one and gives their
// folder: of the commit that PARLEY_PREVIOUS names, else of the last commit's
// parent. In a clone that is too shallow to have that it is the oldest commit
// that there is, and scripts/e2e says so.
func previous(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	commit := func(name string) bool {
		return exec.Command("git", "-C", root, "rev-parse", "--quiet", "--verify", name+"^{commit}").Run() == nil
	}
	name := os.Getenv("PARLEY_PREVIOUS")
	switch {
	case name != "" && !commit(name):
		t.Fatalf("PARLEY_PREVIOUS: git knows no commit %q", name)
	case name != "":
	case commit("HEAD~1"):
		name = "HEAD~1"
	case commit("HEAD"):
		name = "HEAD"
		t.Log("THE COMMIT BEFORE THIS ONE IS NOT IN THIS CLONE: its last one takes its place")
	default:
		t.Fatal("the version before this one is not to be had without a git clone: set PARLEY_PREVIOUS to a commit, or make one")
	}
	source, programs := t.TempDir(), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	tar := filepath.Join(source, "source.tar")
	run("git", "-C", root, "archive", "-o", tar, name)
	run("tar", "-C", source, "-xf", tar)
	var packages []string
	for _, program := range append(process.Services, process.Gateway) {
		packages = append(packages, "./services/cmd/"+program)
	}
	if err := process.Build(source, programs, packages...); err != nil {
		t.Fatal(err)
	}
	return programs
}
