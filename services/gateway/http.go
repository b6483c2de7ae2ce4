package gateway

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/headers"
	"github.com/parley-im/parley/pkg/token"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// sockets are the paths of the WebSocket.
var sockets = []string{"/ws", "/chat"}

// Handler is all that the gateway answers on its client port.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range sockets {
		mux.HandleFunc("GET "+path, g.upgrade)
	}
	mux.HandleFunc("GET /.well-known/jwks.json", g.jwks)
	mux.Handle("/api/", g.api())
	if g.opts.Web != nil {
		mux.Handle("/", g.opts.Web)
	}
	return g.outer(mux)
}

// outer is around everything that is answered.
func (g *Gateway) outer(inner http.Handler) http.Handler {
	return g.behindProxies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers.Guard(w.Header(), headers.NoPage) // unless what answers knows better
		inner.ServeHTTP(w, r)
	}))
}

// tokenProtocol begins a subprotocol entry that carries a token, for browsers,
// which can set no headers on an upgrade.
const tokenProtocol = "parley.token."

// retryAfter is what a refused client is told to wait, seconds.
const retryAfter = 2

// maxRefusing is how many connections beyond the limit are upgraded at once
// only to be told so; a storm of them is refused before the upgrade, which is
// cheaper.
const maxRefusing = 256

func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" && namesToken(r.URL.Query()) {
		// A URL ends up in logs and histories.
		writeError(w, errs.Invalid("token", "does not belong into the URL: use auth, the Authorization header or a subprotocol entry"))
		return
	}
	if g.draining.Load() {
		g.refuse(w, r, draining, "the gateway is shutting down")
		return
	}
	if err := g.tokens.ready(); err != nil {
		// A moment after the start. A good token would be refused now, and one
		// that was revoked would not.
		g.refuse(w, r, starting, "the gateway is starting")
		return
	}
	if cause, after := g.addresses.enter(r.RemoteAddr); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
		g.count(r, cause, "too many connections from this address")
		http.Error(w, "too many connections from your address", http.StatusTooManyRequests)
		return
	}
	entered := false // then the listener tells when it has ended
	defer func() {
		if !entered {
			g.addresses.leave(r.RemoteAddr)
		}
	}()
	full := g.Full()
	if full {
		if g.refusing.Add(1) > maxRefusing {
			g.refusing.Add(-1)
			g.refuse(w, r, fullUp, "the gateway is full")
			return
		}
		defer g.refusing.Add(-1)
	}
	bearer := takeToken(r)
	c, err := g.listener.Accept(w, r)
	if err != nil {
		g.count(r, unfit, err.Error())
		return // the answer is written
	}
	entered = true
	if full {
		g.count(r, fullUp, "the gateway is full")
		g.listener.Forget(c)
		c.Close(conn.Overloaded, "Server overloaded")
		c.Wait()
		return
	}
	g.sessions.Serve(c, bearer)
}

func namesToken(query url.Values) bool {
	return query.Has("token") || query.Has("access_token") || query.Has("jwt")
}

// takeToken finds the token that came with an upgrade, in the Authorization
// header or in a subprotocol entry, and takes the entry out of the offer, for
// it must never be echoed.
func takeToken(r *http.Request) string {
	const header = "Sec-Websocket-Protocol"
	var found string
	var offers []string
	for _, line := range r.Header.Values(header) {
		for offer := range strings.SplitSeq(line, ",") {
			offer = strings.TrimSpace(offer)
			if raw, ok := strings.CutPrefix(offer, tokenProtocol); ok {
				if found == "" {
					found = raw
				}
				continue
			}
			if offer != "" {
				offers = append(offers, offer)
			}
		}
	}
	r.Header.Del(header)
	if len(offers) > 0 {
		r.Header.Set(header, strings.Join(offers, ", "))
	}
	if raw, ok := bearerToken(r); ok {
		return raw
	}
	return found
}

// bearerToken finds a token in the Authorization header (RFC 6750, section
// 2.1); the scheme's name is not case-sensitive (RFC 9110, section 11.1).
func bearerToken(r *http.Request) (string, bool) {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(raw), true
}

// agent is what the client called itself, as much as belongs into a line of
// the log.
func agent(r *http.Request) string {
	name := r.UserAgent()
	return name[:min(len(name), 256)]
}

// count counts a connection that is not taken. A flood of them does not fill the
// log.
func (g *Gateway) count(r *http.Request, cause refusal, why string) {
	g.refused[cause].Add(1)
	g.complain.Do(func() {
		g.log.Info("refused", "remote", r.RemoteAddr, "agent", agent(r), "cause", cause.String(), "error", why)
	})
}

// refuse answers an upgrade that is not made, for reasons that will pass.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, cause refusal, why string) {
	g.count(r, cause, why)
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	http.Error(w, why, http.StatusServiceUnavailable)
}

// jwks publishes the keys that tokens are signed with.
func (g *Gateway) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_, _ = w.Write(token.JWKS(g.tokens.verifier.Keys())) // the client may be gone
}
