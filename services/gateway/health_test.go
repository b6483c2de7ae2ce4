package gateway

import (
	"testing"

	"github.com/parley-im/parley/services/gateway/internal/session"
)

// What /health says begins just beyond the limits of PROTOCOL.md, section 7.
func TestHealthJudges(t *testing.T) {
	for name, c := range map[string]struct {
		connections  ConnectionsHealth
		memory       MemoryHealth
		then, now    session.Stats
		disconnected bool
		want         string
		reasons      int
	}{
		"nothing going on":            {want: "healthy"},
		"80 % of the connections":     {connections: ConnectionsHealth{Active: 80, Limit: 100}, want: "healthy"},
		"more of them":                {connections: ConnectionsHealth{Active: 81, Limit: 100}, want: "warning", reasons: 1},
		"80 % of the memory":          {memory: MemoryHealth{Used: 800, Limit: 1000}, want: "healthy"},
		"more of it":                  {memory: MemoryHealth{Used: 801, Limit: 1000}, want: "warning", reasons: 1},
		"any memory without a limit":  {memory: MemoryHealth{Used: 1 << 40}, want: "healthy"},
		"10 % of the messages failed": {now: session.Stats{Publishes: 100, PublishFailures: 10}, want: "healthy"},
		"more of them failed":         {now: session.Stats{Publishes: 100, PublishFailures: 11}, want: "critical", reasons: 1},
		"they failed more than a minute ago": {
			then: session.Stats{Publishes: 100, PublishFailures: 90},
			now:  session.Stats{Publishes: 200, PublishFailures: 90}, want: "healthy",
		},
		"NATS is away": {disconnected: true, want: "critical", reasons: 1},
		"critical outweighs a warning": {
			connections: ConnectionsHealth{Active: 81, Limit: 100}, disconnected: true, want: "critical", reasons: 2,
		},
	} {
		h := Health{Connections: c.connections, Memory: c.memory}
		if c.connections.Limit == 0 {
			h.Connections.Limit = 100
		}
		h.judge(c.then, c.now, !c.disconnected)
		if h.Status != c.want || len(h.Reasons) != c.reasons {
			t.Errorf("%s: %s, %q", name, h.Status, h.Reasons)
		}
	}
}
