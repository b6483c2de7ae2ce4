package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// behindProxies puts the client's address in the place of a trusted proxy's, so
// that sign-ins are throttled, listed and logged by whose they are, and not all
// as the load balancer's.
//
// Each proxy adds the address of whom it was called by at the end of
// X-Forwarded-For. So it is read from its end, as long as those who wrote it are
// trusted; what a client has made up stands before that.
func (g *Gateway) behindProxies(next http.Handler) http.Handler {
	if len(g.opts.TrustedProxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			peer, err := netip.ParseAddr(host)
			if client := clientBehind(g.opts.TrustedProxies, peer, r.Header.Values("X-Forwarded-For")); err == nil && client != peer {
				r.RemoteAddr = net.JoinHostPort(client.String(), "0") // its port nobody tells
			}
		}
		next.ServeHTTP(w, r)
	})
}

func clientBehind(trusted []netip.Prefix, peer netip.Addr, forwarded []string) netip.Addr {
	isTrusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	}
	chain := strings.Split(strings.Join(forwarded, ","), ",")
	for _, text := range slices.Backward(chain) {
		if !isTrusted(peer) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break // the last one that is known is who is to answer for it
		}
		peer = before.WithZone("")
	}
	return peer
}
