package e2e

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// What each kind of answer is to carry, to the letter.
var (
	pageHeaders = map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
		"Access-Control-Allow-Origin":  "",
	}
	clientHeaders = with(pageHeaders, "Cross-Origin-Resource-Policy", "cross-origin", "Access-Control-Allow-Origin", "*")
	dataHeaders   = map[string]string{
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Access-Control-Allow-Origin":  "",
	}
	apiHeaders     = with(dataHeaders, "Cache-Control", "no-store", "Content-Type", "application/json", "Vary", "Origin")
	allowedHeaders = with(apiHeaders, "Access-Control-Allow-Origin", "https://chat.example.com")
)

// with gives headers of which some are others.
func with(headers map[string]string, pairs ...string) map[string]string {
	changed := maps.Clone(headers)
	for pair := range slices.Chunk(pairs, 2) {
		changed[pair[0]] = pair[1]
	}
	return changed
}

// TestProcessHeaders asks both ports of a program for everything that they
// answer, and holds the headers against the above: pages, their files, the API,
// what is not there, what is refused, and the operator's pages. None sets a
// cookie.
func TestProcessHeaders(t *testing.T) {
	p := serve(t, "PARLEY_ALLOWED_ORIGINS=https://chat.example.com,*.example.org", "PARLEY_PPROF=on")
	p.WaitReady()
	token := stack.Token(t, p.url, "alice")
	evil, fromAllowed := http.Header{"Origin": {"https://evil.example"}}, http.Header{"Origin": {"https://chat.example.com"}}
	asJSON := with(dataHeaders, "Content-Type", "application/json", "Cache-Control", "no-store")
	admin := with(dataHeaders, "Cache-Control", "no-store")
	etag := etagOf(t, p.url+"/")
	for _, row := range []struct {
		method, path string
		header       http.Header
		body         string
		status       int
		want         map[string]string
	}{
		{"GET", "/", nil, "", 200, with(pageHeaders, "Content-Type", "text/html; charset=utf-8", "Cache-Control", "no-cache")},
		{"HEAD", "/", nil, "", 200, pageHeaders},
		{"GET", "/", http.Header{"If-None-Match": {etag}}, "", 304, pageHeaders},
		{"GET", "/", http.Header{"Range": {"bytes=0-3"}}, "", 206, pageHeaders},
		{"GET", "/", evil, "", 200, pageHeaders},
		{"POST", "/", nil, "", 405, pageHeaders},
		{"GET", "/assets/js/main.js", nil, "", 200, with(pageHeaders, "Content-Type", "text/javascript; charset=utf-8")},
		{"GET", "/assets/style.css", nil, "", 200, with(pageHeaders, "Content-Type", "text/css; charset=utf-8")},
		{"GET", "/assets/icon.svg", nil, "", 200, with(pageHeaders, "Content-Type", "image/svg+xml")},
		{"GET", "/parley.js", evil, "", 200, clientHeaders},
		{"GET", "/nothing", nil, "", 404, with(pageHeaders, "Content-Type", "text/plain; charset=utf-8")},
		{"GET", "/<script>alert(1)</script>", nil, "", 404, pageHeaders},
		{"GET", "/.well-known/jwks.json", nil, "", 200, with(dataHeaders, "Content-Type", "application/jwk-set+json")},

		{"POST", "/api/auth", nil, `{"username":"alice","password":"correct horse"}`, 200, apiHeaders},
		{"POST", "/api/auth", nil, `{"username":"alice","password":"x"}`, 401, apiHeaders},
		{"POST", "/api/auth", nil, "<script>", 400, apiHeaders},
		{"POST", "/api/auth", nil, strings.Repeat(" ", 17<<10), 413, apiHeaders},
		{"GET", "/api/auth", nil, "", 405, apiHeaders},
		{"GET", "/api/<img src=x onerror=alert(1)>", nil, "", 404, apiHeaders},
		{"POST", "/api/auth", evil, "{}", 403, apiHeaders},
		{"POST", "/api/auth", fromAllowed, "{}", 400, allowedHeaders},
		{"OPTIONS", "/api/auth", fromAllowed, "", 204, with(allowedHeaders, "Content-Type", "", "Access-Control-Allow-Methods", "GET, POST",
			"Access-Control-Allow-Headers", "Content-Type, Authorization", "Access-Control-Allow-Credentials", "")},
		{"OPTIONS", "/api/auth", evil, "", 405, apiHeaders},
		{"GET", "/api/sessions", nil, "", 401, apiHeaders},
		{"GET", "/api/sessions", bearer(token), "", 200, apiHeaders},

		{"GET", "/ws", nil, "", 426, dataHeaders},
		{"GET", "/ws?token=x", nil, "", 400, dataHeaders},
		{"GET", "/ws", http.Header{"Origin": {"https://evil.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}, "", 403, dataHeaders},

		{"GET", "admin:/", nil, "", 200, with(pageHeaders, "Content-Type", "text/html; charset=utf-8")},
		{"GET", "admin:/status.js", nil, "", 200, pageHeaders},
		{"GET", "admin:/status.css", nil, "", 200, pageHeaders},
		{"GET", "admin:/status.json", nil, "", 200, with(pageHeaders, "Content-Type", "application/json", "Cache-Control", "no-store")},
		{"GET", "admin:/nothing", nil, "", 404, pageHeaders},
		{"POST", "admin:/", nil, "", 405, pageHeaders},
		{"GET", "admin:/livez", nil, "", 200, admin},
		{"GET", "admin:/readyz", nil, "", 200, asJSON},
		{"GET", "admin:/health", nil, "", 200, asJSON},
		{"GET", "admin:/metrics", nil, "", 200, admin},
		{"POST", "admin:/metrics", nil, "", 405, pageHeaders},
		{"GET", "admin:/debug/pprof/", nil, "", 200, admin},
		{"GET", "admin:/debug/pprof/<script>", nil, "", 404, admin},
	} {
		base, path := p.url, row.path
		if rest, ok := strings.CutPrefix(path, "admin:"); ok {
			base, path = p.Admin, rest
		}
		answer := sent(t, row.method, base+strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20").Replace(path), row.header, row.body)
		if answer.StatusCode != row.status {
			t.Errorf("%s %s %v: %s, want %d", row.method, row.path, row.header, answer.Status, row.status)
		}
		for name, want := range row.want {
			if got := strings.Join(answer.Header.Values(name), " | "); got != want {
				t.Errorf("%s %s %v: %d with %s: %q, want %q", row.method, row.path, row.header, row.status, name, got, want)
			}
		}
		for _, name := range []string{"Set-Cookie", "Server", "X-Powered-By", "Access-Control-Allow-Credentials"} {
			if got := answer.Header.Get(name); got != "" {
				t.Errorf("%s %s: %s: %q", row.method, row.path, name, got)
			}
		}
	}
	t.Run("origins", func(t *testing.T) { testAPIOrigins(t, p.url, token) })
}

// testAPIOrigins asks the API as pages of all kinds of origins would, and as
// what is none. A foreign page's request does nothing, whatever it is dressed
// up as; and nothing that a browser sends by itself, as a cookie, signs in.
func testAPIOrigins(t *testing.T, base, token string) {
	host := strings.TrimPrefix(base, "http://")
	for _, row := range []struct {
		what    string
		header  http.Header
		allowed bool
	}{
		{"not a browser", nil, true},
		{"its own page", http.Header{"Origin": {base}, "Sec-Fetch-Site": {"same-origin"}}, true},
		{"its own page in an old browser", http.Header{"Origin": {base}}, true},
		{"an allowed page", http.Header{"Origin": {"https://chat.example.com"}, "Sec-Fetch-Site": {"cross-site"}}, true},
		{"an allowed page over http", http.Header{"Origin": {"http://chat.example.com"}, "Sec-Fetch-Site": {"cross-site"}}, false},
		{"a page of a pattern, which is for the socket", http.Header{"Origin": {"https://a.example.org"}, "Sec-Fetch-Site": {"cross-site"}}, false},
		{"a foreign page", http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, false},
		{"a foreign page in an old browser", http.Header{"Origin": {"https://evil.example"}}, false},
		{"a foreign page that hides its origin", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"a neighbour", http.Header{"Origin": {"https://a.example"}, "Sec-Fetch-Site": {"same-site"}}, false},
		{"a sandboxed frame or a data: page", http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}, false},
		{"null in an old browser", http.Header{"Origin": {"null"}}, false},
		{"a file", http.Header{"Origin": {"file://"}}, false},
		{"another port", http.Header{"Origin": {"http://127.0.0.1:1"}}, false},
		{"the allowed name as a label", http.Header{"Origin": {"https://chat.example.com.evil.example"}}, false},
		{"the own name as a user", http.Header{"Origin": {"http://" + host + "@evil.example"}}, false},
		{"the own name as a path", http.Header{"Origin": {"https://evil.example/" + host}}, false},
		{"two origins in one", http.Header{"Origin": {base + " https://evil.example"}}, false},
		{"a forwarded host", http.Header{"Origin": {"https://evil.example"}, "X-Forwarded-Host": {"evil.example"}, "Forwarded": {"host=evil.example"}}, false},
		{"a form", http.Header{"Origin": {"https://evil.example"}, "Content-Type": {"application/x-www-form-urlencoded"}}, false},
		{"a form of text", http.Header{"Origin": {"https://evil.example"}, "Content-Type": {"text/plain"}}, false},
		{"a form with files", http.Header{"Origin": {"https://evil.example"}, "Content-Type": {"multipart/form-data; boundary=x"}}, false},
		{"no content type", http.Header{"Origin": {"https://evil.example"}, "Content-Type": {""}}, false},
		{"another method in a header", http.Header{"Origin": {"https://evil.example"}, "X-Http-Method-Override": {"GET"}, "X-Requested-With": {"XMLHttpRequest"}}, false},
	} {
		for _, path := range []string{"/api/auth", "/api/register", "/api/refresh", "/api/logout", "/api/password"} {
			answer := sent(t, http.MethodPost, base+path, row.header, "{}")
			if refused := answer.StatusCode == http.StatusForbidden; refused == row.allowed {
				t.Errorf("%s at %s: %s", row.what, path, answer.Status)
			}
			if got, want := answer.Header.Get("Access-Control-Allow-Origin"), row.header.Get("Origin"); got != "" && (!row.allowed || got != want) {
				t.Errorf("%s at %s may read the answer: %s", row.what, path, got)
			}
		}
	}
	cookies := http.Header{"Cookie": {"token=" + token + "; access_token=" + token + "; Authorization=Bearer " + token}}
	if answer := sent(t, http.MethodGet, base+"/api/sessions", cookies, ""); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a cookie signs in: %s", answer.Status)
	}
	c := client.Dial(t, base, client.Options{Header: cookies})
	c.Want("welcome")
	c.AskError(accessRequests["get-rooms"]("", 0), "unauthenticated")
}

// sent sends a request and gives what came back, whose body is read.
func sent(t *testing.T, method, url string, header http.Header, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	if _, given := header["Content-Type"]; !given && body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer
}

// etagOf is by what a page need not be sent again.
func etagOf(t *testing.T, url string) string {
	t.Helper()
	etag := sent(t, http.MethodGet, url, nil, "").Header.Get("ETag")
	if etag == "" {
		t.Fatalf("%s has no ETag", url)
	}
	return etag
}
