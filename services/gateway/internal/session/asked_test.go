package session

import (
	"testing"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Where there is no hook a message pays nothing for it.
func TestNoHookCostsNothing(t *testing.T) {
	s := &Session{hub: NewHub(Options{})}
	entry := new(busv1.LogEntry)
	if allocs := testing.AllocsPerRun(1000, func() {
		if s.hub.slow(chatCommand) || s.mayPublish(t.Context(), nil, "general", entry) != nil {
			t.Error("a hook was asked")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
