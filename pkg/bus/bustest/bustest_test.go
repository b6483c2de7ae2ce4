package bustest_test

import (
	"testing"

	"go.uber.org/goleak"

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
