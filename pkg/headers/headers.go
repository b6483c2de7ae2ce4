// Package headers has the HTTP headers by which browsers make no more of an answer
// than it is. It knows no address and no page: a page has a policy of its own.
package headers

import "net/http"

// NoPage is the Content-Security-Policy of what is no page.
const NoPage = "default-src 'none'; frame-ancestors 'none'"

// Guard sets what every answer of ours carries, refusals included: its policy, that
// its type is the one it names, that none of it is for other origins' pages, and
// that nobody hears from where it was asked for.
func Guard(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
