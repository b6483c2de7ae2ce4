package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// line is a line of the log.
type line map[string]any

// linesOf reads a log, in which each line has to be a JSON object whose keys
// differ.
func linesOf(t *testing.T, text string) []line {
	t.Helper()
	var all []line
	for raw := range strings.Lines(text) {
		l := make(line)
		d := json.NewDecoder(strings.NewReader(raw))
		if start, err := d.Token(); err != nil || start != json.Delim('{') {
			t.Fatalf("not a JSON object: %s", raw)
		}
		for d.More() {
			key, err := d.Token()
			var value any
			if err = errors.Join(err, d.Decode(&value)); err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
			name, _ := key.(string)
			if _, again := l[name]; again {
				t.Errorf("key %q is there twice: %s", name, raw)
			}
			l[name] = value
		}
		all = append(all, l)
	}
	return all
}

// about gives the lines with this message and these values.
func about(all []line, msg string, values line) []line {
	var found []line
	for _, l := range all {
		same := l["msg"] == msg
		for key, value := range values {
			same = same && l[key] == value
		}
		if same {
			found = append(found, l)
		}
	}
	return found
}

// The log tells of each connection's life, at debug level of each message, and
// never what people say, nor a password or a token.
func TestProcessLog(t *testing.T) {
	const content, password, agent = "MARKED-CONTENT", "MARKED-PASSWORD", "test-client/7.1"
	p := serve(t, "PARLEY_LOG_LEVEL=debug", "PARLEY_JWT_SECRET=MARKED-SECRET-of-more-than-32-bytes")
	p.WaitReady()
	status, body := stack.Post(t, p.url+"/api/register", map[string]string{"username": "alice", "password": password})
	token, _ := body["token"].(string)
	refresh, _ := body["refreshToken"].(string)
	user, _ := body["user"].(map[string]any)
	if status != http.StatusOK || token == "" || refresh == "" || user == nil {
		t.Fatalf("%d %v", status, body)
	}
	stack.Post(t, p.url+"/api/auth", map[string]string{"username": "alice", "password": password + "-WRONG"})
	stack.Post(t, p.url+"/api/refresh", map[string]string{"refreshToken": refresh})

	header := http.Header{"User-Agent": {agent}}
	alice := client.Dial(t, p.url, client.Options{Header: header})
	id := alice.Want("welcome").GetWelcome().ConnectionId
	me := alice.SignIn(token)
	alice.Join("general")
	alice.Say("general", content)
	alice.Hear("general", content)
	text := content
	alice.Ask(ask.RoomMessage(&wirev1.SendMessage{RoomId: "general", Content: &text, Data: []byte(`{"text":"` + content + `"}`)}))
	alice.Send(ask.Signal(&wirev1.SendSignal{RoomId: "general", Event: "typing", Data: []byte(`"` + content + `"`)}))
	alice.Ask(ask.Chat(content))
	alice.SendText(`{"type":"chat-message","roomId":"general","content":["` + content + `"]}`) // refused
	alice.SendText(`{"type":"` + content + `","content":"` + content + `"}`)
	alice.SendText(content)
	alice.Settle()
	alice.Close()
	alice.Closed()
	refused := client.Dial(t, p.url, client.Options{Header: http.Header{"User-Agent": {agent}, "Authorization": {"Bearer MARKED-TOKEN"}}})
	refused.Closed()
	if _, err := client.TryDial(t, p.url, client.Options{Header: http.Header{"User-Agent": {agent}, "Origin": {"https://elsewhere.example"}}}); err == nil {
		t.Error("a foreign origin was let in")
	}
	back := client.Dial(t, p.url, client.Options{Subprotocols: []string{"parley.v1.json", "parley.token." + token}})
	back.Want("auth-success")
	back.Cut()
	process.Eventually(t, recovery, "all have gone", func() error {
		if n := strings.Count(p.Stderr(), `"msg":"closed"`); n != 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if code := p.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}

	all := linesOf(t, p.Stderr())
	for _, c := range []struct {
		msg  string
		with line // must be so
		has  []string
	}{
		{"opened", line{"connection": id, "agent": agent}, []string{"remote"}},
		{"signed in", line{"connection": id, "user": user["id"], "session": me.SessionId, "agent": agent}, []string{"remote"}},
		{"closed", line{"connection": id, "user": user["id"], "code": float64(websocket.StatusNormalClosure), "agent": agent},
			[]string{"remote", "duration", "bytes_in", "bytes_out"}},
		{"refused", line{"agent": agent, "level": "INFO"}, []string{"connection", "remote", "error"}},
		{"closed", line{"user": "", "code": float64(websocket.StatusPolicyViolation), "agent": agent}, []string{"remote", "duration"}},
		{"received", line{"connection": id, "type": "room-message", "level": "DEBUG"}, []string{"bytes"}},
		{"received", line{"connection": id, "type": "join-room", "level": "DEBUG"}, []string{"bytes"}},
	} {
		found := about(all, c.msg, c.with)
		if len(found) == 0 {
			t.Errorf("no line %q with %v", c.msg, c.with)
			continue
		}
		for _, key := range c.has {
			if _, ok := found[0][key]; !ok {
				t.Errorf("no %q in %v", key, found[0])
			}
		}
	}
	if n := len(about(all, "opened", nil)); n != 3 {
		t.Errorf("%d connections opened, want 3", n)
	}
	if n := len(about(all, "refused", line{"level": "INFO"})); n != 2 {
		t.Errorf("%d connections refused, want 2: the bad token's and the foreign origin's", n)
	}
	for name, secret := range map[string]string{
		"what somebody said": content, "a password": password, "a bad token": "MARKED-TOKEN", "the secret": "MARKED-SECRET",
		"a token": token[strings.LastIndex(token, ".")+1:], "a refresh token": refresh, "a resume token": me.ResumeToken[strings.LastIndex(me.ResumeToken, ".")+1:],
	} {
		if at := strings.Index(p.Stderr(), secret); at >= 0 {
			t.Errorf("the log has %s: %s", name, p.Stderr()[max(0, at-200):min(len(p.Stderr()), at+100)])
		}
	}
}
