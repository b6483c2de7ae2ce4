package conn

import (
	"runtime"
	"testing"
)

// A goroutine that waits for a peer needs no more stack than it began with,
// also when it has answered pings and heard pongs. See wire.await.
func TestIdleIsSmall(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's frames are larger")
	}
	const n = 500
	stacks := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.StackInuse)
	}
	s := serve(t, Options{})
	before := stacks()
	var peers []*peer
	for range n {
		p, _ := s.dial(t, nil)
		peers = append(peers, p)
	}
	check := func(when string) {
		t.Helper()
		// Of the 2 KiB stacks, and of what else there is, spans are used in part.
		if each := (stacks() - before) / n; each > 2048+512 {
			t.Errorf("%s: %d bytes of stack for each connection", when, each)
		}
	}
	check("at first")
	for range 3 {
		for _, p := range peers {
			p.send(masked(finBit|opPong, ""), masked(finBit|opPing, "ping"))
		}
		for _, p := range peers {
			p.want(finBit|opPong, "ping")
		}
	}
	check("after pings")
	for _, p := range peers {
		p.Close()
	}
}
