package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/parley-im/parley/proto/auth/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

func letGuestsIn(o *gateway.Options) { o.Guests, o.JWTSecret = true, secret }

// impatient gateways let nobody be silent for long.
func impatient(o *gateway.Options) { o.AuthTimeout = 200 * time.Millisecond }

// guest connects and becomes one.
func guest(t *testing.T, url string) (*client.Client, *wirev1.AuthSuccess) {
	t.Helper()
	c := client.Dial(t, url, client.Options{})
	c.Send(ask.GetRooms(&wirev1.GetRooms{}))
	return c, c.Want("auth-success").GetAuthSuccess()
}

// The client of a tutorial knows nothing of signing in.
func TestTutorialClient(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: letGuestsIn})
	quick := s.AddGateway(t, impatient)
	alice, listener := client.Dial(t, s.URLs[0], client.Options{}), client.Dial(t, s.URLs[quick], client.Options{})
	signed := client.Dial(t, s.URLs[0], client.Options{})
	signed.SignIn(s.Token(t, "bob"))

	// Who says nothing for a while listens as a guest.
	heard := listener.Want("auth-success").GetAuthSuccess()
	alice.SendText(`{"type":"chat","user":"Alice","message":"hello"}`)
	user := alice.Want("auth-success").GetAuthSuccess().User
	for _, c := range []*client.Client{alice, listener, signed} {
		if said := c.Want("chat").GetChat(); said.Message != "hello" || said.User != user.Username {
			t.Errorf("heard %v, want it of %v", said, user)
		}
	}
	if !strings.HasPrefix(user.Id, "guest:") || !strings.HasPrefix(user.Username, "Guest-") || len(user.Roles) != 1 || user.Roles[0] != "guest" {
		t.Errorf("a guest is %v", user)
	}
	if heard.User.Id == user.Id || heard.User.Username == user.Username {
		t.Errorf("two guests are %v and %v", user, heard.User)
	}
	signed.SendText(`{"type":"chat","message":"welcome"}`)
	alice.Want("chat")
	listener.SendText(`{"type":"chat","message":"thanks"}`)
	if said := alice.Want("chat").GetChat(); said.User != heard.User.Username {
		t.Errorf("heard %v, want it of %v", said, heard.User)
	}
}

func TestWhatGuestsMay(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: letGuestsIn})
	owner := client.Dial(t, s.URLs[0], client.Options{})
	owner.SignIn(s.Token(t, "owner"))
	for _, room := range []string{
		`"roomId":"plain"`, `"roomId":"open","policy":{"guests":"write"}`, `"roomId":"closed","policy":{"guests":"none"}`,
		`"roomId":"private","visibility":"private"`,
	} {
		if made := owner.AskText(`{"type":"create-room","persistent":true,` + room + `}`).GetRoomCreated(); !made.GetSuccess() {
			t.Fatalf("%s is not made", room)
		}
	}
	g, in := guest(t, s.URLs[0])
	owner.Join("open")
	g.Join("plain")
	g.Join("open")
	g.Say("open", "good day")
	owner.Hear("open", "good day")
	for object, want := range map[string]string{
		`{"type":"join-room","roomId":"closed"}`:                                             "forbidden",
		`{"type":"join-room","roomId":"private"}`:                                            "not-found",
		`{"type":"join-room","roomId":"nowhere"}`:                                            "not-found",
		`{"type":"get-history","roomId":"private"}`:                                          "not-found",
		`{"type":"chat-message","roomId":"plain","content":"x"}`:                             "forbidden",
		`{"type":"signal","roomId":"plain","event":"typing"}`:                                "forbidden",
		`{"type":"create-room","roomId":"mine"}`:                                             "forbidden",
		`{"type":"open-direct","userId":"someone"}`:                                          "forbidden",
		`{"type":"set-status","status":"busy"}`:                                              "forbidden",
		`{"type":"mark-read","roomId":"open","seq":1}`:                                       "forbidden",
		`{"type":"kick","roomId":"open","userId":"someone"}`:                                 "forbidden",
		`{"type":"ban","roomId":"open","userId":"someone"}`:                                  "forbidden",
		`{"type":"unban","roomId":"open","userId":"someone"}`:                                "forbidden",
		`{"type":"mute","roomId":"open","userId":"someone"}`:                                 "forbidden",
		`{"type":"unmute","roomId":"open","userId":"someone"}`:                               "forbidden",
		`{"type":"set-role","roomId":"open","userId":"someone","role":"owner"}`:              "forbidden",
		`{"type":"invite","roomId":"open","userId":"someone"}`:                               "forbidden",
		`{"type":"uninvite","roomId":"open","userId":"someone"}`:                             "forbidden",
		`{"type":"update-room","roomId":"open","name":"x"}`:                                  "forbidden",
		`{"type":"delete-room","roomId":"open"}`:                                             "forbidden",
		`{"type":"get-room-sanctions","roomId":"open"}`:                                      "forbidden",
		`{"type":"admin-broadcast","content":"x"}`:                                           "forbidden",
		`{"type":"chat","message":"` + strings.Repeat("x", 1025) + `"}`:                      "too-large",
		`{"type":"room-message","roomId":"open","data":"` + strings.Repeat("x", 1025) + `"}`: "too-large",
	} {
		if got := g.AskText(object).GetError().GetCode(); got == "" || !strings.Contains(want, got) {
			t.Errorf("%.90s: %q, want %s", object, got, want)
		}
	}
	for _, object := range []string{
		`{"type":"get-history","roomId":"plain"}`, `{"type":"get-room-members","roomId":"open"}`, `{"type":"get-room-info","roomId":"plain"}`,
		`{"type":"get-online-users"}`, `{"type":"configure"}`, `{"type":"chat","message":"` + strings.Repeat("x", 1024) + `"}`, `{"type":"leave-room","roomId":"plain"}`,
	} {
		if e := g.AskText(object).GetError(); e != nil {
			t.Errorf("%.90s: %v", object, e)
		}
	}
	// Guests are put out as anybody is.
	owner.AskText(fmt.Sprintf(`{"type":"ban","roomId":"open","userId":%q}`, in.User.Id))
	g.Want("kicked")
	g.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "open"}), "banned")
	if _, err := s.Auth.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_UserId{UserId: in.User.Id}}); err != nil {
		t.Fatal(err)
	}
	if code := g.Closed(); code != 4001 {
		t.Errorf("closed with %d", code)
	}
	client.Dial(t, s.URLs[0], client.Options{}).AskError(ask.Resume(in.ResumeToken, nil), "resume-failed")
}

// Whoever means to sign in does not become a guest, whatever comes of it, and a
// guest signs in on another connection.
func TestGuestsAndSigningIn(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: letGuestsIn})
	tried := s.AddGateway(t, func(o *gateway.Options) { o.AuthTimeout = 3 * time.Second })
	quick := s.AddGateway(t, impatient)
	token := s.Token(t, "alice")
	dial := func() *client.Client { return client.Dial(t, s.URLs[0], client.Options{}) }

	c := dial()
	c.Send(ask.Auth(token))
	c.Send(ask.Chat("hello"))
	if user := c.Want("auth-success").GetAuthSuccess().User; user.Username != "alice" {
		t.Errorf("signed in as %v", user)
	}
	if said := c.Want("chat").GetChat(); said.User != "alice" {
		t.Errorf("said by %v", said)
	}
	for _, object := range []string{`{"type":"resume","resumeToken":"x"}`, `{"type":"resume"}`, `{"type":"auth"}`} {
		c = client.Dial(t, s.URLs[tried], client.Options{})
		c.AskText(object)
		c.AskError(ask.Chat("hello"), "unauthenticated")
		if code := c.Closed(); code != 1008 {
			t.Errorf("closed with %d", code)
		}
	}
	c = dial()
	if e := c.Ask(ask.Auth("x")).GetAuthFailed(); e.GetCode() != "unauthenticated" {
		t.Errorf("got %v", e)
	}
	// A ping, or what is not understood, makes no guest, and a guest comes but once.
	c = dial()
	c.AskText(`{"type":"nothing"}`)
	c.Ask(ask.Ping())
	if len(c.Untaken("auth-success")) > 0 {
		t.Error("a ping has made a guest")
	}
	c = client.Dial(t, s.URLs[quick], client.Options{})
	c.Ask(ask.Ping())
	c.Want("auth-success") // in silence
	c.Ask(ask.Chat("hello"))
	if len(c.Untaken("auth-success")) > 0 {
		t.Error("a guest has become another")
	}
	if e := c.Ask(ask.Auth(token)).GetAuthFailed(); e.GetCode() != "forbidden" || !strings.Contains(e.GetMessage(), "another connection") {
		t.Errorf("a guest signs in: %v", e)
	}
	if code := c.Closed(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
	// An account may be no more than a guest, too.
	c = dial()
	c.SignIn(signHS256(t, secret, claims{"sub": "visitor", "roles": []string{"guest"}}))
	c.AskError(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "visited"}), "forbidden")
	c.SignIn(signHS256(t, secret, claims{"sub": "visitor"}))
	if made := c.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "visited"})); !made.GetRoomCreated().GetSuccess() {
		t.Errorf("got %v", made)
	}
}

// A guest stays the same on another connection, where guests are let in.
func TestGuestResumes(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: letGuestsIn})
	without := s.AddGateway(t, func(o *gateway.Options) { o.Guests = false })
	g, in := guest(t, s.URLs[0])
	seq := g.Ask(ask.Chat("one")).GetAck().GetSeq()
	g.Cut()
	other := client.Dial(t, s.URLs[0], client.Options{})
	other.SignIn(s.Token(t, "alice"))
	other.Ask(ask.Chat("two"))
	client.Dial(t, s.URLs[without], client.Options{}).AskError(ask.Resume(in.ResumeToken, nil), "resume-failed")
	back := client.Dial(t, s.URLs[1], client.Options{})
	resumed := back.Ask(ask.Resume(in.ResumeToken, map[string]*wirev1.Position{"lobby": {Seq: seq}})).GetResumed()
	if !proto.Equal(resumed.GetUser(), in.User) || !resumed.GetRooms()["lobby"].GetRecovered() {
		t.Errorf("resumed as %v, want %v", resumed, in.User)
	}
	back.AskError(ask.CreateRoom(&wirev1.CreateRoom{RoomId: "mine"}), "forbidden")
}

func TestGuestLimits(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		letGuestsIn(o)
		o.MaxGuests, o.GuestRateLimit, o.GuestRateBurst, o.RateLimit, o.RateBurst = 2, 0.001, 3, 1000, 1000
		o.AuthTimeout = 3 * time.Second
	}})
	g, _ := guest(t, s.URLs[0])
	second, _ := guest(t, s.URLs[0])
	for range 3 {
		g.Ask(ask.Ping())
	}
	if e := g.Ask(ask.Ping()).GetError(); e.GetCode() != "rate-limited" || e.GetRetryAfterMs() <= 0 {
		t.Errorf("got %v", e)
	}
	// There are as many as may be.
	third, silent := client.Dial(t, s.URLs[0], client.Options{}), client.Dial(t, s.URLs[0], client.Options{})
	third.AskError(ask.Chat("hello"), "unavailable")
	for _, c := range []*client.Client{third, silent} {
		if code := c.Closed(); code != 1008 {
			t.Errorf("closed with %d", code)
		}
	}
	user := client.Dial(t, s.URLs[0], client.Options{})
	user.SignIn(s.Token(t, "alice"))
	for range 50 {
		user.Settle()
	}
	second.Close()
	stack.Eventually(t, "there is room for one", func() error {
		c := client.Dial(t, s.URLs[0], client.Options{})
		defer c.Close()
		if e := c.Ask(ask.GetRooms(&wirev1.GetRooms{})).GetError(); e != nil {
			return fmt.Errorf("%v", e)
		}
		return nil
	})
}

// Without the setting nobody is let in.
func TestNoGuests(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) { o.AuthTimeout = 500 * time.Millisecond }})
	talks, silent := client.Dial(t, s.URLs[0], client.Options{}), client.Dial(t, s.URLs[0], client.Options{})
	talks.AskError(ask.Chat("hello"), "unauthenticated")
	for _, c := range []*client.Client{talks, silent} {
		if code := c.Closed(); code != 1008 {
			t.Errorf("closed with %d", code)
		}
		if len(c.Untaken("auth-success")) > 0 {
			t.Error("a guest was let in")
		}
	}
}
