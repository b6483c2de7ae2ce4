package fanout

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// heat is how many messages a room has had lately, per minute: each counts for
// less as time goes by, a third after a minute. It costs a room two words and a
// message a few nanoseconds, and nobody has to go through all rooms to cool them.
type heat struct {
	level float64
	at    int64 // when that was so, milliseconds since 1970
}

const heatFor = time.Minute

func (h *heat) add(nowMs int64) {
	*h = heat{h.perMinute(nowMs) + 1, max(nowMs, h.at)}
}

func (h *heat) perMinute(nowMs int64) float64 {
	age := max(nowMs-h.at, 0) // messages of several clocks
	return h.level * math.Exp(-float64(age)/float64(heatFor.Milliseconds()))
}

// Traffic is what goes on in a room.
type Traffic struct {
	Room string
	// Members are sessions on this gateway.
	Members int
	// PerMinute is how many messages they have had lately.
	PerMinute float64
}

// deliveries per minute are what a room costs this gateway.
func (t Traffic) deliveries() float64 { return t.PerMinute * float64(t.Members) }

// Busiest gives the rooms that cost this gateway most deliveries at present, at
// most so many. It looks at every room, in the turns of their workers: for a
// page that a person reads.
func (h *Hub) Busiest(ctx context.Context, most int) ([]Traffic, error) {
	now := time.Now().UnixMilli()
	found := make(chan []Traffic, len(h.workers))
	for i, w := range h.workers {
		err := h.feed.On(ctx, i, func() {
			var all []Traffic
			for _, r := range w.rooms {
				if rate := r.heat.perMinute(now); rate >= 0.5 && len(r.members) > 0 {
					all = append(all, Traffic{r.id, len(r.members), rate})
				}
			}
			found <- busiest(all, most)
		})
		if err != nil {
			return nil, err
		}
	}
	var all []Traffic
	for range h.workers {
		select {
		case some := <-found:
			all = append(all, some...)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-h.ctx.Done():
			return nil, h.ctx.Err()
		}
	}
	return busiest(all, most), nil
}

func busiest(all []Traffic, most int) []Traffic {
	slices.SortFunc(all, func(a, b Traffic) int {
		return cmp.Or(cmp.Compare(b.deliveries(), a.deliveries()), cmp.Compare(a.Room, b.Room))
	})
	return all[:min(len(all), most)]
}
