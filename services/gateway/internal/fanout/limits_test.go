package fanout

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
)

// leaderless is a log whose shard 0 has no leader: who asks it waits in vain.
type leaderless struct{ Source }

func (leaderless) Shard(room string) int { return len(room) - 1 }

func (leaderless) LogLimits(ctx context.Context, shard int) (bus.LogConfig, error) {
	if shard == 0 {
		<-ctx.Done()
		return bus.LogConfig{}, ctx.Err()
	}
	return bus.LogConfig{Retention: int64(shard)}, nil
}

// TestLimitsOfEachShard: rooms do not wait for a shard that they are not in.
func TestLimitsOfEachShard(t *testing.T) {
	l := limits{source: leaderless{}, shards: make(map[int]*shardLimits)}
	waiting, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := l.fresh(waiting, "a")
		done <- err
	}()
	eventually(t, "the shard without a leader is asked", time.Minute, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.shards[0] != nil && len(l.shards[0].turn) == 1
	})
	for _, room := range []string{"bb", "ccc"} {
		if got, err := l.fresh(t.Context(), room); err != nil || got.Retention != int64(len(room)-1) {
			t.Errorf("of %q: %+v, %v", room, got, err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the shard without a leader: %v", err)
	}
}
