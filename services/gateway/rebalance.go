package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// After a scale-up the new gateways are empty and the old ones full, for
// connections stay where they are. So gateways hear each other's beats, and one
// that has clearly more connections than the mean asks a few of its clients a
// second to reconnect (close 4200), which a load balancer then spreads. Nobody
// decides for another, and what the beats say may be a second old, so the
// steps are small and end well above the mean.
const (
	// rebalanceAbove is the share of the mean above which a gateway sheds, and
	// rebalanceLeast how many connections more than the mean it must have.
	rebalanceAbove = 1.2
	rebalanceLeast = 10
	// forgetGateway is how long a silent gateway counts.
	forgetGateway = 5 * time.Second
	// maxPeers bounds how many gateways count; presence hears as many.
	maxPeers = 4096
)

// peers is what the gateways say of themselves.
type peers struct {
	mu   sync.Mutex
	load map[string]peerLoad
}

type peerLoad struct {
	connections int64
	heard       time.Time
}

func (p *peers) hear(beat *busv1.GatewayBeat, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if beat.Leaving {
		delete(p.load, beat.GatewayId)
		return
	}
	if _, known := p.load[beat.GatewayId]; !known && len(p.load) >= maxPeers {
		return
	}
	p.load[beat.GatewayId] = peerLoad{beat.Connections, now}
}

// all tells which gateways there are, by id, and their connections.
func (p *peers) all(now time.Time) map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]int64, len(p.load))
	for gateway, l := range p.load {
		if now.Sub(l.heard) <= forgetGateway {
			all[gateway] = l.connections
		}
	}
	return all
}

// surplus is how many connections the gateway of this id has beyond what is
// tolerated, 0 while it is alone or not clearly above the mean.
func (p *peers) surplus(id string, now time.Time) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum int64
	for gateway, l := range p.load {
		if now.Sub(l.heard) > forgetGateway {
			delete(p.load, gateway)
			continue
		}
		sum += l.connections
	}
	own, ok := p.load[id]
	if !ok || len(p.load) < 2 {
		return 0
	}
	mean := float64(sum) / float64(len(p.load))
	tolerated := max(mean*rebalanceAbove, mean+rebalanceLeast)
	return max(own.connections-int64(tolerated), 0)
}

// rebalance hears the other gateways, and sheds connections while there are too
// many, at most Options.Rebalance a second.
func (g *Gateway) rebalance(ctx context.Context) error {
	p := &g.peers
	sub, err := g.opts.Bus.SubscribeBeats(func(beat *busv1.GatewayBeat) { p.hear(beat, time.Now()) })
	if err != nil {
		return fmt.Errorf("hearing the other gateways: %w", err)
	}
	defer sub.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if n := min(p.surplus(g.id, now), int64(g.opts.Rebalance)); n > 0 {
				g.log.Info("shedding connections", "count", n, "connections", g.listener.Count())
				g.sessions.Shed(int(n))
			}
		}
	}
}
