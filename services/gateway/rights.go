package gateway

import (
	"context"
	"time"

	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// recheckAgain is when rights are looked at for the second time after a
// reconnect, and how long an attempt that failed is followed by none: the
// registry may have been cut off as well, and be a moment behind.
const recheckAgain = time.Second

// Recheck puts out of their rooms all who may not be there any more, and finds
// out who is muted. What changes while NATS is in reach comes by itself.
func (g *Gateway) Recheck(ctx context.Context) error { return g.sessions.Recheck(ctx) }

// recheck does so whenever NATS was found again.
func (g *Gateway) recheck(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.reconnected:
		}
		for left := 2; left > 0; {
			if err := g.Recheck(ctx); err != nil {
				g.log.Warn("trying again in a moment", "error", err)
			} else {
				left--
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(recheckAgain):
			}
		}
	}
}

// trim has history take all but the newest entries of a room's log away.
func (g *Gateway) trim(ctx context.Context, room string, keep uint32) error {
	_, err := g.opts.History.Trim(ctx, &historyv1.TrimRequest{RoomId: room, Keep: keep})
	return err
}
