package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/web"
)

// clientPage is a page of somebody's own that uses the client of /parley.js. It
// counts what a hidden page must not do.
const clientPage = `<!doctype html><title>client</title><script type="module">
import { Parley, indexedDBStore } from "/parley.js";
const { server, token, name } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const w = Object.assign(window, { got: [], acks: 0, trouble: [], states: [], timers: 0, sends: 0 });
for (const set of ["setTimeout", "setInterval"]) {
  const original = window[set];
  window[set] = (...args) => (w.timers++, original(...args));
}
const { send } = WebSocket.prototype;
WebSocket.prototype.send = function (text) { w.sends++; return send.call(this, text); };
w.client = new Parley(server, { token, outbox: indexedDBStore(name) });
w.room = w.client.room("harbour");
w.client.on("state", (state) => w.states.push(state));
w.client.on("ended", (error) => w.trouble.push(String(error)));
for (const type of ["gap", "out"]) w.room.on(type, (event) => w.trouble.push(type + JSON.stringify(event)));
w.room.on("message", ({ content }) => w.got.push(content));
w.say = (content) => void w.room.send(content).then(() => w.acks++, (error) => w.trouble.push(String(error)));
w.kept = 0;
w.count = () => { indexedDB.open(name).onsuccess = ({ target: { result: db } }) => {
  db.transaction("outbox").objectStore("outbox").count().onsuccess = ({ target }) => { w.kept = target.result; db.close(); };
}; };
w.look = (hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  document.dispatchEvent(new Event("visibilitychange"));
};
await w.room.join();
</script>`

// readmePage is the page that the README of the client shows, for a server of
// the test's.
func readmePage(t *testing.T, server, token string) string {
	t.Helper()
	readme, err := os.ReadFile("../../pkg/sdk-ts/README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```html\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README shows no page")
	}
	return fmt.Sprintf("<!doctype html><body><script>sessionStorage.setItem('token', %q)</script>%s", token,
		strings.ReplaceAll(string(block[1]), "http://localhost:8080", server))
}

// TestBrowserClient uses the client in pages of another origin, in two
// browsers, while their server is killed and started again.
func TestBrowserClient(t *testing.T) {
	browser := startBrowser(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://" + listener.Addr().String()
	server := serve(t, "PARLEY_ALLOWED_ORIGINS="+origin, "PARLEY_RATE_LIMIT=0", "PARLEY_HEARTBEAT=500ms")
	server.WaitReady()
	readme := readmePage(t, server.url, stack.Token(t, server.url, "carol"))
	pages := http.NewServeMux()
	pages.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, clientPage) })
	pages.HandleFunc("/readme", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, readme) })
	pages.Handle("/parley.js", web.Handler())
	site := httptest.NewUnstartedServer(pages)
	site.Listener.Close()
	site.Listener = listener
	site.Start()
	t.Cleanup(site.Close)

	open := func(name string) *page {
		settings := url.Values{"server": {server.url}, "token": {stack.Token(t, server.url, name)}, "name": {name}}
		p := openPage(t, browser, name, origin+"/#"+settings.Encode(), desktop)
		p.until(name+" is online", `window.client?.state === "online"`)
		return p
	}
	alice, bob := open("alice"), open("bob")
	var want int
	// whole waits until both have the same of all that was said, each once.
	whole := func(t *testing.T, pages ...*page) {
		t.Helper()
		for _, p := range pages {
			p.until("all is there", fmt.Sprintf("got.length >= %d", want))
		}
		first := value[[]string](pages[0], "got")
		if sorted := slices.Sorted(slices.Values(first)); len(slices.Compact(sorted)) != want || len(first) != want {
			t.Errorf("%d messages, want %d, each once: %q", len(first), want, first)
		}
		for _, p := range pages[1:] {
			if other := value[[]string](p, "got"); !slices.Equal(first, other) {
				t.Errorf("%s has %q, %s %q", pages[0].name, first, p.name, other)
			}
		}
		for _, p := range pages {
			if trouble := value[[]string](p, "trouble"); len(trouble) > 0 {
				t.Errorf("%s: %q", p.name, trouble)
			}
			for _, sender := range []string{"alice", "bob"} {
				mine := slices.DeleteFunc(value[[]string](p, "got"), func(s string) bool { return !strings.HasPrefix(s, sender) })
				if !slices.IsSorted(mine) {
					t.Errorf("%s has those of %s in the order %q", p.name, sender, mine)
				}
			}
		}
	}

	// back waits until a page is back, and does not wait for its next attempt.
	back := func(p *page) {
		p.t.Helper()
		p.until("it is back", `(client.retryNow(), client.state === "online")`)
	}

	step(t, "killed", func(t *testing.T) {
		const each = 60
		for _, p := range []*page{alice, bob} {
			value[any](p, fmt.Sprintf(`(async () => { for (let n = 0; n < %d; n++) { say(%q + String(n).padStart(3, "0")); await new Promise((r) => setTimeout(r, 40)); } })(), null`, each, p.name+" "))
		}
		want += 2 * each
		for _, acks := range []int{10, 30} {
			alice.until("some are said", fmt.Sprintf("acks > %d", acks))
			server.Kill()
			alice.until("it is noticed", `client.state !== "online"`)
			server.Restart()
			server.WaitReady()
			back(alice)
			back(bob)
		}
		whole(t, alice, bob)
		if states := value[[]string](alice, "states"); !inOrder(states, "online", "offline", "connecting", "recovering", "online") {
			t.Errorf("the states were %q", states)
		}
	}, alice, bob)

	step(t, "reloaded with messages that wait", func(t *testing.T) {
		server.Kill()
		alice.until("it is noticed", `client.state !== "online"`)
		value[any](alice, `["alice w1", "alice w2", "alice w3"].forEach(say), null`)
		want += 3
		alice.until("they are kept", `(count(), kept === 3)`)
		alice.do("reloading", chromedp.Reload())
		alice.until("they are taken over", `window.room?.pending.length === 3`)
		server.Restart()
		server.WaitReady()
		back(alice)
		back(bob)
		whole(t, bob)
		alice.until("nothing is kept", `(count(), kept === 0) && room.pending.length === 0`)
	}, alice, bob)

	step(t, "hidden", func(t *testing.T) {
		value[any](bob, `look(true), timers = sends = 0, null`)
		value[any](alice, `say("alice x1"), null`)
		want++
		whole(t, bob)
		// Several heartbeats of the server, on the clock of a page that is seen.
		value[any](alice, `(async () => { await new Promise((r) => setTimeout(r, 1500)); window.waited = true; })(), null`)
		alice.until("some time has gone by", "window.waited")
		if timers, sends := value[int](bob, "timers"), value[int](bob, "sends"); timers != 0 || sends != 0 {
			t.Errorf("a hidden page has set %d timers and sent %d frames", timers, sends)
		}
		value[any](bob, `look(false), null`)
		bob.until("it asks when it is seen again", "sends > 0 && client.state === 'online'")
	}, alice, bob)

	step(t, "the page of the README", func(t *testing.T) {
		carol := openPage(t, browser, "carol", origin+"/readme", desktop)
		carol.until("the message is shown", `document.body.innerText.includes("carol: hello")`)
		carol.until("the state is shown", `document.title === "online"`)
	})
	step(t, "the operator's status page", func(t *testing.T) {
		operator := openPage(t, browser, "operator", server.Admin+"/", desktop)
		operator.until("the gateway does well", `document.querySelector("#state").dataset.state === "healthy"`)
		operator.until("the room is listed with its sessions", `[...document.querySelectorAll("#rooms tr")].some((e) => /^harbour[12]\d/.test(e.textContent))`)
		operator.until("the gateway is listed, as its own", `document.querySelector("#gateways tr.own td.number")?.textContent > "0"`)
		value[any](alice, `client.close(), null`)
		operator.until("a close is counted", `/1000 the client asked11/.test(document.querySelector("#closes").textContent)`)
		operator.until("there are rates", `document.querySelectorAll(".line[d*=L]").length >= 8`)
		operator.accessible("the status page")
		operator.shot("desktop-status")
		operator.clean()
		operator.resize(phone)
		operator.shot("phone-status")
		server.Kill()
		operator.until("it is said that the gateway is gone", `document.querySelector("#state").dataset.state === "lost"`)
	})
	for _, p := range []*page{alice, bob} {
		for _, violation := range value[[]string](p, "seen.violations") {
			t.Errorf("%s: %s", p.name, violation)
		}
	}
}
