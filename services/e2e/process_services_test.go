package e2e

import (
	"errors"
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

// recovery is how soon all is well again after a process has come back.
const recovery = 20 * time.Second

// register makes an account over a gateway's HTTP API and gives its token.
func register(t *testing.T, base, username string) string {
	t.Helper()
	status, body := stack.Post(t, base+"/api/register", map[string]string{"username": username, "password": "correct horse"})
	token, _ := body["token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("registering %s: %d %v", username, status, body)
	}
	return token
}

// chatting has each of two clients in a room say something that the other
// hears.
func chatting(t *testing.T, room, what string, a, b *client.Client) {
	t.Helper()
	a.Say(room, what+", from a")
	b.Hear(room, what+", from a")
	b.Say(room, what+", from b")
	a.Hear(room, what+", from b")
}

// What services other than the log are asked for.
func askCreateRoom() *wirev1.ClientFrame {
	return ask.CreateRoom(&wirev1.CreateRoom{RoomId: "another"})
}
func askJoinRoom() *wirev1.ClientFrame { return ask.JoinRoom(&wirev1.JoinRoom{RoomId: "elsewhere"}) }
func askGetRooms() *wirev1.ClientFrame { return ask.GetRooms(&wirev1.GetRooms{}) }
func askGetHistory() *wirev1.ClientFrame {
	return ask.GetHistory(&wirev1.GetHistory{RoomId: "general"})
}
func askGetOnline() *wirev1.ClientFrame { return ask.GetOnlineUsers(&wirev1.GetOnlineUsers{}) }
func askGetMembers() *wirev1.ClientFrame {
	return ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: "general"})
}

// Each service is killed and comes back: connections stay, chatting goes on,
// and what needs the service says so.
func TestProcessServicesKilled(t *testing.T) {
	d := process.Deploy(t, 2)
	aliceToken, bobToken := register(t, d.URLs[0], "alice"), register(t, d.URLs[1], "bob")
	alice, bob := client.Dial(t, d.URLs[0], client.Options{}), client.Dial(t, d.URLs[1], client.Options{})
	alice.SignIn(aliceToken)
	bob.SignIn(bobToken)
	alice.Join("general")
	bob.Join("general")
	chatting(t, "general", "at first", alice, bob)

	for _, c := range []struct {
		service string
		needs   []func() *wirev1.ClientFrame
	}{
		{process.Auth, nil},
		{process.Registry, []func() *wirev1.ClientFrame{askCreateRoom, askJoinRoom, askGetRooms}},
		{process.History, []func() *wirev1.ClientFrame{askGetHistory}},
		{process.Presence, []func() *wirev1.ClientFrame{askGetOnline, askGetMembers}},
	} {
		t.Run(c.service, func(t *testing.T) {
			service := d.Services[c.service]
			service.Kill()
			chatting(t, "general", "without "+c.service, alice, bob)
			for _, who := range []*client.Client{alice, bob} {
				for _, request := range c.needs {
					if e := who.AskError(request(), "unavailable"); e.GetRetryAfterMs() <= 0 {
						t.Errorf("unavailable without a time to wait: %v", e)
					}
				}
			}
			if c.service == process.Auth {
				withoutAuth(t, d, aliceToken)
			}
			chatting(t, "general", "still without "+c.service, alice, bob)

			service.Restart()
			service.WaitReady()
			process.Eventually(t, recovery, "all is served again", func() error {
				for _, who := range []*client.Client{alice, bob} {
					for _, request := range c.needs {
						if e := who.Ask(request()).GetError(); e != nil {
							return fmt.Errorf("%v", e)
						}
					}
				}
				return signsIn(d.URLs[0], "alice")
			})
			chatting(t, "general", "with "+c.service+" again", alice, bob)
			if users := alice.Ask(askGetOnline()).GetOnlineUsers().GetUsers(); len(users) != 2 {
				t.Errorf("online are %v", users)
			}
			if n := len(alice.Untaken("user-left")) + len(bob.Untaken("user-left")); n != 0 {
				t.Errorf("%d user-left for users who stayed", n)
			}
		})
	}
}

// withoutAuth sees that nobody gets a token while auth is down, and that one
// got before is good.
func withoutAuth(t *testing.T, d *process.Deployment, token string) {
	t.Helper()
	for _, path := range []string{"/api/auth", "/api/register"} {
		resp, err := http.Post(d.URLs[0]+path, "application/json", strings.NewReader(`{"username":"alice","password":"correct horse"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("POST %s without auth: %d, Retry-After %q", path, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	second := client.Dial(t, d.URLs[1], client.Options{})
	second.SignIn(token)
	second.Join("general")
	second.Say("general", "with a token from before")
	second.Close()
	second.Closed()
}

// signsIn says why a user cannot get a token.
func signsIn(base, username string) error {
	body := `{"username":"` + username + `","password":"correct horse"}`
	resp, err := http.Post(base+"/api/auth", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// A killed gateway's client resumes on the other without losing anything; who
// does not come back is gone after the lease.
func TestProcessGatewayKilled(t *testing.T) {
	d := process.Deploy(t, 2)
	alice, bob := client.Dial(t, d.URLs[0], client.Options{}), client.Dial(t, d.URLs[1], client.Options{})
	carol := client.Dial(t, d.URLs[0], client.Options{})
	me := alice.SignIn(register(t, d.URLs[0], "alice"))
	bob.SignIn(register(t, d.URLs[1], "bob"))
	carol.SignIn(register(t, d.URLs[1], "carol"))
	bob.Join("general")
	carol.Join("general")
	joined, _ := alice.Join("general")
	chatting(t, "general", "at first", alice, bob)
	last := bob.Say("general", "the last that alice sees").GetSeq()
	alice.Hear("general", "the last that alice sees")

	d.Gateways[0].Kill()
	killed := time.Now()
	alice.Closed()
	carol.Closed()
	const missed = 20
	for i := range missed {
		bob.Say("general", fmt.Sprint("missed ", i))
	}
	alice = client.Dial(t, d.URLs[1], client.Options{})
	resumed := alice.Ask(ask.Resume(me.ResumeToken, map[string]*wirev1.Position{
		"general": {Seq: last, Epoch: &joined.Epoch},
	})).GetResumed()
	if room := resumed.GetRooms()["general"]; !room.GetRecovered() || room.MemberCount != 3 || resumed.SessionId != me.SessionId {
		t.Fatalf("resumed %v", resumed)
	}
	history := alice.Want("message-history").GetMessageHistory()
	if len(history.Messages) != missed || history.HasMore {
		t.Errorf("%d of %d missed messages came", len(history.Messages), missed)
	}
	for i, m := range history.Messages {
		if want := fmt.Sprint("missed ", i); m.GetChatMessage().GetContent() != want {
			t.Errorf("message %d is %v, want %q", i, m, want)
		}
	}
	chatting(t, "general", "resumed", alice, bob)

	process.Eventually(t, 30*time.Second, "carol is gone", func() error {
		if len(bob.Untaken("user-left")) == 0 {
			return errors.New("no user-left")
		}
		return nil
	})
	t.Logf("carol was gone %v after the kill", time.Since(killed).Round(10*time.Millisecond))
	if who := bob.Want("user-left").GetUserLeft(); who.User.Username != "carol" || who.MemberCount != 2 {
		t.Errorf("user-left %v", who)
	}
	d.Gateways[0].Restart()
	d.Gateways[0].WaitReady()
	dave := client.Dial(t, d.URLs[0], client.Options{})
	dave.SignIn(register(t, d.URLs[0], "dave"))
	if state, _ := dave.Join("general"); state.MemberCount != 3 {
		t.Errorf("on the restarted gateway: %v", state)
	}
	chatting(t, "general", "with the restarted gateway", dave, bob)
	alice.Hear("general", "with the restarted gateway, from a")
	if more := bob.Untaken("user-left"); len(more) != 0 {
		t.Errorf("left, though they stayed: %v", more)
	}
}

// NATS is killed and comes back: connections stay, and what was acknowledged
// is there, once.
func TestProcessNATSKilled(t *testing.T) {
	d := process.Deploy(t, 2)
	alice, bob := client.Dial(t, d.URLs[0], client.Options{}), client.Dial(t, d.URLs[1], client.Options{})
	alice.SignIn(register(t, d.URLs[0], "alice"))
	bob.SignIn(register(t, d.URLs[1], "bob"))
	alice.Join("general")
	bob.Join("general")
	chatting(t, "general", "at first", alice, bob)

	for round := range 2 {
		var ids []string
		send := func(n int) {
			for range n {
				id := fmt.Sprintf("round-%d-%d", round, len(ids))
				ids = append(ids, id)
				alice.Send(messageCalled(id))
			}
		}
		send(20)
		d.NATS.Kill()
		send(20)
		process.Eventually(t, recovery, "the gateway tells that NATS is gone", func() error {
			if d.Gateways[0].Ready() == nil {
				return errors.New("it is ready")
			}
			if status, body, err := process.Get(d.Gateways[0].Admin + "/health"); err != nil || status != 503 || !strings.Contains(body, "NATS is out of reach") {
				return fmt.Errorf("/health: %d %s %v", status, body, err)
			}
			return nil
		})
		if status, _, err := process.Get(d.Gateways[0].Admin + "/livez"); err != nil || status != http.StatusOK {
			t.Errorf("/livez without NATS: %d %v", status, err)
		}
		for name, service := range d.Services {
			process.Eventually(t, recovery, name+" is not ready and says why", func() error {
				status, body, err := process.Get(service.Admin + "/readyz")
				if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "NATS is out of reach: ") ||
					!strings.Contains(body, `"failingForSeconds": `) {
					return fmt.Errorf("/readyz: %d %s %v", status, body, err)
				}
				return nil
			})
			if status, _, err := process.Get(service.Admin + "/livez"); err != nil || status != http.StatusOK {
				t.Errorf("/livez of %s without NATS: %d %v", name, status, err)
			}
		}
		if round == 1 { // an outage that is longer than anybody waits
			withoutNATS(t, d, alice)
			process.Eventually(t, recovery, "what cannot be stored is refused", func() error {
				if len(alice.Untaken("error")) < 20 {
					return errors.New("no answer yet")
				}
				return nil
			})
		}
		d.NATS.Restart()
		d.WaitReady()
		// A client repeats what was not taken, with the same id.
		acked := make(map[string]int64)
		refused := 0
		for _, id := range ids {
			for answer := alice.Reply(id); ; answer = alice.Reply(id) {
				if ack := answer.GetAck(); ack != nil {
					acked[id] = ack.GetSeq()
					break
				}
				if e := answer.GetError(); e.GetCode() != "unavailable" || e.GetRetryAfterMs() <= 0 {
					t.Fatalf("a message without NATS was answered %v", answer)
				}
				refused++
				alice.Send(messageCalled(id))
			}
		}
		t.Logf("%d messages, %d times refused", len(ids), refused)
		if round == 1 && refused == 0 {
			t.Error("nothing was refused without NATS")
		}
		heard := make(map[string]int64)
		for range ids {
			m := bob.Wait("one of alice's messages", func(f *wirev1.ServerFrame) bool {
				return strings.HasPrefix(f.GetChatMessage().GetContent(), fmt.Sprintf("round-%d", round))
			}).GetChatMessage()
			if _, again := heard[m.GetContent()]; again {
				t.Errorf("heard %s twice", m.GetContent())
			}
			heard[m.GetContent()] = m.Seq
		}
		for id, seq := range acked {
			if heard[id] != seq {
				t.Errorf("%s was acknowledged as %d and heard as %d", id, seq, heard[id])
			}
		}
		chatting(t, "general", fmt.Sprint("after round ", round), alice, bob)
		if users := alice.Ask(askGetOnline()).GetOnlineUsers().GetUsers(); len(users) != 2 {
			t.Errorf("online are %v", users)
		}
		joinPatiently(t, bob, fmt.Sprint("new-in-round-", round))
	}
}

// joinPatiently joins as a client does: it asks again while the answer is
// unavailable, for the gateway may find NATS before the registry does.
func joinPatiently(t *testing.T, c *client.Client, room string) {
	t.Helper()
	process.Eventually(t, recovery, "joining "+room, func() error {
		answer := c.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_JoinRoom{JoinRoom: &wirev1.JoinRoom{RoomId: room}}})
		if e := answer.GetError(); e.GetCode() == "unavailable" && e.GetRetryAfterMs() > 0 {
			return errors.New(e.GetMessage())
		}
		if answer.GetRoomJoined() == nil {
			t.Fatalf("join-room %s answered %v", room, answer)
		}
		return nil
	})
}

// withoutNATS sees that what needs NATS says that it is not served.
func withoutNATS(t *testing.T, d *process.Deployment, c *client.Client) {
	t.Helper()
	began := time.Now()
	ids := []string{"create", "join", "history"}
	for i, request := range []func() *wirev1.ClientFrame{askCreateRoom, askJoinRoom, askGetHistory} {
		f := request()
		f.Id = &ids[i]
		c.Send(f)
	}
	defer func() {
		for _, id := range ids {
			if e := c.WantError(id, "unavailable"); e.GetRetryAfterMs() <= 0 {
				t.Errorf("unavailable without a time to wait: %v", e)
			}
		}
		t.Logf("all answered after %v", time.Since(began).Round(time.Millisecond))
	}()
	status, body := stack.Post(t, d.URLs[0]+"/api/register", map[string]string{"username": "eve", "password": "correct horse"})
	if status != http.StatusServiceUnavailable {
		t.Errorf("registering without NATS: %d %v", status, body)
	}
}

// messageCalled is a message with an id, which is its content too.
func messageCalled(id string) *wirev1.ClientFrame {
	f := ask.ChatMessage(&wirev1.SendMessage{RoomId: "general", Content: &id})
	f.Id = &id
	return f
}
