package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

func TestBrowserChat(t *testing.T) {
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{Gateways: 2})
	alice := openPage(t, browser, "alice", s.URLs[0], desktop)
	alice.shot("desktop-sign-in")
	alice.signIn("alice")
	alice.createRoom("Tea & cake")
	bob := openPage(t, browser, "bob", s.URLs[1], desktop)
	bob.signIn("bob")
	bob.until("the room is listed by its name", `document.querySelector("#other-rooms [data-room='Tea--cake'] .name")?.textContent === "Tea & cake"`)
	bob.room("Tea--cake")
	alice.names("#member-list", "alice", "bob")
	bob.names("#member-list", "alice", "bob")
	bob.names("#online-list", "alice", "bob")
	alice.names("#online-list", "alice", "bob")
	alice.until("the other's coming is told", `[...document.querySelectorAll(".notice")].some((e) => e.textContent === "bob joined")`)

	var want []string
	for i := range 4 {
		for _, p := range []*page{alice, bob} {
			text := fmt.Sprintf("%d from %s", i, p.name)
			p.say(text)
			want = append(want, text)
			alice.reads(want...)
			bob.reads(want...)
		}
	}
	for i := range 5 { // not waiting for each other
		want = append(want, fmt.Sprintf("quick %d", i))
		bob.say(want[len(want)-1])
	}
	bob.say("日本語 👩‍👩‍👧 مرحبا")
	want = append(want, "日本語 👩‍👩‍👧 مرحبا")
	alice.reads(want...)
	bob.reads(want...)

	bob.enter("#message", "I was going to")
	alice.until("who types is shown", `document.querySelector("#typing").textContent === "bob is typing…"`)
	alice.shot("desktop-chat")
	bob.enter("#message", "")

	alice.room2lobby()
	for i := range 3 {
		bob.say(fmt.Sprintf("unread %d", i))
		want = append(want, fmt.Sprintf("unread %d", i))
	}
	alice.until("three are unread", `document.querySelector("[data-room='Tea--cake'] .badge")?.firstChild.textContent === "3" && document.title === "(3) Parley"`)
	alice.room("Tea--cake")
	alice.until("nothing is unread", `!document.querySelector("[data-room='Tea--cake'] .badge") && document.title === "Parley"`)
	alice.reads(want...)

	bob.say("the lobby next")
	want = append(want, "the lobby next")
	bob.room2lobby()
	alice.room2lobby()
	bob.say("hello lobby")
	alice.say("hello bob")
	bob.reads("hello lobby", "hello bob")
	alice.reads("hello lobby", "hello bob")

	step(t, "leave", func(t *testing.T) {
		alice.room("Tea--cake")
		alice.click("#leave-room")
		bob.room("Tea--cake")
		bob.names("#member-list", "bob")
		alice.until("the lobby is shown", `document.querySelector("#room-title").textContent === "Lobby"`)
		alice.room("Tea--cake")
		bob.names("#member-list", "alice", "bob")
		alice.names("#member-list", "alice", "bob")
		alice.reads(want...)
	}, alice, bob)
	step(t, "reload", func(t *testing.T) {
		alice.do("reloading", chromedp.Reload())
		alice.state("online")
		alice.until("who is signed in is known", `document.querySelector("#me").textContent === "alice" && document.querySelector("#sign-in-view").hidden`)
		alice.reads("hello lobby", "hello bob") // the lobby is what a page shows first
		alice.room("Tea--cake")
		alice.reads(want...)
		alice.names("#member-list", "alice", "bob")
	}, alice, bob)
	step(t, "sign out", func(t *testing.T) {
		bob.click("#sign-out")
		bob.until("the sign-in is shown", `!document.querySelector("#sign-in-view").hidden && document.querySelector("#chat-view").hidden`)
		alice.names("#member-list", "alice")
		alice.names("#online-list", "alice")
		bob.enter("#username", "bob")
		bob.enter("#password", "not his")
		bob.click("#sign-in")
		bob.until("a wrong password is refused", `document.querySelector("#sign-in-error").textContent !== ""`)
		bob.shot("desktop-refused")
	}, alice, bob)
	alice.clean()
	// A browser notes every answer above 399 by itself.
	bob.clean("status of 401")
}

// room2lobby shows the lobby.
func (p *page) room2lobby() {
	p.t.Helper()
	p.click(`[data-room="lobby"]`)
	p.until("the lobby is shown", `document.querySelector("#room-title").textContent === "Lobby"`)
}

// tooWide names what has to be scrolled sideways.
func (p *page) tooWide() []string {
	p.t.Helper()
	return value[[]string](p, `[document.documentElement, ...document.querySelectorAll(".panel, .log-scroll, .bar, .room-head")]
		.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.id || e.className || e.tagName)`)
}

// TestBrowserScrollBack reads a room of more messages than a page loads at once.
func TestBrowserScrollBack(t *testing.T) {
	const messages = 230
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{})
	writer := client.Dial(t, s.URLs[0], client.Options{})
	writer.SignIn(s.Token(t, "writer"))
	writer.Join("long")
	var want []string
	for i := range messages {
		text := fmt.Sprintf("message %d%s", i, strings.Repeat("\nline", i%3))
		writer.Say("long", text)
		want = append(want, text)
	}
	p := openPage(t, browser, "reader", s.URLs[0], desktop)
	p.signIn("reader")
	p.room("long")
	p.reads(want[messages-50:]...)
	p.until("the end is in sight", `(({scrollTop, scrollHeight, clientHeight}) => scrollHeight - scrollTop - clientHeight < 4)(document.querySelector("#log-scroll"))`)

	for before := 50; before < messages; before = len(p.shown()) {
		// Scrolls up as far as needed for more to come, and notes what is at the top then.
		anchor := value[struct {
			Seq string
			Top float64
		}](p, `(() => {
			const scroller = document.querySelector("#log-scroll");
			scroller.scrollTop = 150;
			const edge = scroller.getBoundingClientRect().top;
			const first = [...document.querySelectorAll(".message[data-seq]")].find((e) => e.getBoundingClientRect().bottom > edge);
			return { Seq: first.dataset.seq, Top: first.querySelector(".text").getBoundingClientRect().top };
		})()`)
		p.until("older messages have come", fmt.Sprintf(`document.querySelectorAll(".message[data-seq]").length > %d && document.querySelector("#load-older").textContent !== "Loading…"`, before))
		top := value[float64](p, fmt.Sprintf(`document.querySelector(".message[data-seq='%s'] .text").getBoundingClientRect().top`, anchor.Seq))
		if moved := top - anchor.Top; moved < -2 || moved > 2 {
			p.fatal("with %d messages, the reader's place moved by %v px when older ones came", before, moved)
		}
	}
	p.reads(want...)
	p.until("there is nothing older", `document.querySelector("#load-older").hidden`)

	// A new message does not take a reader away, and a click leads to it.
	place := value[float64](p, `document.querySelector("#log-scroll").scrollTop`)
	writer.Say("long", "the newest")
	p.until("a new message is announced", `!document.querySelector("#to-newest").hidden`)
	if now := value[float64](p, `document.querySelector("#log-scroll").scrollTop`); now != place {
		t.Errorf("the reader was moved from %v to %v", place, now)
	}
	p.shot("desktop-scrolled-back")
	p.click("#to-newest")
	p.until("the newest is in sight", `(() => {
		const box = [...document.querySelectorAll(".message[data-seq]")].at(-1).getBoundingClientRect();
		const { bottom } = document.querySelector("#log-scroll").getBoundingClientRect();
		return box.bottom <= bottom + 1 && document.querySelector("#to-newest").hidden;
	})()`)
	p.clean()
}

// TestBrowserShowsTextAsText puts markup wherever a user can put text.
func TestBrowserShowsTextAsText(t *testing.T) {
	const (
		username = `<img src=x onerror=hacked=1>`
		roomName = `<svg onload=hacked=1></svg>`
		roomID   = `svg-onloadhacked1svg`
	)
	texts := []string{
		`<script>window.hacked = 1; alert(1)</script>`,
		`<img src=x onerror="window.hacked = 1">`,
		`<a href="javascript:alert(1)">here</a> &amp; <b>bold</b>`,
		`"><iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>`,
		`</li></ol><style>* { display: none }</style>`,
		`${window.hacked = 1} {{constructor.constructor("hacked = 1")()}}`,
	}
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{Gateways: 2})
	mallory := openPage(t, browser, "mallory", s.URLs[0], desktop)
	mallory.signIn(username)
	mallory.createRoom(roomName)
	alice := openPage(t, browser, "alice", s.URLs[1], desktop)
	alice.signIn("alice")
	alice.until("the room's name is text", fmt.Sprintf(`document.querySelector("#other-rooms [data-room=%s] .name")?.textContent === %q`, roomID, roomName))
	alice.room(roomID)
	for _, text := range texts {
		mallory.say(text)
	}
	mallory.reads(texts...)
	alice.reads(texts...)
	alice.names("#member-list", "alice", username)
	alice.names("#online-list", "alice", username)
	mallory.enter("#message", "typing")
	alice.until("who types is text", fmt.Sprintf(`document.querySelector("#typing").textContent === %q`, username+" is typing…"))
	if authors := alice.texts(".author"); !slices.Contains(authors, username) {
		t.Errorf("authors %q", authors)
	}
	alice.shot("desktop-markup")
	if wide := alice.tooWide(); len(wide) != 0 {
		t.Errorf("wider than their places: %q", wide)
	}
	mallory.click("#leave-room")
	alice.until("who left is text", fmt.Sprintf(`[...document.querySelectorAll(".notice")].some((e) => e.textContent === %q)`, username+" left"))
	for _, p := range []*page{alice, mallory} {
		if value[bool](p, `"hacked" in window`) {
			t.Errorf("%s: a text was executed", p.name)
		}
		p.clean()
	}
	// That the guard sees what it guards against.
	value[any](alice, `document.body.append(document.createElement("iframe")), null`)
	alice.until("the guard sees an element that is none of ours", `seen.foreign.length === 1`)
	value[any](alice, `(() => { try { document.createElement("p").innerHTML = "<i>" } catch {} })(), null`)
	alice.until("the policy forbids making elements from text", `seen.violations.length === 1`)
}

// TestBrowserOnAPhone uses the page on a narrow touch screen.
func TestBrowserOnAPhone(t *testing.T) {
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{})
	writer := client.Dial(t, s.URLs[0], client.Options{})
	writer.SignIn(s.Token(t, "writer"))
	writer.Join("garden")
	for i := range 20 {
		writer.Say("garden", fmt.Sprintf("%d. %s", i, strings.Repeat("The beans are up and the slugs know it. ", i%4)))
	}
	p := openPage(t, browser, "phone", s.URLs[0], phone)
	p.shot("phone-sign-in")
	p.signIn("pat")
	p.click("#toggle-rooms")
	p.until("the rooms are shown", `document.querySelector("#rooms-panel").checkVisibility()`)
	p.shot("phone-rooms")
	p.room("garden")
	p.until("the rooms are out of the way", `!document.querySelector("#rooms-panel").checkVisibility()`)
	p.say("from a phone")
	p.until("it is shown", `[...document.querySelectorAll(".message[data-seq] .text")].at(-1)?.textContent === "from a phone"`)
	p.shot("phone-chat")
	p.click("#toggle-people")
	p.names("#member-list", "pat", "writer")
	p.shot("phone-people")
	if wide := p.tooWide(); len(wide) != 0 {
		t.Errorf("wider than their places: %q", wide)
	}
	p.clean()
}
