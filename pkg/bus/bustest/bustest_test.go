package bustest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-im/parley/pkg/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSingle(t *testing.T) {
	bustest.Run(t, func(t *testing.T) *bustest.Deployment { return bustest.Single(t) })
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	bustest.Run(t, func(t *testing.T) *bustest.Deployment { return bustest.Cluster(t) })
}
