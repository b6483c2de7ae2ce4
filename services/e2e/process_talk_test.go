package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

// shellUser is somebody who uses parley in a shell.
type shellUser struct {
	t   *testing.T
	env []string
}

// run runs a command to its end, and gives what it wrote; it has to end with the
// status, and what it says on standard error must be one line where that is not 0.
func (u shellUser) run(status int, in string, arguments ...string) (out, said string) {
	u.t.Helper()
	cmd := u.command(arguments...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &stdout, &stderr
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != status {
		u.t.Errorf("parley %v: exit status %d, want %d: %v\n%s%s", arguments, code, status, err, stdout.String(), stderr.String())
	}
	if n := strings.Count(stderr.String(), "\n"); status == 0 && n != 0 || status != 0 && n != 1 {
		u.t.Errorf("parley %v: it said\n%s", arguments, stderr.String())
	}
	return stdout.String(), stderr.String()
}

func (u shellUser) command(arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), process.Binary(u.t, process.Parley), arguments...)
	cmd.Env = append([]string{"HOME=/nonexistent", "TERM=dumb"}, u.env...)
	return cmd
}

func (u shellUser) with(env ...string) shellUser {
	return shellUser{u.t, append(append([]string{}, u.env...), env...)}
}

// People and scripts use rooms from a shell: what they write and read there, and
// how it ends when something is wrong.
func TestProcessTalk(t *testing.T) {
	p := serve(t)
	p.WaitReady()
	nobody := shellUser{t, []string{"PARLEY_URL=" + p.url}}
	alice := nobody.with("PARLEY_USERNAME=alice", "PARLEY_PASSWORD=correct horse")
	bob := nobody.with("PARLEY_USERNAME=bob", "PARLEY_PASSWORD=correct horse")

	t.Run("send and tail", func(t *testing.T) {
		alice.run(0, "", "send", "general", "hello", "there")
		alice.run(0, "one\n\ntwo\r\nthree", "send", "general")
		out, _ := bob.run(0, "", "send", "general", "--id", "order-1", "--data", `{"boxes":2}`, "--json", "shipped")
		var ack struct {
			Type, RoomID, ID string
			Seq              int64
			Duplicate        bool
		}
		if err := json.Unmarshal([]byte(out), &ack); err != nil || ack.Type != "ack" || ack.ID != "order-1" || ack.RoomID != "general" || ack.Seq == 0 || ack.Duplicate {
			t.Errorf("%v %s", err, out)
		}
		first := ack.Seq
		out, _ = bob.run(0, "", "send", "general", "--id", "order-1", "--data", `{"boxes":2}`, "--json", "shipped")
		if err := json.Unmarshal([]byte(out), &ack); err != nil || !ack.Duplicate || ack.Seq != first {
			t.Errorf("sent again: %v %s", err, out)
		}
		out, _ = bob.run(0, "", "tail", "general", "--follow=false", "--json")
		var texts []string
		for l := range strings.Lines(out) {
			var m struct {
				Type, Content string
				Seq           int64
				Data          json.RawMessage
				User          struct{ ID, Username string }
			}
			if err := json.Unmarshal([]byte(l), &m); err != nil || m.Type != "chat-message" || m.User.ID == "" {
				t.Errorf("%v %s", err, l)
			}
			texts = append(texts, m.User.Username+" "+m.Content+string(m.Data))
		}
		if got := strings.Join(texts, "|"); got != `alice hello there|alice one|alice two|alice three|bob shipped{"boxes":2}` {
			t.Errorf("the log is %s", got)
		}
		out, _ = bob.run(0, "", "tail", "general", "--from", fmt.Sprint(first), "--count", "1")
		if !strings.HasSuffix(out, ` bob: shipped {"boxes":2}`+"\n") || strings.Count(out, "\n") != 1 {
			t.Errorf("from %d: %q", first, out)
		}
		// What comes while it waits.
		cmd := alice.command("tail", "general", "--history", "0", "--count", "1")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		process.Eventually(t, recovery, "alice is there", func() error {
			if out, _ := bob.run(0, "", "users", "general"); !strings.Contains(out, "alice") {
				return fmt.Errorf("members: %s", out)
			}
			return nil
		})
		bob.run(0, "", "send", "general", "look \x1b[2J")
		live, _ := io.ReadAll(stdout)
		if err := cmd.Wait(); err != nil || !strings.HasSuffix(string(live), " bob: look �[2J\n") {
			t.Errorf("%v %q", err, live)
		}
	})
	t.Run("lists", func(t *testing.T) {
		out, _ := alice.run(0, "", "rooms", "gen")
		if !strings.HasPrefix(out, "ROOM") || !strings.Contains(out, "\ngeneral") {
			t.Errorf("rooms: %q", out)
		}
		out, _ = alice.run(0, "", "rooms", "--json")
		if !strings.Contains(out, `"general"`) {
			t.Errorf("rooms: %q", out)
		}
		out, _ = alice.run(0, "", "users")
		if !strings.HasPrefix(out, "USER") || !strings.Contains(out, "\nalice") {
			t.Errorf("users: %q", out)
		}
		admin := nobody.with("PARLEY_DATA_DIR=" + p.dir)
		out, _ = admin.run(0, "", "admin", "rooms")
		if !strings.Contains(out, "\ngeneral") || !strings.Contains(out, "public") {
			t.Errorf("admin rooms: %q", out)
		}
		alice.run(0, "", "send", "short-lived", "x")
		admin.run(0, "", "admin", "delete-room", "short-lived")
		if _, said := admin.run(5, "", "admin", "delete-room", "short-lived"); !strings.Contains(said, "not-found") {
			t.Errorf("deleted twice: %s", said)
		}
	})
	t.Run("an operator", func(t *testing.T) {
		admin := nobody.with("PARLEY_DATA_DIR=" + p.dir)
		admin.run(5, "", "admin", "disable", "who-is-that")
		admin.run(1, "", "admin", "disable")
		nobody.with("PARLEY_DATA_DIR="+t.TempDir()).run(3, "", "admin", "users")
		admin.run(3, "", "admin", "drain", "http://"+process.Addr(t))
		admin.run(1, "", "admin", "drain", "gateway")
	})
	t.Run("chat", func(t *testing.T) {
		out, _ := alice.run(0, "hi all\n/members\n/status away at lunch\n/history 1\n/nothing\n//slash\n", "chat", "general")
		for _, want := range []string{"alice: hi all", "* 1 here: alice", "/nothing is no command", "alice: /slash", "bob: shipped", "/history N"} {
			if !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
		if out, _ := bob.run(0, "", "tail", "general", "--follow=false", "--history", "2"); strings.Count(out, "alice: hi all") != 1 || strings.Count(out, "alice: /slash") != 1 {
			t.Errorf("the log has %s", out)
		}
		if out, _ := alice.run(0, "/quit\nnever\n", "chat", "general"); strings.Contains(out, "never") {
			t.Errorf("it went on: %s", out)
		}
	})
	t.Run("token", func(t *testing.T) {
		token, _ := alice.run(0, "", "token")
		nobody.with("PARLEY_TOKEN="+strings.TrimSpace(token)).run(0, "", "send", "general", "by token")
		nobody.with("PARLEY_TOKEN=nonsense").run(4, "", "send", "general", "x")
		made, _ := nobody.with("PARLEY_JWT_SECRET=0123456789abcdef0123456789abcdef", "PARLEY_USERNAME=robot").run(0, "", "token", "--roles", "bot")
		if strings.Count(made, ".") != 2 {
			t.Errorf("it is %q", made)
		}
	})
	t.Run("what is wrong", func(t *testing.T) {
		for _, c := range []struct {
			who       shellUser
			status    int
			said      string
			arguments []string
		}{
			{nobody, 4, "PARLEY_PASSWORD", args("send", "general", "x")},
			{nobody.with("PARLEY_USERNAME=bob", "PARLEY_PASSWORD=wrong"), 4, "PARLEY_TOKEN", args("send", "general", "x")},
			{nobody, 4, "guests are not let in", args("tail", "general", "--guest")},
			{alice, 5, "roomId", args("send", "no room", "x")},
			{alice, 5, "not-found", args("send", "dm:nobodys", "x")},
			{alice, 5, "content", args("send", "general", strings.Repeat("x", 20_000))},
			{alice, 1, "an argument is missing", args("send")},
			{alice, 1, "want JSON", args("send", "general", "--data", "{")},
			{alice, 1, "want 0 or more", args("tail", "general", "--from", "-1")},
			{alice, 1, "too many", args("tail", "general", "other")},
			{alice, 1, "did you mean --history?", args("tail", "general", "--histry", "3")},
			{nobody.with("PARLEY_URL=http://"+process.Addr(t), "PARLEY_TOKEN=t", "PARLEY_PATIENCE=300ms"), 3, "PARLEY_URL", args("rooms")},
			{nobody.with("PARLEY_URL="+p.Admin, "PARLEY_TOKEN=t"), 3, "no Parley gateway", args("rooms")},
			{nobody.with("PARLEY_URL=nonsense", "PARLEY_TOKEN=t"), 1, "want http://", args("rooms")},
		} {
			if _, said := c.who.run(c.status, "", c.arguments...); !strings.Contains(said, c.said) {
				t.Errorf("parley %v: it does not say %q: %s", c.arguments, c.said, said)
			}
		}
	})
	t.Run("help, config and completion", func(t *testing.T) {
		for _, command := range []string{"chat", "tail", "send", "rooms", "users", "token", "config", "completion"} {
			out, _ := nobody.run(0, "", command, "--help")
			if !strings.Contains(out, "\n  parley "+command) {
				t.Errorf("the help of %s has no example:\n%s", command, out)
			}
		}
		if out, _ := nobody.run(0, "", "config", "--http-addr", ":1234"); !strings.Contains(out, "http-addr: :1234") {
			t.Errorf("the configuration is %s", out)
		}
		nobody.run(0, "", "config", "check")
		nobody.run(1, "", "config", "check", "--http-addr", "nonsense")
		nobody.run(1, "", "completion", "csh")
		for _, shell := range []string{"bash", "zsh", "fish"} {
			script, _ := nobody.run(0, "", "completion", shell)
			if path, err := exec.LookPath(shell); err == nil {
				if out, err := exec.Command(path, "-n", "-c", script).CombinedOutput(); err != nil {
					t.Errorf("%s: %v %s", shell, err, out)
				}
			}
		}
		for words, want := range map[string]string{"ch": "chat check", "admin bro": "broadcast", "tail --fo": "--follow", "admin broadcast --fr": "--from", "completion z": "zsh"} {
			if got := completed(t, words); got != want {
				t.Errorf("%q is completed to %q, want %q", words, got, want)
			}
		}
	})
}

// completed gives what bash completes the words of a parley command to.
func completed(t *testing.T, words string) string {
	t.Helper()
	binary := process.Binary(t, process.Parley)
	script := fmt.Sprintf(`PATH=%s:$PATH; source <(parley completion bash); COMP_WORDS=(parley %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _parley; echo "${COMPREPLY[@]}"`,
		filepath.Dir(binary), words)
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
