package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/limit"
	"github.com/parley-im/parley/services/gateway/internal/door"
)

// addresses bounds the connections of one address: how many there are, and how
// fast they are opened. Of IPv6 a /64 counts as one, which is what a customer
// gets; behind trusted proxies it is the client's that they tell.
//
// Only public addresses count unless Options.LimitPrivate says otherwise: a
// private one may be a load balancer's that nobody has named, and then
// everybody's.
type addresses struct {
	most    int // 0 is any number
	private bool
	rate    *limit.Keyed // nil for any

	mu   sync.Mutex
	open map[netip.Prefix]int // at most one entry a connection
}

func newAddresses(o Options) (*addresses, error) {
	a := &addresses{most: o.MaxPerAddress, private: o.LimitPrivate, open: make(map[netip.Prefix]int)}
	if o.ConnectRate > 0 && o.ConnectBurst > 0 {
		var err error
		a.rate, err = limit.NewKeyed(limit.Options{Every: max(1, time.Duration(float64(time.Second)/o.ConnectRate)), Burst: o.ConnectBurst})
		if err != nil {
			return nil, fmt.Errorf("connect-rate: %w", err)
		}
	}
	return a, nil
}

// limits says whether an address counts.
func (a *addresses) limits(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsValid() && (a.private || !address.IsPrivate() && !address.IsLoopback() && !address.IsLinkLocalUnicast())
}

// network gives what a host, with its port or without, counts as.
func (a *addresses) network(remote string) (netip.Prefix, bool) {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	address, err := netip.ParseAddr(remote)
	if err != nil || !a.limits(address) {
		return netip.Prefix{}, false
	}
	return limit.Network(address), true
}

// enter counts a connection, for which leave is to be called, or says why it may
// not be and after which time it may be tried again.
func (a *addresses) enter(remote string) (cause refusal, after time.Duration) {
	network, counts := a.network(remote)
	if !counts {
		return 0, 0
	}
	if a.rate != nil {
		if ok, after := a.rate.Allow(network.String()); !ok {
			return tooFast, after
		}
	}
	if a.most == 0 {
		return 0, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[network] >= a.most {
		return address, retryAfter * time.Second
	}
	a.open[network]++
	return 0, 0
}

// leave is for a connection that has ended.
func (a *addresses) leave(remote string) {
	network, counts := a.network(remote)
	if !counts || a.most == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[network]--; a.open[network] <= 0 {
		delete(a.open, network)
	}
}

// count is how many addresses have connections.
func (a *addresses) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

// minStrangers is what a gateway for few connections welcomes.
const minStrangers = 64

// strangers is how many connections may not have signed in, and how many sockets
// may not have become one.
func (g *Gateway) strangers() int {
	if n := g.opts.MaxUnauthenticated; n > 0 {
		return n
	}
	return max(minStrangers, g.opts.MaxConnections/2)
}

// newDoor makes what stands before the HTTP server; nil where nobody listens.
func (g *Gateway) newDoor() (*door.Listener, error) {
	if g.opts.Listener == nil {
		return nil, nil
	}
	proxy, err := door.ParseProxy(g.opts.Proxy)
	if err != nil {
		return nil, fmt.Errorf("proxy-protocol: %w", err)
	}
	return door.Listen(g.opts.Listener, door.Options{
		Trusted: g.opts.TrustedProxies, Proxy: proxy, Most: g.strangers(), Limited: g.addresses.limits,
		Refused: func(peer net.Addr, err error) {
			cause := header
			if errors.Is(err, door.ErrCrowded) {
				cause = crowded
			}
			g.refused[cause].Add(1)
			g.complain.Do(func() { g.log.Warn("refused", "remote", peer.String(), "cause", cause.String(), "error", err) })
		},
	}), nil
}
