package parley

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestOnceAndInOrder(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 2, message(1, 0), message(2, 1))
		s.say("%s", message(3, 2))
		want(t, read(t, r, 3), span(1, 3))
		s.say("%s", message(4, 3))
		synctest.Wait()
		s.cut() // before the application has read 4
		s = g.accept()
		q := s.resumed(6, true, message(5, 4), message(6, 5))
		if at := q["rooms"].(map[string]any)["r"].(map[string]any); at["seq"] != 4.0 || at["epoch"] != "e1" {
			t.Errorf("resumed from %v", at)
		}
		s.say("%s", message(6, 5)) // republished
		s.say("%s", message(7, 6))
		want(t, read(t, r, 4), span(4, 7))
	})
}

func TestResumeRefused(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 2, message(2, 1))
		s.cut()
		s = g.accept()
		q := s.take("resume")
		s.say(`{"type":"error","id":%q,"code":"resume-failed","message":"no"}`, q["id"])
		s.signIn()
		if q := s.joined(4, true, message(3, 2), message(4, 3)); q["after"] != 2.0 || q["epoch"] != "e1" {
			t.Errorf("joined with %v", q)
		}
		want(t, read(t, r, 3), span(2, 4))
	})
}

func TestHole(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 2)
		s.say("%s", message(5, 4))
		s.say("%s", message(6, 5))
		if q := s.joined(6, true, message(4, 2), message(5, 4), message(6, 5)); q["after"] != 2.0 {
			t.Errorf("joined with %v", q)
		}
		want(t, read(t, r, 3), span(4, 6))
	})
}

func TestGap(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 2, message(2, 1))
		s.cut()
		g.accept().resumed(91, false, message(91, 90))
		var told []string
		for m, err := range r.Messages(t.Context()) {
			told = append(told, fmt.Sprint(m.Seq, " ", err))
			if m.Seq == 91 {
				break
			}
		}
		if got := fmt.Sprint(told); got != "[2 <nil> 0 room r: messages are missing, its log begins at 90 91 <nil>]" {
			t.Error(got)
		}
	})
}

// A reader that stops costs the memory of its buffer, keeps nothing else from going
// on, and misses nothing.
func TestSlowReader(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{Buffer: 16})
		r := enter(t, c, s, 0)
		for i := 1; i <= 40; i++ {
			s.say("%s", message(i, i-1))
		}
		o, err := r.Queue(Draft{Content: "still here"})
		if err != nil {
			t.Fatal(err)
		}
		s.ack(41)
		if ack, err := o.Wait(t.Context()); err != nil || ack.Seq != 41 {
			t.Fatal(ack, err)
		}
		joins := make(chan int, 100)
		go func() {
			for {
				_, b, err := s.ws.Read(context.Background())
				var q struct {
					ID    string
					After int
				}
				if err != nil || json.Unmarshal(b, &q) != nil {
					return
				}
				var page []string
				for i := q.After + 1; i <= 41; i++ {
					page = append(page, message(i, i-1))
				}
				joins <- q.After
				s.say(`{"type":"room-joined","id":%q,"roomId":"r","memberCount":1,"seq":41,"epoch":"e1","recovered":true}`, q.ID)
				s.page(fmt.Sprintf(`,"id":%q`, q.ID), page...)
			}
		}()
		want(t, read(t, r, 41), span(1, 41))
		if after := <-joins; after != 16 {
			t.Errorf("the log was read again from %d", after)
		}
	})
}

// What was under way when a connection ended is looked for in what was missed, and
// sent again under the same id where it is not there.
func TestOutbox(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 0)
		stored, _ := r.Queue(Draft{ID: "m1", Content: "x"})
		next, _ := r.Queue(Draft{ID: "m2", Content: "y"})
		if _, err := r.Queue(Draft{ID: "m2"}); CodeOf(err) != "invalid-argument" {
			t.Errorf("a second m2: %v", err)
		}
		s.take("chat-message") // and no ack
		s.cut()
		s = g.accept()
		s.resumed(1, true, mine(1, "m1"))
		if ack, err := stored.Wait(t.Context()); err != nil || ack.Seq != 1 || !ack.Duplicate || ack.Time.IsZero() {
			t.Error(ack, err)
		}
		if q := s.take("chat-message"); q["id"] != "m2" {
			t.Errorf("sent %v", q)
		}
		s.cut()
		s = g.accept()
		s.resumed(1, true)
		if q := s.ack(2); q["id"] != "m2" || q["content"] != "y" {
			t.Errorf("sent %v", q)
		}
		if ack, err := next.Wait(t.Context()); err != nil || ack.Seq != 2 || ack.Duplicate {
			t.Error(ack, err)
		}
		if n := r.Waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// After the window of ids the log alone tells what became of a message.
func TestStale(t *testing.T) {
	for _, c := range []struct {
		name      string
		recovered bool
		page      []string
		code      string
	}{
		{"not there, and sent anew", true, nil, ""},
		{"there", true, []string{mine(1, "m1")}, ""},
		{"cannot be told", false, nil, CodeUnknownOutcome},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(t *testing.T, g *gateway) {
				client, s := g.dial(Options{})
				r := enter(t, client, s, 0)
				o, _ := r.Queue(Draft{ID: "m1", Content: "x"})
				s.take("chat-message")
				s.cut()
				g.accept()
				time.Sleep(idempotent) // no gateway says anything for so long
				for len(g.sockets) > 0 {
					<-g.sockets
				}
				s = g.accept()
				s.resumed(1, c.recovered, c.page...)
				if c.recovered && c.page == nil {
					s.ack(2)
				}
				if _, err := o.Wait(t.Context()); CodeOf(err) != c.code {
					t.Error(err)
				}
			})
		})
	}
}

func TestRateLimited(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 0)
		o, _ := r.Queue(Draft{ID: "m1", Content: "x"})
		q := s.take("chat-message")
		began := time.Now()
		s.say(`{"type":"error","id":%q,"code":"rate-limited","message":"slowly","retryAfterMs":7000}`, q["id"])
		s.ack(1)
		if _, err := o.Wait(t.Context()); err != nil || time.Since(began) < 7*time.Second {
			t.Error(time.Since(began), err)
		}
		o, _ = r.Queue(Draft{Content: "x"})
		q = s.take("chat-message")
		s.say(`{"type":"error","id":%q,"code":"muted","message":"hush"}`, q["id"])
		if _, err := o.Wait(t.Context()); CodeOf(err) != "muted" {
			t.Error(err)
		}
	})
}

// The wait grows with each attempt, and begins anew after a connection that held.
func TestBackOff(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		longest := time.Duration(0)
		for range 12 {
			s.cut()
			synctest.Wait()
			longest = max(longest, time.Until(c.Status().RetryAt))
			s = g.accept()
			s.resumed(0, true)
		}
		if longest <= time.Second || longest > 30*time.Second {
			t.Errorf("the longest wait was %v", longest)
		}
		time.Sleep(stable)
		s.cut()
		synctest.Wait()
		status := c.Status()
		if wait := time.Until(status.RetryAt); status.State != Offline || wait > time.Second {
			t.Errorf("%v for %v", status.State, wait)
		}
		c.RetryNow()
		s = g.accept()
		s.resumed(0, true)
		s.say(`{"type":"going-away","reconnectInMs":5000}`)
		_ = s.ws.Close(websocket.StatusGoingAway, "")
		synctest.Wait()
		if wait := time.Until(c.Status().RetryAt); wait < 5*time.Second || wait > 6*time.Second {
			t.Errorf("asked for 5 s, it waits %v", wait)
		}
	})
}

func TestSilentGateway(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		g.dial(Options{})
		began := time.Now()
		s := g.accept() // nobody has read the pings of the first
		if after := time.Since(began); after < 25*time.Second || after > time.Minute {
			t.Errorf("given up after %v", after)
		}
		s.resumed(0, true)
		synctest.Wait()
	})
}

func TestStatuses(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := c.Room("r")
		var states []State
		done := make(chan struct{})
		go func() {
			defer close(done)
			for status := range c.Statuses(context.Background()) {
				states = append(states, status.State)
			}
		}()
		synctest.Wait()
		go func() { _ = r.Join(t.Context(), JoinOptions{}) }()
		synctest.Wait()
		s.joined(0, false)
		synctest.Wait()
		s.say(`{"type":"presence","user":{"id":"u-bob","username":"Bob"},"status":"away"}`)
		_ = s.ws.Close(4001, "")
		<-done
		if got := fmt.Sprint(states); got != "[online recovering online closed]" && got != "[online recovering online connecting closed]" {
			t.Error(got)
		}
		if err := c.Status().Err; CodeOf(err) != CodeRevoked {
			t.Error(err)
		}
		for _, err := range r.Events(t.Context()) {
			if CodeOf(err) != CodeRevoked {
				t.Error(err)
			}
		}
		if _, err := r.Send(t.Context(), "x"); CodeOf(err) != CodeRevoked {
			t.Error(err)
		}
	})
}

func TestTokens(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		var asked []string
		made := 0
		c, s := g.dial(Options{GetToken: func(_ context.Context, refused string) (string, error) {
			asked = append(asked, refused)
			made++
			return fmt.Sprint("t", made), nil
		}})
		s.say(`{"type":"token-expiring","expiresAt":"2026-01-02T03:04:05.000Z"}`)
		if q := s.take("auth"); q["token"] != "t2" {
			t.Errorf("renewed with %v", q)
		}
		_ = s.ws.Close(4203, "")
		s = g.accept()
		if q := s.take("auth"); q["token"] != "t3" {
			t.Errorf("signed in with %v", q)
		}
		// A newer one is refused, too: it gives up.
		s.say(`{"type":"auth-failed","id":"1","code":"unauthenticated","message":"no"}`)
		_ = s.ws.Close(1008, "")
		synctest.Wait()
		if got := fmt.Sprint(asked); got != "[ t1 t2]" {
			t.Errorf("asked with %v", got)
		}
		if status := c.Status(); status.State != Closed || CodeOf(status.Err) != CodeUnauthenticated {
			t.Errorf("%+v", status)
		}
	})
}

// A token that is refused is renewed once.
func TestTokenRefused(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		dialled := make(chan error, 1)
		var asked []string
		var c *Client
		go func() {
			var err error
			c, err = Dial(t.Context(), "http://gateway", Options{HTTPClient: g.client, GetToken: func(_ context.Context, refused string) (string, error) {
				asked = append(asked, refused)
				return fmt.Sprint("t", len(asked)), nil
			}})
			dialled <- err
		}()
		s := g.accept()
		s.take("auth")
		s.say(`{"type":"auth-failed","id":"1","code":"unauthenticated","message":"no"}`)
		_ = s.ws.Close(1008, "")
		s = g.accept()
		s.signIn()
		if err := <-dialled; err != nil || fmt.Sprint(asked) != "[ t1]" {
			t.Fatal(asked, err)
		}
		// A newer token of a connection that holds may be refused as well.
		s.say(`{"type":"auth-failed","id":"1","code":"unauthenticated","message":"no"}`)
		_ = s.ws.Close(1008, "")
		s = g.accept()
		if q := s.take("auth"); q["token"] != "t3" {
			t.Errorf("signed in with %v", q)
		}
		c.Close()
	})
}

func TestDial(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := Dial(ctx, "http://gateway", Options{HTTPClient: g.client, GetToken: func(context.Context, string) (string, error) {
			return "", errors.New("the vault is shut")
		}})
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "connecting to http://gateway: context deadline exceeded: getting a token: the vault is shut" {
			t.Error(err)
		}
		if _, err = Dial(t.Context(), "http://gateway", Options{HTTPClient: g.client, GetToken: func(context.Context, string) (string, error) {
			return "", ErrSignedOut
		}}); CodeOf(err) != CodeUnauthenticated {
			t.Error(err)
		}
		for _, url := range []string{"gateway", "ftp://gateway", "http://", "http://[", ""} {
			if _, err := Dial(t.Context(), url, Options{}); err == nil {
				t.Errorf("%q is no address", url)
			}
		}
		for _, o := range []Options{{Buffer: 3}, {Outbox: -1}, {Encoding: 7}, {HTTPClient: nil, Token: "t", GetToken: func(context.Context, string) (string, error) { return "", nil }}} {
			if _, err := Dial(t.Context(), "http://gateway", o); err == nil {
				t.Errorf("%+v are no options", o)
			}
		}
	})
}

func TestClose(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 0)
		o, _ := r.Queue(Draft{Content: "x"})
		s.take("chat-message")
		closed := make(chan struct{})
		go func() { defer close(closed); c.Close() }()
		_, _, err := s.ws.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Error(err)
		}
		<-closed
		for _, err := range r.Messages(t.Context()) {
			if CodeOf(err) != CodeClosed {
				t.Error(err)
			}
		}
		if _, err := o.Wait(t.Context()); CodeOf(err) != CodeClosed {
			t.Error(err)
		}
		if err := c.Room("other").Join(t.Context(), JoinOptions{}); CodeOf(err) != CodeClosed {
			t.Error(err)
		}
		for range c.Events(t.Context()) {
			t.Error("an event")
		}
	})
}

func TestPutOut(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := enter(t, c, s, 1, message(1, 0))
		s.say(`{"type":"kicked","roomId":"r","reason":"noise"}`)
		synctest.Wait()
		want(t, read(t, r, 1), span(1, 1))
		for _, err := range r.Events(t.Context()) {
			if CodeOf(err) != CodeKicked || err.Error() != "kicked: noise" {
				t.Error(err)
			}
		}
		// It may come again, and goes on where it was.
		joined := make(chan error, 1)
		go func() { joined <- r.Join(t.Context(), JoinOptions{}) }()
		if q := s.joined(2, true, message(2, 1)); q["after"] != 1.0 {
			t.Errorf("joined with %v", q)
		}
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		want(t, read(t, r, 1), span(2, 2))
		left := make(chan error, 1)
		go func() { left <- r.Leave(t.Context()) }()
		q := s.take("leave-room")
		s.say(`{"type":"room-left","id":%q,"roomId":"r"}`, q["id"])
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		// A refusal is for good, a service out of reach is waited for.
		go func() { joined <- r.Join(t.Context(), JoinOptions{}) }()
		q = s.take("join-room")
		s.say(`{"type":"error","id":%q,"code":"unavailable","message":"later"}`, q["id"])
		q = s.take("join-room")
		s.say(`{"type":"error","id":%q,"code":"banned","message":"no"}`, q["id"])
		if err := <-joined; CodeOf(err) != "banned" {
			t.Error(err)
		}
	})
}

// A message whose sender gave up before it was tried is not sent.
func TestWithdraw(t *testing.T) {
	play(t, func(t *testing.T, g *gateway) {
		c, s := g.dial(Options{})
		r := c.Room("r")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Send(ctx, "never"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		enter(t, c, s, 0)
		o, _ := r.Queue(Draft{Content: "now"})
		if q := s.ack(1); q["content"] != "now" {
			t.Errorf("sent %v", q)
		}
		if _, err := o.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
