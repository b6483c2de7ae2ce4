package faults

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/services/e2e/bench/load"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/report"
)

// crowdRoom is how many of the crowd are in each room.
const crowdRoom = 25

// crowd is the connections beside the checker's.
type crowd struct {
	*load.Crowd
	size int
}

// gather has connections come, and waits until all are there. They end with the
// test.
func gather(t *testing.T, c *cluster, size int, seed uint64) *crowd {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go has raised the soft limit to the hard one; the gateways get as much, and
	// one of them may have to take all connections for a while.
	if need := uint64(size) + 1000; limit.Cur < need {
		t.Fatalf("%d connections need a limit of %d open files (ulimit -n), and it is %d", size, need, limit.Cur)
	}
	o := load.CrowdOptions{
		Secret: []byte(secret), Name: "crowd", Connections: size, Rooms: (size + crowdRoom - 1) / crowdRoom,
		Churn: float64(size) / 500, Rate: float64(size) / 500, Seed: seed,
	}
	for _, url := range c.urls {
		o.Gateways = append(o.Gateways, netip.MustParseAddrPort(strings.TrimPrefix(url, "http://")))
	}
	made, err := load.NewCrowd(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the crowd has ended: %v", err)
		}
	})
	g := &crowd{made, size}
	process.Eventually(t, 2*time.Minute, "the crowd is there", g.whole)
	return g
}

// whole says why the crowd is not, but for those who have just left.
func (g *crowd) whole() error {
	if g == nil { // a test without one
		return nil
	}
	if l := g.Look(); l.Members < g.size*9/10 {
		return fmt.Errorf("%d of %d connections are in their room", l.Members, g.size)
	}
	return nil
}

// text tells how it went.
func (g *crowd) text() string {
	l := g.Look()
	return fmt.Sprintf("a crowd of %d: %d in their rooms; %d went and came back, %d were cut, %d refused; %d messages, %d deliveries",
		g.size, l.Members, l.Gone, l.Cut, l.Refused, l.Said, l.Delivered)
}

// fared tells the same for the report.
func (g *crowd) fared() report.Soak {
	l := g.Look()
	return report.Soak{Connections: g.size, Gone: l.Gone, Cut: l.Cut, Refused: l.Refused, Said: l.Said, Delivered: l.Delivered}
}
