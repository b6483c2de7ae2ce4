package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// What a browser notes by itself when nobody answers at an address.
const nobodyThere = "WebSocket connection to"

// TestBrowserComesBack takes a page's gateway away in the ways there are.
// Whatever both sides write meanwhile arrives once and in order.
func TestBrowserComesBack(t *testing.T) {
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{Gateways: 2})
	front := startFront(t, s.URLs[0])
	alice := openPage(t, browser, "alice", front.url(), desktop)
	alice.signIn("alice")
	alice.createRoom("harbour")
	bob := openPage(t, browser, "bob", s.URLs[1], desktop)
	bob.signIn("bob")
	bob.room("harbour")
	var want []string
	say := func(p *page, format string, args ...any) {
		t.Helper()
		text := fmt.Sprintf(format, args...)
		p.say(text)
		want = append(want, text)
	}
	say(bob, "before")
	alice.reads(want...)

	// away is while the page cannot connect: the other writes, and then it does.
	away := func(t *testing.T) {
		t.Helper()
		alice.state("offline")
		alice.until("it says when it tries again", `/^Trying again in \d+ s$/.test(document.querySelector("#retry-in").textContent)`)
		for i := range 5 {
			say(bob, "%s %d while she is away", t.Name(), i)
		}
		bob.reads(want...)
		say(alice, "%s first written away", t.Name())
		say(alice, "%s second written away", t.Name())
		alice.until("both wait", `document.querySelectorAll(".message[data-state=waiting]").length === 2`)
		alice.shot("desktop-offline")
	}
	back := func(t *testing.T) {
		t.Helper()
		alice.reads(want...)
		bob.reads(want...)
		alice.state("online")
		states := value[[]string](alice, "seen.states.splice(0)")
		if !inOrder(states, "offline", "connecting", "recovering", "online") {
			t.Errorf("the states were %q", states)
		}
		say(bob, "%s welcome back", t.Name())
		alice.reads(want...)
		say(alice, "%s thank you", t.Name())
		alice.reads(want...)
		bob.reads(want...)
		alice.names("#member-list", "alice", "bob")
	}
	value[[]string](alice, "seen.states.splice(0)")

	step(t, "cut", func(t *testing.T) {
		front.refuse()
		front.cut()
		away(t)
		front.up(s.URLs[0])
		back(t)
		if notices := bob.texts(".notice"); len(notices) != 0 {
			t.Errorf("the other saw %q, though the page came back within its lease", notices)
		}
	}, alice, bob)
	step(t, "cut and at once again", func(t *testing.T) {
		front.cut()
		for i := range 5 {
			say(bob, "%s %d at that moment", t.Name(), i)
		}
		back(t)
	}, alice, bob)
	step(t, "gateway stopped", func(t *testing.T) {
		front.refuse()
		stopped := s.StopGateway(0)
		away(t)
		<-stopped
		front.up(s.URLs[1])
		// Not a click of the mouse: it may be trying by itself at this moment.
		value[any](alice, `document.querySelector("#retry-now").click(), null`)
		back(t)
	}, alice, bob)
	step(t, "reload", func(t *testing.T) {
		newcomer := openPage(t, browser, "newcomer", front.url(), phone)
		newcomer.signIn("carol")
		newcomer.click("#toggle-rooms")
		newcomer.room("harbour")
		newcomer.reads(want...)
		newcomer.clean()
	}, alice, bob)
	alice.clean(nobodyThere)
	bob.clean()
}

// inOrder says whether these are in a list in this order, whatever lies between.
func inOrder(list []string, want ...string) bool {
	for _, w := range want {
		i := slices.Index(list, w)
		if i < 0 {
			return false
		}
		list = list[i+1:]
	}
	return true
}
