package bustest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
	"github.com/parley-im/parley/pkg/loopback"
)

// Deployment is NATS as a test has it at hand.
type Deployment struct {
	// URL is where all nodes listen.
	URL string
	// Replicas is how many nodes keep each record.
	Replicas int
	// Nodes is how many can be stopped, one at a time; 0 where none can.
	Nodes int
	// Stop ends a node; what it gives starts it again.
	Stop func(node int) (start func())
}

// Connect opens a bus that is closed with the test.
func (d *Deployment) Connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	o.URL, o.Replicas = d.URL, d.Replicas
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Single is one embedded node.
func Single(t testing.TB) *Deployment { return start(t, 1) }

// Cluster is three embedded nodes that keep everything three times.
func Cluster(t testing.TB) *Deployment { return start(t, 3) }

func start(t testing.TB, nodes int) *Deployment {
	t.Helper()
	var clients, routes, dirs []string
	for i := range nodes {
		clients, routes = append(clients, loopback.For(t)), append(routes, loopback.For(t))
		dirs = append(dirs, filepath.Join(t.TempDir(), fmt.Sprint(i)))
	}
	servers := make([]*embedded.Server, nodes)
	run := func(i int) {
		o := embedded.Options{Dir: dirs[i], Addr: clients[i], Name: fmt.Sprint("n", i)}
		if nodes > 1 {
			o.Cluster = &embedded.Cluster{Name: "test", Addr: routes[i], Routes: routes}
		}
		server, err := embedded.Start(o)
		if err != nil {
			t.Errorf("starting node %d: %v", i, err)
			return
		}
		servers[i] = server
	}
	for i := range nodes {
		run(i)
	}
	t.Cleanup(func() {
		for _, server := range servers {
			if server != nil {
				server.Shutdown()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return &Deployment{
		URL: "nats://" + strings.Join(clients, ",nats://"), Replicas: nodes, Nodes: nodes,
		Stop: func(i int) func() {
			servers[i].Shutdown()
			servers[i] = nil
			return func() { run(i) }
		},
	}
}
