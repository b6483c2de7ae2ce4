package bustest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
)

// A NATS server shut down at an unlucky moment can leave the store of a stream
// open, which goes on writing its index and counts as a user of the clock that
// all stores share. Nothing of ours is in these two.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}

func TestSingle(t *testing.T) {
	bustest.Run(t, func(t *testing.T) *bustest.Deployment { return bustest.Single(t) })
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	bustest.Run(t, func(t *testing.T) *bustest.Deployment { return bustest.Cluster(t) })
}

// TestTogether: replicas that start at one moment, on a cluster that holds
// nothing yet, all have their streams and buckets.
func TestTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	d := bustest.Cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var replicas sync.WaitGroup
	for range 3 {
		b := d.Connect(t, bus.Options{})
		replicas.Go(func() {
			if _, err := b.Bucket(ctx, bus.Users); err != nil {
				t.Error(err)
			}
			if err := b.EnsureLog(ctx, bus.LogConfig{}); err != nil {
				t.Error(err)
			}
		})
	}
	replicas.Wait()
}
