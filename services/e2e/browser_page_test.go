package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browserPatience is how long a page may take for what a test waits for. It is
// longer than the page's slowest habit, reading the lists anew every 20 s.
const browserPatience = 40 * time.Second

// step is a subtest with pages of the test around it, which fail it and not the other.
func step(t *testing.T, name string, f func(*testing.T), pages ...*page) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		for _, p := range pages {
			around := p.t
			p.t = t
			defer func() { p.t = around }()
		}
		f(t)
	})
}

// size is that of a page's viewport, in CSS pixels.
type size struct {
	width, height int64
	touch         bool
}

var (
	desktop = size{width: 1280, height: 800}
	phone   = size{width: 390, height: 844, touch: true}
)

// mostShift is how much may move in a page by itself within 5 s, as the Layout
// Instability API counts it: what web.dev calls good. On a slow machine also what
// comes of a click counts, for it comes late.
const mostShift = 0.1

// page is the demo application in a browser context of its own, which shares
// no cookies and no storage with others: one user's browser.
type page struct {
	t    *testing.T
	name string
	ctx  context.Context

	mu sync.Mutex
	// complaints are errors and warnings of the console and of the browser,
	// uncaught exceptions, and dialogs that opened.
	complaints []string
}

// guard runs in the page before its own scripts. It notes what a page that
// shows text as text never does, what moved without the user's doing, and the
// states of the connection.
const guard = `
window.seen = { violations: [], foreign: [], states: [], shifts: [] };
new PerformanceObserver((list) => {
  for (const { value, startTime, hadRecentInput, sources } of list.getEntries()) {
    if (!hadRecentInput) seen.shifts.push({ value, at: startTime, of: sources.map(({ node }) => node?.id || node?.className || node?.nodeName).join() });
  }
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (e) => seen.violations.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample));
const foreign = new Set(["IMG", "SVG", "IFRAME", "OBJECT", "EMBED", "STYLE", "A", "B", "TEMPLATE"]);
const look = (node) => {
  if (node.nodeType !== 1) return;
  const tag = node.tagName.toUpperCase();
  if (tag === "SVG" && node.parentElement?.closest("#charts")) return; // the status page's own
  const ours = tag === "A" && (node.className === "skip" || node.className === "own" && node.origin === location.origin ||
    node.className === "external" && /^https?:$/.test(node.protocol) && node.target === "_blank" && node.relList.contains("noopener"));
  if (foreign.has(tag) && !ours) seen.foreign.push(node.outerHTML);
  if (tag === "SCRIPT" && !document.head.contains(node)) seen.foreign.push(node.outerHTML);
  for (const { name } of node.attributes) if (name.startsWith("on") || name === "style" && node.id !== "message") seen.foreign.push(node.outerHTML);
  node.childNodes.forEach(look);
};
new MutationObserver((list) => {
  for (const { addedNodes, type, target } of list) {
    addedNodes.forEach(look);
    if (type === "attributes" && target.id === "status") seen.states.push(target.dataset.state);
  }
}).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-state"] });
`

// openPage opens the application at a gateway's address.
func openPage(t *testing.T, browser context.Context, name, url string, s size) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &page{t: t, name: name, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s: opening a tab: %v", name, err)
	}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatalf("%s: listening: %v", name, err)
	}
	if _, err := chromedp.Call(ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: guard}); err != nil {
		t.Fatalf("%s: adding the guard: %v", name, err)
	}
	// Several pages are in front at the same time, as on several machines.
	if _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatalf("%s: focus: %v", name, err)
	}
	p.resize(s)
	p.do("opening "+url, chromedp.Navigate(url))
	return p
}

func (p *page) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			args, _ := json.Marshal(e.Args)
			complaint = fmt.Sprintf("console.%s %s", e.Type, args)
		}
	case *runtime.EventExceptionThrown:
		d := e.ExceptionDetails
		complaint = "uncaught " + d.Text
		if d.Exception != nil {
			complaint += " " + d.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = fmt.Sprintf("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *cdppage.EventJavascriptDialogOpening:
		complaint = "dialog: " + e.Message
	}
	if complaint != "" {
		p.mu.Lock()
		p.complaints = append(p.complaints, complaint)
		p.mu.Unlock()
	}
}

// do runs steps that must succeed in time.
func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.fatal("%s: %v", what, err)
	}
}

func (p *page) resize(s size) {
	p.t.Helper()
	var options []chromedp.EmulateViewportOption
	if s.touch {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2), chromedp.EmulatePortrait)
	}
	p.do("resizing", chromedp.EmulateViewport(s.width, s.height, options...))
}

// click clicks in the middle of an element, as a mouse would: what lies over it gets the click.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do("clicking "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// enter puts text into a field, over what is in it, as an input method does: key
// by key, some characters cannot be typed. A newline at the end is the Enter key.
func (p *page) enter(selector, text string) {
	p.t.Helper()
	field := chromedp.CSS(selector)
	text, submit := strings.CutSuffix(text, "\n")
	steps := []chromedp.Action[chromedp.Void]{
		chromedp.Focus(field, chromedp.NodeVisible),
		chromedp.Evaluate[chromedp.Void]("document.activeElement.select()"),
	}
	if text == "" {
		steps = append(steps, chromedp.KeyEvent(kb.Backspace))
	} else {
		steps = append(steps, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			_, err := cdp.Call(ctx, tab, input.InsertText, input.InsertTextParams{Text: text})
			return err
		}))
	}
	if submit {
		// Without the character that kb.Enter sends apart from the key: a page that
		// takes the key would get a new line all the same, as from no keyboard.
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
			steps = append(steps, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
				_, err := cdp.Call(ctx, tab, input.DispatchKeyEvent, input.DispatchKeyEventParams{
					Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13,
				})
				return err
			}))
		}
	}
	p.do("typing into "+selector, steps...)
}

// press presses keys, one after the other, where the focus is.
func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do("pressing "+key, chromedp.KeyEvent(key))
	}
}

// choose takes an option of a select element, as a user does.
func (p *page) choose(selector, option string) {
	p.t.Helper()
	value[any](p, fmt.Sprintf(`(() => { const select = document.querySelector(%q); select.value = %q; select.dispatchEvent(new Event("change", { bubbles: true })); })(), null`, selector, option))
}

// accessible lets axe-core judge the page as it is now: nothing that it calls
// serious or critical may be left.
func (p *page) accessible(what string) {
	p.t.Helper()
	if !value[bool](p, "Boolean(window.axe)") {
		source, err := os.ReadFile("../web/node_modules/axe-core/axe.min.js")
		if err != nil {
			p.t.Fatalf("no axe-core: run scripts/install-axe, or set PARLEY_NO_BROWSER=1 to leave the browser tests out: %v", err)
		}
		value[any](p, string(source)+"; null")
	}
	value[any](p, `window.judged = undefined, axe.run(document, { resultTypes: ["violations"] }).then(
		({ violations, passes }) => { window.judged = { violations, passes: passes.length }; },
		(error) => { window.judged = { violations: [{ impact: "critical", id: String(error), nodes: [] }], passes: 1 }; }), null`)
	p.until("axe has judged", "window.judged")
	if value[int](p, "judged.passes") == 0 {
		p.t.Errorf("%s: axe has looked at nothing of %s", p.name, what)
	}
	for _, finding := range value[[]string](p, `judged.violations.filter(({ impact }) => impact === "serious" || impact === "critical")
		.map(({ id, help, nodes }) => id + " (" + help + "): " + nodes.map(({ html, failureSummary }) => html + " " + failureSummary).join("; "))`) {
		p.t.Errorf("%s: %s: %s", p.name, what, finding)
	}
}

// value evaluates an expression in the page.
func value[T any](p *page, expression string) T {
	p.t.Helper()
	v, err := evaluate[T](p, expression)
	if err != nil {
		p.fatal("%s: %v", expression, err)
	}
	return v
}

func evaluate[T any](p *page, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// until waits for an expression to become true, on whichever page is there then:
// while one takes another's place, nothing is.
func (p *page) until(what, expression string) {
	p.t.Helper()
	deadline := time.Now().Add(browserPatience)
	for {
		ok, err := evaluate[bool](p, "Boolean("+expression+")")
		if ok {
			return
		}
		if err != nil && !strings.Contains(err.Error(), "Inspected target navigated") {
			p.fatal("%s: %v", expression, err)
		}
		if time.Now().After(deadline) {
			p.fatal("waiting until %s: never was (%s)", what, expression)
		}
		time.Sleep(10 * time.Millisecond) // between two looks; the condition ends the wait
	}
}

// state waits for a state of the connection.
func (p *page) state(want string) {
	p.t.Helper()
	p.until("the state is "+want, fmt.Sprintf(`document.querySelector("#status").dataset.state === %q`, want))
}

// signIn signs in, which registers a new user.
func (p *page) signIn(username string) {
	p.t.Helper()
	p.enter("#username", username)
	p.enter("#password", "correct horse")
	p.click("#sign-in")
	p.state("online")
}

// room opens a room of the list.
func (p *page) room(id string) {
	p.t.Helper()
	selector := fmt.Sprintf("[data-room=%q]", id)
	p.click(selector)
	p.until(id+" is shown", fmt.Sprintf(`document.querySelector(%q)?.getAttribute("aria-current") === "true"`, selector))
	p.until(id+" is joined", `/member/.test(document.querySelector("#room-info").textContent)`)
}

// createRoom makes a room or joins it, and shows it.
func (p *page) createRoom(name string) {
	p.t.Helper()
	p.enter("#room-name", name)
	p.click("#create-room")
	p.until("the room "+name+" is shown", fmt.Sprintf(`document.querySelector("#room-title").textContent === %q && /member/.test(document.querySelector("#room-info").textContent)`, name))
}

// say writes a message and sends it with the Enter key.
func (p *page) say(text string) {
	p.t.Helper()
	p.enter("#message", text+"\n")
	if left := value[string](p, `document.querySelector("#message").value`); left != "" {
		p.fatal("after sending %q the field holds %q", text, left)
	}
}

// shown are the texts of the messages that the log has given a seq, in the order shown.
func (p *page) shown() []string {
	p.t.Helper()
	return value[[]string](p, `[...document.querySelectorAll(".message[data-seq] .text")].map((e) => e.textContent)`)
}

// reads waits until exactly these messages are shown, in this order.
func (p *page) reads(want ...string) {
	p.t.Helper()
	deadline := time.Now().Add(browserPatience)
	for {
		got := p.shown()
		if slices.Equal(got, want) && value[int](p, `document.querySelectorAll(".message[data-state]").length`) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.fatal("shows %q, want %q", got, want)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// texts are the texts of all elements that match.
func (p *page) texts(selector string) []string {
	p.t.Helper()
	return value[[]string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].map((e) => e.textContent)`, selector))
}

// names waits until a list of people has exactly these names.
func (p *page) names(list string, want ...string) {
	p.t.Helper()
	slices.Sort(want)
	deadline := time.Now().Add(browserPatience)
	for {
		got := p.texts(list + " li[data-user] .name")
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			p.fatal("%s has %q, want %q", list, got, want)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// clean checks that nothing was complained of but what is expected, by a part
// of its text, that nothing came to be an element that is text, and that nothing
// was moved under the reader's eyes.
func (p *page) clean(expected ...string) {
	p.t.Helper()
	p.harmless(expected...)
	type shift struct {
		Value, At float64
		Of        string
	}
	shifts := value[[]shift](p, "seen.shifts.map(({ value, at, of }) => ({ Value: value, At: at, Of: of }))")
	for i, first := range shifts {
		sum := 0.0
		for _, s := range shifts[i:] {
			if s.At-first.At <= 5000 {
				sum += s.Value
			}
		}
		if sum > mostShift {
			p.t.Errorf("%s: within 5 s the layout has shifted by %v: %v", p.name, sum, shifts)
			break
		}
	}
}

// harmless checks that nothing has complained, and that nothing is on the page
// that is none of ours.
func (p *page) harmless(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	complaints := slices.Clone(p.complaints)
	p.mu.Unlock()
	for _, complaint := range complaints {
		if !slices.ContainsFunc(expected, func(part string) bool { return strings.Contains(complaint, part) }) {
			p.t.Errorf("%s: %s", p.name, complaint)
		}
	}
	for _, violation := range value[[]string](p, "seen.violations") {
		p.t.Errorf("%s: against the Content-Security-Policy: %s", p.name, violation)
	}
	for _, element := range value[[]string](p, "seen.foreign") {
		p.t.Errorf("%s: an element that is none of ours: %s", p.name, element)
	}
}

// shot writes a picture of what is in sight to TEST_ARTIFACTS, if that is set.
func (p *page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("TEST_ARTIFACTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = cmp.Or(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
	}
	if err != nil {
		p.t.Errorf("%s: a picture: %v", p.name, err)
	}
}

// fatal ends the test and tells what the page shows.
func (p *page) fatal(format string, args ...any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText + "\nstates: " + seen.states`))
	if err != nil {
		text = err.Error()
	}
	p.shot("failed-" + p.name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("%s: %s\ncomplaints: %q\nthe page:\n%s", p.name, fmt.Sprintf(format, args...), p.complaints, text)
}
