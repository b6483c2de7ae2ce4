package gateway

import (
	"testing"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func TestSurplus(t *testing.T) {
	now := time.Now()
	beat := func(id string, n int64) *busv1.GatewayBeat { return &busv1.GatewayBeat{GatewayId: id, Connections: n} }
	for _, c := range []struct {
		name  string
		loads map[string]int64
		want  int64
	}{
		{"alone", map[string]int64{"a": 1000}, 0},
		{"even", map[string]int64{"a": 100, "b": 100}, 0},
		{"within a fifth", map[string]int64{"a": 115, "b": 100}, 0},
		{"few connections", map[string]int64{"a": 12, "b": 0}, 0},
		{"a new gateway", map[string]int64{"a": 900, "b": 900, "c": 0}, 900 - 720},
		{"below the mean", map[string]int64{"a": 0, "b": 1000}, 0},
	} {
		p := &peers{load: make(map[string]peerLoad)}
		for id, n := range c.loads {
			p.hear(beat(id, n), now)
		}
		if got := p.surplus("a", now); got != c.want {
			t.Errorf("%s: surplus %d, want %d", c.name, got, c.want)
		}
	}
	p := &peers{load: make(map[string]peerLoad)}
	p.hear(beat("a", 1000), now)
	p.hear(beat("b", 0), now.Add(-2*forgetGateway))
	if got := p.surplus("a", now); got != 0 {
		t.Errorf("a gateway that has fallen silent still counts: %d", got)
	}
	p.hear(beat("b", 0), now)
	p.hear(&busv1.GatewayBeat{GatewayId: "b", Leaving: true}, now)
	if got := p.surplus("a", now); got != 0 {
		t.Errorf("a gateway that leaves still counts: %d", got)
	}
}
