package web

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

// get asks the handler for an address as it would arrive on the wire.
func get(t *testing.T, method, target string, header http.Header) *http.Response {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("parse %q: %v", target, err)
	}
	r := (&http.Request{Method: method, URL: u, RequestURI: target, Header: header, Host: "example.com"}).WithContext(t.Context())
	if r.Header == nil {
		r.Header = http.Header{}
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		target      string
		status      int
		contentType string
	}{
		{"/", 200, "text/html; charset=utf-8"},
		{"/?utm=1", 200, "text/html; charset=utf-8"},
		{"/assets/style.css", 200, "text/css; charset=utf-8"},
		{"/assets/icon.svg", 200, "image/svg+xml"},
		{"/assets/js/main.js", 200, "text/javascript; charset=utf-8"},
		{"/assets/js/ui/log.js", 200, "text/javascript; charset=utf-8"},
		{"/parley.js", 200, "text/javascript; charset=utf-8"},

		{"/assets/index.html", 404, ""}, // its one address is /
		{"/index.html", 404, ""},
		{"/assets", 404, ""},
		{"/assets/", 404, ""},
		{"/assets/js", 404, ""},
		{"/assets/js/", 404, ""},
		{"/favicon.ico", 404, ""},
		{"/web.go", 404, ""},
		{"//", 404, ""},
		{"//assets/style.css", 404, ""},
		{"/assets//style.css", 404, ""},
		{"/./", 404, ""},
		{"/../", 404, ""},
		{"/../web.go", 404, ""},
		{"/assets/../web.go", 404, ""},
		{"/assets/../assets/style.css", 404, ""},
		{"/%2e%2e/web.go", 404, ""},
		{"/assets/%2e%2e/web.go", 404, ""},
		{"/assets/%2e%2e%2fweb.go", 404, ""},
		{"/assets/..%5cweb.go", 404, ""},
		{"/assets/style.css/", 404, ""},
		{"/assets/style.css%00", 404, ""},
		{"/assets/STYLE.CSS", 404, ""},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(method+" "+c.target, func(t *testing.T) {
				r := get(t, method, c.target, nil)
				if r.StatusCode != c.status {
					t.Fatalf("status %d, want %d", r.StatusCode, c.status)
				}
				if c.contentType != "" && r.Header.Get("Content-Type") != c.contentType {
					t.Errorf("content type %q, want %q", r.Header.Get("Content-Type"), c.contentType)
				}
				if size := len(body(t, r)); method == http.MethodHead && c.status == 200 && size != 0 {
					t.Errorf("HEAD has a body of %d bytes", size)
				}
			})
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get"} {
		r := get(t, method, "/", nil)
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, r.StatusCode, r.Header.Get("Allow"))
		}
	}
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	for _, r := range []*http.Response{
		get(t, "GET", "/", nil),
		get(t, "HEAD", "/assets/js/main.js", nil),
		get(t, "GET", "/nothing", nil),
		get(t, "POST", "/", nil),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy":    contentSecurityPolicy,
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Cache-Control":              "no-cache",
		} {
			// http.Error takes Cache-Control back: a refusal is not cached anyway.
			if name == "Cache-Control" && r.StatusCode != http.StatusOK {
				continue
			}
			if got := r.Header.Get(name); got != want {
				t.Errorf("status %d: %s is %q, want %q", r.StatusCode, name, got, want)
			}
		}
		if r.Header.Get("Permissions-Policy") == "" {
			t.Errorf("status %d: no Permissions-Policy", r.StatusCode)
		}
		if r.Header.Get("Set-Cookie") != "" {
			t.Errorf("status %d sets a cookie", r.StatusCode)
		}
	}
}

func TestTheClientIsForPagesOfAllOrigins(t *testing.T) {
	for target, want := range map[string]string{"/parley.js": "*", "/assets/js/main.js": "", "/": ""} {
		r := get(t, "GET", target, nil)
		if got := r.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: Access-Control-Allow-Origin is %q, want %q", target, got, want)
		}
		if got := r.Header.Get("Cross-Origin-Resource-Policy"); (got == "cross-origin") != (want == "*") {
			t.Errorf("%s: Cross-Origin-Resource-Policy is %q", target, got)
		}
	}
}

func TestPolicyAllowsNothingInline(t *testing.T) {
	for _, directive := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(contentSecurityPolicy+";", directive+";") {
			t.Errorf("policy lacks %s", directive)
		}
	}
	for _, hole := range []string{"unsafe", "*", "http:", "https:", "blob:"} {
		if strings.Contains(contentSecurityPolicy, hole) {
			t.Errorf("policy has %s", hole)
		}
	}
}

func TestUnchangedFileIsNotSentAgain(t *testing.T) {
	first := get(t, "GET", "/assets/js/main.js", nil)
	tag := first.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) || len(tag) < 10 {
		t.Fatalf("ETag %q", tag)
	}
	if other := get(t, "GET", "/", nil).Header.Get("ETag"); other == tag {
		t.Errorf("two files share the ETag %s", tag)
	}
	for _, c := range []struct {
		match  string
		status int
	}{
		{tag, 304}, {"W/" + tag, 304}, {`"other", ` + tag, 304}, {"*", 304}, {`"other"`, 200},
	} {
		r := get(t, "GET", "/assets/js/main.js", http.Header{"If-None-Match": {c.match}})
		if r.StatusCode != c.status {
			t.Errorf("If-None-Match %s: status %d, want %d", c.match, r.StatusCode, c.status)
		}
		if b := body(t, r); c.status == 304 && b != "" {
			t.Errorf("If-None-Match %s: 304 with a body", c.match)
		}
	}
}

var (
	tags       = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)
	inlineAttr = regexp.MustCompile(`(?i)[\s"']+(style|on[a-z]+)\s*=`)
	reference  = regexp.MustCompile(`\b(?:src|href)="([^"]*)"`)
	ids        = regexp.MustCompile(`\bid="([^"]*)"`)
	labelled   = regexp.MustCompile(`\bfor="([^"]*)"`)
)

func TestPageHasNothingInline(t *testing.T) {
	html := body(t, get(t, "GET", "/", nil))
	for _, tag := range tags.FindAllString(html, -1) {
		low := strings.ToLower(tag)
		switch {
		case strings.HasPrefix(low, "<style"):
			t.Errorf("inline style: %s", tag)
		case strings.HasPrefix(low, "<script") && !strings.Contains(low, " src="):
			t.Errorf("inline script: %s", tag)
		case inlineAttr.MatchString(low):
			t.Errorf("inline style or listener: %s", tag)
		case strings.Contains(low, "javascript:"):
			t.Errorf("script address: %s", tag)
		}
	}
	if regexp.MustCompile(`(?s)<script[^>]*>\s*[^<\s]`).MatchString(html) {
		t.Error("a script element has content")
	}
	if regexp.MustCompile(`(?i)https?://`).MatchString(html) {
		t.Error("the page names another host")
	}
}

func TestPageIsWhole(t *testing.T) {
	html := body(t, get(t, "GET", "/", nil))
	for _, m := range reference.FindAllStringSubmatch(html, -1) {
		if strings.HasPrefix(m[1], "#") {
			continue
		}
		if r := get(t, "GET", "/"+m[1], nil); r.StatusCode != 200 {
			t.Errorf("%s: status %d", m[1], r.StatusCode)
		}
	}
	known := map[string]bool{}
	for _, m := range ids.FindAllStringSubmatch(html, -1) {
		if known[m[1]] {
			t.Errorf("id %s is there twice", m[1])
		}
		known[m[1]] = true
	}
	// What people's scripts and the browser tests hold on to.
	for _, id := range []string{"username", "password", "sign-in", "register", "room-name", "create-room", "message", "send",
		"status", "online-list", "member-list"} {
		if !known[id] {
			t.Errorf("no #%s", id)
		}
	}
	for _, m := range labelled.FindAllStringSubmatch(html, -1) {
		if !known[m[1]] {
			t.Errorf("a label is for #%s, which is not there", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`<(?:input|textarea|select)\b[^>]*>`).FindAllString(html, -1) {
		if strings.Contains(m, `type="checkbox"`) {
			continue // stands inside its label
		}
		if !strings.Contains(html, `for="`+ids.FindStringSubmatch(m)[1]+`"`) {
			t.Errorf("no label for %s", m)
		}
	}
}

// htmlSinks are the ways in which a script can turn a string into HTML or code.
var htmlSinks = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|\beval\(|new Function|\.cssText|setAttribute\("style"`)

var imports = regexp.MustCompile(`(?m)^(?:import|export)\b[^;]*?from "([^"]+)"`)

func TestScriptsMakeNoHTMLAndImportWhatIsThere(t *testing.T) {
	scripts := 0
	err := fs.WalkDir(files, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".js" {
			return err
		}
		scripts++
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if sink := htmlSinks.Find(source); sink != nil {
			t.Errorf("%s uses %s", name, sink)
		}
		for _, m := range imports.FindAllSubmatch(source, -1) {
			target := path.Join(path.Dir(name), string(m[1]))
			if _, err := fs.Stat(files, target); err != nil || !strings.HasPrefix(string(m[1]), ".") {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
		// byId throws at start where an id is missing.
		for _, m := range regexp.MustCompile(`byId\("([^"]+)"\)`).FindAllSubmatch(source, -1) {
			html, _ := fs.ReadFile(files, page)
			if !strings.Contains(string(html), `id="`+string(m[1])+`"`) {
				t.Errorf("%s asks for #%s, which the page lacks", name, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if scripts < 10 {
		t.Errorf("only %d scripts found", scripts)
	}
}
