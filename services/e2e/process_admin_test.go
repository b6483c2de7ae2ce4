package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// operate runs parley admin and gives what it wrote.
func operate(t *testing.T, env []string, arguments ...string) string {
	t.Helper()
	status, out, said := toTheEnd(t, process.Parley, append([]string{"admin"}, arguments...), env)
	if status != 0 {
		t.Fatalf("parley admin %v: exit status %d\n%s%s", arguments, status, out, said)
	}
	return out
}

// refused runs parley admin, which has to end with this word.
func refused(t *testing.T, env []string, word string, arguments ...string) {
	t.Helper()
	status, out, said := toTheEnd(t, process.Parley, append([]string{"admin"}, arguments...), env)
	if status == 0 || out != "" || !strings.Contains(said, word) || strings.Count(said, "\n") != 1 {
		t.Errorf("parley admin %v: exit status %d, want %q\n%s%s", arguments, status, word, out, said)
	}
}

// passwordIn finds the password that was made up.
func passwordIn(t *testing.T, out string) string {
	t.Helper()
	_, password, found := strings.Cut(out, "Its password is ")
	if !found {
		t.Fatalf("no password in %q", out)
	}
	return strings.TrimSpace(password)
}

// enters signs a user in and connects to each of some gateways.
func enters(t *testing.T, urls []string, username, password string) (in account, open []*client.Client) {
	t.Helper()
	status, body := stack.Post(t, urls[0]+"/api/auth", map[string]string{"username": username, "password": password})
	if status != http.StatusOK {
		t.Fatalf("signing %s in: %d %v", username, status, body)
	}
	in = account{body["user"].(map[string]any)["id"].(string), body["token"].(string), body["refreshToken"].(string)}
	for _, url := range urls {
		c := client.Dial(t, url, client.Options{})
		c.SignIn(in.token)
		open = append(open, c)
	}
	return in, open
}

// The first admin of a laptop's Parley needs no token: who can read its data may.
func TestProcessAdminOfServe(t *testing.T) {
	p := serve(t, "PARLEY_REGISTRATION=closed")
	p.WaitReady()
	here := []string{"PARLEY_DATA_DIR=" + p.dir}
	password := passwordIn(t, operate(t, here, "create-user", "root", "--admin"))
	_, open := enters(t, []string{p.url}, "root", password)
	if answer := open[0].Ask(ask.AdminBroadcast("hear")); answer.GetAck() == nil {
		t.Errorf("the admin's broadcast was answered %v", answer)
	}
	if status, body := stack.Post(t, p.url+"/api/auth", map[string]string{"username": "stranger", "password": "guess"}); status != http.StatusUnauthorized {
		t.Errorf("a stranger: %d %v", status, body)
	}
	operate(t, here, "broadcast", "from the command line", "--from", "ops")
	open[0].Wait("the broadcast", func(f *wirev1.ServerFrame) bool {
		said := f.GetAdminMessage()
		return said.GetContent() == "from the command line" && said.GetFrom().GetUsername() == "ops"
	})
	refused(t, here, `user "nobody": not-found`, "disable", "nobody")
	refused(t, here, "already-exists", "create-user", "root")
	refused(t, here, "want USER", "disable")
	refused(t, []string{"PARLEY_DATA_DIR=" + t.TempDir()}, "no parley serve answers", "users")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	refused(t, here, "no parley serve answers", "users")
}

// An operator changes a deployment of separate processes, and connections on all
// gateways follow.
func TestProcessAdmin(t *testing.T) {
	d := process.Plan(t, 2)
	d.Trust = append(d.Trust, "PARLEY_REGISTRATION=invite")
	d.Start()
	operator := []string{"PARLEY_AUTH_ADDR=" + d.Addrs[process.Auth], "PARLEY_HISTORY_ADDR=" + d.Addrs[process.History], "PARLEY_ADMIN_TOKEN=" + process.AdminToken}

	// A back end may make users, but no admins.
	backEnd := []string{operator[0], "PARLEY_ADMIN_TOKEN=" + process.BackEndToken}
	operate(t, backEnd, "create-user", "user", "--password", password)
	refused(t, backEnd, "only an operator", "create-user", "thief", "--admin")
	refused(t, backEnd, "scope admin", "set-roles", "user", "admin")
	refused(t, operator[:1], "unauthenticated", "users")

	operate(t, operator, "create-user", "root", "--admin", "--password", password)
	_, admins := enters(t, d.URLs, "root", password)
	for _, c := range admins {
		if answer := c.Ask(ask.AdminBroadcast("hear")); answer.GetAck() == nil {
			t.Errorf("the admin's broadcast was answered %v", answer)
		}
	}

	// By invite.
	code, _, _ := strings.Cut(operate(t, operator, "invite"), "\n")
	register := map[string]string{"username": "guest", "password": password, "inviteCode": strings.ToLower(code)}
	if status, body := stack.Post(t, d.URLs[0]+"/api/register", register); status != http.StatusOK {
		t.Errorf("registering with %q: %d %v", code, status, body)
	}
	register["username"] = "second"
	if status, body := stack.Post(t, d.URLs[1]+"/api/register", register); status != http.StatusForbidden {
		t.Errorf("registering with %q again: %d %v", code, status, body)
	}

	// Keys change under open connections.
	in, open := enters(t, d.URLs, "user", password)
	var next struct{ Kid, OldKid string }
	if err := json.Unmarshal([]byte(operate(t, operator, "rotate-keys", "--lead", "1s", "--json")), &next); err != nil || next.OldKid != keyOf(t, in.token) {
		t.Fatalf("rotating gives %+v, %v", next, err)
	}
	process.Eventually(t, recovery, "the new key signs", func() error {
		fresh, more := enters(t, d.URLs, "user", password)
		for _, c := range more {
			c.Cut()
		}
		if kid := keyOf(t, fresh.token); kid != next.Kid {
			return fmt.Errorf("%s does", kid)
		}
		return nil
	})
	for i, c := range open {
		c.Settle()         // nobody has noticed
		c.SignIn(in.token) // and the old key's tokens are good still
		c = client.Dial(t, d.URLs[i], client.Options{})
		c.SignIn(in.token)
		c.Cut()
	}
	if out := operate(t, operator, "sessions", "user"); !strings.Contains(out, "127.0.0.1") || !strings.Contains(out, "Go-http-client") {
		t.Errorf("sessions:\n%s", out)
	}

	closed := func(what string, want int, open []*client.Client, arguments ...string) {
		t.Helper()
		operate(t, operator, arguments...)
		began := time.Now()
		for i, c := range open {
			if code := c.Closed(); code != want {
				t.Errorf("%s: connection %d closed with %d, want %d", what, i, code, want)
			}
		}
		took(t, what, began)
	}
	closed("revoking", 4001, open, "revoke", "user")
	if status, body := stack.Post(t, d.URLs[1]+"/api/refresh", map[string]string{"refreshToken": in.refresh}); status != http.StatusUnauthorized {
		t.Errorf("refreshing what was revoked: %d %v", status, body)
	}
	_, open = enters(t, d.URLs, "user", password)
	closed("disabling", 4003, open, "disable", "user")
	if status, body := stack.Post(t, d.URLs[1]+"/api/auth", map[string]string{"username": "user", "password": password}); status != http.StatusForbidden {
		t.Errorf("signing in: %d %v", status, body)
	}
	if out := operate(t, operator, "users", "us"); !strings.Contains(out, "disabled") || strings.Contains(out, "root") {
		t.Errorf("users:\n%s", out)
	}
	operate(t, operator, "enable", "user")
	changed := passwordIn(t, operate(t, operator, "set-password", "user"))
	_, open = enters(t, d.URLs, "user", changed)
	operate(t, operator, "set-roles", "user", "user", "admin")
	for _, c := range open {
		stack.Eventually(t, "an admin", func() error {
			if answer := c.Ask(ask.AdminBroadcast("hear")); answer.GetAck() == nil {
				return fmt.Errorf("answered %v", answer)
			}
			return nil
		})
	}
	for _, c := range admins {
		c.Settle()
	}

	// The clients of a gateway that is to end find another.
	refused(t, operator[:1], "403", "drain", d.Gateways[1].Admin)
	refused(t, backEnd, "403", "drain", d.Gateways[1].Admin)
	if err := d.Gateways[1].Ready(); err != nil {
		t.Error(err)
	}
	if out := operate(t, operator, "drain", d.Gateways[1].Admin); out != "It has ended.\n" {
		t.Errorf("it said %q", out)
	}
	if code := d.Gateways[1].Wait(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
