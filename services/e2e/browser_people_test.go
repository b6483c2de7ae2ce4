package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// last waits until the last message is shown like this.
func (p *page) last(want string) {
	p.t.Helper()
	p.until("the last message is "+want, fmt.Sprintf(`[...([...document.querySelectorAll(".message")].at(-1)?.querySelectorAll(".quote, .text, .note") ?? [])].map((e) => e.textContent).join(" | ") === %q`, want))
}

// person opens the dialog about somebody.
func (p *page) person(list, name string) {
	p.t.Helper()
	p.until(name+" is listed", fmt.Sprintf(`[...document.querySelectorAll("%s .name")].some((e) => e.textContent === %q)`, list, name))
	value[any](p, fmt.Sprintf(`[...document.querySelectorAll("%s .person")].find((e) => e.querySelector(".name").textContent === %q).click(), null`, list, name))
	p.until("the dialog is about "+name, fmt.Sprintf(`document.querySelector("#person").open && document.querySelector("#person-name").textContent === %q`, name))
}

// noteMarks has window.marked hold the rooms of which the server has acknowledged
// from now on what was read.
func (p *page) noteMarks() {
	p.t.Helper()
	value[any](p, `(() => {
		const send = WebSocket.prototype.send;
		window.marked = new Set();
		WebSocket.prototype.send = function (text) {
			const { type, id, roomId } = JSON.parse(text);
			if (type === "mark-read") this.addEventListener("message", ({ data }) => { if (data.includes(id)) marked.add(roomId); });
			send.call(this, text);
		};
		return null;
	})()`)
}

// TestBrowserPeople is what users do with each other's messages, with each
// other, and with their other devices.
func TestBrowserPeople(t *testing.T) {
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{Gateways: 2})
	alice := openPage(t, browser, "alice", s.URLs[0], desktop)
	alice.accessible("signing in")
	alice.signIn("alice")
	alice.createRoom("harbour")
	bob := openPage(t, browser, "bob", s.URLs[1], desktop)
	bob.signIn("bob")
	bob.room("harbour")

	step(t, "by keyboard", func(t *testing.T) {
		alice.say("see https://parley.example/a?b=c.")
		bob.reads("see https://parley.example/a?b=c.")
		bob.until("an address is a link", `document.querySelector(".text a.external")?.href === "https://parley.example/a?b=c"`)
		// From the field back to the messages, and to the last one.
		bob.do("leaving the field", chromedp.Focus(chromedp.CSS("#log-scroll"), chromedp.NodeVisible))
		bob.press(kb.Enter, "r")
		bob.until("a reply is begun", `document.activeElement.id === "message" && /alice: see https/.test(document.querySelector("#composer-subject").textContent)`)
		bob.enter("#message", "I see\n")
		for _, p := range []*page{alice, bob} {
			p.last("↪ alice: see https://parley.example/a?b=c. | I see")
		}
		bob.press(kb.ArrowUp)
		bob.until("the last message is edited", `document.querySelector("#message").value === "I see"`)
		bob.enter("#message", "I see it\n")
		alice.last("↪ alice: see https://parley.example/a?b=c. | I see it | edited")
		alice.say("and gone")
		for _, p := range []*page{alice, bob} {
			p.last("and gone")
		}
		alice.do("leaving the field", chromedp.Focus(chromedp.CSS("#log-scroll"), chromedp.NodeVisible))
		alice.press(kb.Enter, kb.ArrowUp, kb.ArrowDown, kb.Delete)
		bob.last("This message was deleted.")
		alice.press(kb.Escape)
		alice.until("writing goes on", `document.activeElement.id === "message"`)
	}, alice, bob)

	step(t, "status and settings", func(t *testing.T) {
		bob.click("#open-settings")
		bob.choose("#my-status", "busy")
		bob.enter("#my-status-text", "on deck")
		bob.press(kb.Tab)
		alice.until("the status is told", `/busy, on deck/.test(document.querySelector("#member-list").textContent)`)
		bob.accessible("settings")
		bob.choose("#theme", "dark")
		bob.accessible("settings in dark colours")
		bob.shot("desktop-settings-dark")
		bob.click("#close-settings")
		bob.accessible("the chat in dark colours")
		bob.shot("desktop-chat-dark")
		alice.accessible("the chat")
	}, alice, bob)

	step(t, "moderation", func(t *testing.T) {
		alice.person("#member-list", "bob")
		alice.enter("#person-reason", "too loud")
		alice.accessible("a person")
		alice.shot("desktop-person")
		alice.click("#person-mute")
		alice.until("it is done", `!document.querySelector("#person").open`)
		bob.say("may I?")
		bob.until("it is said why not", `/Not sent: .*muted/.test(document.querySelector(".message.failed .note")?.textContent)`)
		alice.click("#open-room-settings")
		alice.until("who is muted is listed", `/bob.*muted, until .*too loud/.test(document.querySelector("#sanctions").textContent)`)
		alice.accessible("a room's settings")
		alice.shot("desktop-room-settings")
		alice.click("#sanctions button")
		alice.until("nobody is muted", `document.querySelectorAll("#sanctions li").length === 0`)
		alice.enter("#settings-topic", "Ships and tides")
		alice.click("#save-room")
		bob.until("the topic is told", `document.querySelector("#room-topic").textContent === "Ships and tides"`)
		bob.click(".message.failed button")
		alice.last("may I?")
		alice.person("#member-list", "bob")
		alice.enter("#person-reason", "overboard")
		alice.click("#person-kick")
		bob.until("it is said what has happened", `document.querySelector("#room-info").textContent === "You were removed: overboard"`)
		bob.click("#rejoin-room")
		bob.until("bob is back", `/member/.test(document.querySelector("#room-info").textContent)`)
	}, alice, bob)

	step(t, "direct messages and devices", func(t *testing.T) {
		alice.person("#online-list", "bob")
		alice.click("#person-direct")
		alice.until("the room is called after bob", `document.querySelector("#room-title").textContent === "bob"`)
		alice.say("between us")
		bob.until("it is shown and unread", `document.querySelector("#direct-rooms .name")?.textContent === "alice" && document.querySelector("#direct-rooms .badge")?.textContent === "1"`)
		bob.noteMarks()
		bob.click("#direct-rooms [data-room]")
		bob.reads("between us")
		bob.say("only us")
		alice.reads("between us", "only us")
		// The page tells it a second later, and other devices hear of it when they join.
		bob.until("what was read is stored", `window.marked?.has(document.querySelector("#direct-rooms [data-room]").dataset.room)`)

		pocket := openPage(t, browser, "bob's phone", s.URLs[0], phone)
		pocket.choose("#sign-in-language", "zh")
		pocket.until("the page speaks Chinese", `document.querySelector("#sign-in")?.textContent === "登录" && document.documentElement.lang === "zh"`)
		pocket.signIn("bob")
		pocket.click("#toggle-rooms")
		pocket.until("what was read on one device is read on the other", `document.querySelector("#direct-rooms .name")?.textContent === "alice" && !document.querySelector("#direct-rooms .badge")`)
		pocket.accessible("rooms on a phone")
		pocket.shot("phone-rooms-chinese")
		pocket.click("#direct-rooms [data-room]")
		pocket.say("from my pocket")
		bob.reads("between us", "only us", "from my pocket")
		pocket.accessible("the chat on a phone")
		pocket.shot("phone-direct-chinese")
		bob.click("#open-settings")
		bob.until("both devices are listed", `document.querySelectorAll("#devices li").length === 2`)
		bob.click("#devices button")
		pocket.until("the phone is signed out", `document.querySelector("#chat-view").hidden && /请重新登录/.test(document.querySelector("#sign-in-error").textContent)`)
		if wide := pocket.tooWide(); len(wide) != 0 {
			t.Errorf("wider than their places: %q", wide)
		}
		pocket.clean("status of 401")
	}, alice, bob)
	alice.clean()
	bob.clean()
}
