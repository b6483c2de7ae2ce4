package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// What a user, an address and somebody whom nobody knows may have at once is
// counted, refused as PROTOCOL.md says, and free again when it is given back.
func TestLimits(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) { o.JWTSecret = secret }})
	for _, c := range []struct {
		name string
		test func(*testing.T, *stack.Stack)
	}{
		{"connections of a user", testMaxPerUser},
		{"connections of an address", testMaxPerAddress},
		{"connections that do not sign in", testMaxUnauthenticated},
		{"rooms of a connection", testMaxRooms},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func testMaxPerUser(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.JWTSecret, o.MaxPerUser = secret, 2 })
	one, two := signedIn(t, s, n, frame.JSON, "busy"), signedIn(t, s, n, frame.Proto, "busy")
	three := client.Dial(t, s.URLs[n], client.Options{})
	three.Send(ask.Auth(signHS256(t, secret, claims{"sub": "busy"})))
	if code := three.Closed(); code != 4103 {
		t.Errorf("one more is closed with %d, want 4103", code)
	}
	signedIn(t, s, n, frame.JSON, "another")
	one.SignIn(signHS256(t, secret, claims{"sub": "busy"})) // a newer token is no connection
	resume := two.SignIn(signHS256(t, secret, claims{"sub": "busy"})).ResumeToken
	again := client.Dial(t, s.URLs[n], client.Options{})
	again.Send(ask.Resume(resume, nil))
	if code := again.Closed(); code != 4103 {
		t.Errorf("a resume too many is closed with %d, want 4103", code)
	}
	one.Close()
	stack.Eventually(t, "there is room again", func() error {
		c := client.Dial(t, s.URLs[n], client.Options{})
		answer, err := c.TryAsk(ask.Resume(resume, nil))
		if err == nil && answer.GetResumed() == nil {
			err = fmt.Errorf("answered %v", answer)
		}
		return err
	})
}

func testMaxPerAddress(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.MaxPerAddress, o.LimitPrivate = 2, true })
	one := client.Dial(t, s.URLs[n], client.Options{})
	one.Want("welcome")
	client.Dial(t, s.URLs[n], client.Options{}).Want("welcome")
	_, answer := client.Upgrade(t, s.URLs[n], "/ws", nil)
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one more is answered %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
	if page, err := http.Get(s.URLs[n] + "/.well-known/jwks.json"); err != nil || page.StatusCode != http.StatusOK {
		t.Errorf("a page: %v, %v", page, err)
	} else {
		_ = page.Body.Close()
	}
	one.Close()
	stack.Eventually(t, "there is room again", func() error {
		if _, answer := client.Upgrade(t, s.URLs[n], "/ws", nil); answer.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("answered %s", answer.Status)
		}
		return nil
	})
}

func testMaxUnauthenticated(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.JWTSecret, o.MaxUnauthenticated = secret, 3 })
	var strangers []*client.Client
	for range 5 {
		c := client.Dial(t, s.URLs[n], client.Options{})
		c.Want("welcome")
		strangers = append(strangers, c)
		// Who has signed in is none of them.
		signedIn(t, s, n, frame.JSON, fmt.Sprint("known-", len(strangers)))
	}
	for i, c := range strangers {
		if i < 3 { // each who signs in was one for a moment
			if code := c.Closed(); code != 1013 {
				t.Errorf("stranger %d is closed with %d, want 1013", i, code)
			}
			continue
		}
		c.SignIn(signHS256(t, secret, claims{"sub": fmt.Sprint("late-", i)}))
	}
}

func testMaxRooms(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.JWTSecret, o.MaxRooms = secret, 2 })
	c := signedIn(t, s, n, frame.JSON, "everywhere")
	a, b, third := named(t, "a"), named(t, "b"), named(t, "c")
	c.Join(a)
	c.Join(b)
	c.Join(a) // anew
	c.Join("lobby")
	c.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: third}), "forbidden")
	c.Ask(ask.LeaveRoom(b))
	c.Join(third)
	c.Say(third, "here")
	resume := c.SignIn(signHS256(t, secret, claims{"sub": "everywhere"})).ResumeToken
	c.Cut()
	d := client.Dial(t, s.URLs[n], client.Options{})
	rooms := d.Ask(ask.Resume(resume, map[string]*wirev1.Position{a: {}, b: {}, third: {}, "lobby": {}})).GetResumed().GetRooms()
	refused := 0
	for id, room := range rooms {
		switch room.GetError() {
		case "":
		case "forbidden":
			refused++
		default:
			t.Errorf("%s: %s", id, room.GetError())
		}
	}
	if len(rooms) != 4 || refused != 1 {
		t.Errorf("resumed %v; want one of 4 refused", rooms)
	}
}
