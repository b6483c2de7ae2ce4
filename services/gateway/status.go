package gateway

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Status is what the status page on the admin port shows of a gateway and of
// what it knows of the others. Counts are since its start; who wants a rate
// compares two.
type Status struct {
	// Gateway is its id, and Time when all of this was so, milliseconds since 1970.
	Gateway string `json:"gateway"`
	Time    int64  `json:"time"`
	Health  Health `json:"health"`
	Users   int    `json:"users"`
	// Published are messages given to the log, Delivered are those handed to
	// members of rooms here, each as often as there were members.
	Published int64 `json:"published"`
	Delivered int64 `json:"delivered"`
	// Waiting are bytes that wait to be written to clients.
	Waiting  int64         `json:"waiting"`
	Closes   []CloseCount  `json:"closes"`
	Gateways []GatewayLoad `json:"gateways"`
	Rooms    []RoomTraffic `json:"rooms"`
}

// CloseCount is how many connections have ended with a close code; 0 is for
// those that just broke.
type CloseCount struct {
	Code   int   `json:"code"`
	Minute int64 `json:"minute"` // in the last minute
	Total  int64 `json:"total"`
}

// GatewayLoad is what a gateway says of itself each second.
type GatewayLoad struct {
	ID          string `json:"id"`
	Connections int64  `json:"connections"`
}

// RoomTraffic is one of the rooms that cost this gateway most.
type RoomTraffic struct {
	ID        string  `json:"id"`
	Members   int     `json:"members"`   // sessions on this gateway
	PerMinute float64 `json:"perMinute"` // messages lately
}

const (
	// statusRooms is how many rooms a Status names.
	statusRooms = 20
	// statusFor is how long one is good: it looks at every room, and pages may
	// be open on several screens.
	statusFor = time.Second
)

// lastStatus is the one that was made last.
type lastStatus struct {
	mu     sync.Mutex
	status Status
	at     time.Time
}

// Status tells how the gateway does, at most one second late.
func (g *Gateway) Status(ctx context.Context) (Status, error) {
	g.asked.mu.Lock()
	defer g.asked.mu.Unlock()
	now := time.Now()
	if now.Sub(g.asked.at) < statusFor {
		return g.asked.status, nil
	}
	rooms, err := g.rooms.Busiest(ctx, statusRooms)
	if err != nil {
		return Status{}, err
	}
	stats := g.sessions.Stats()
	waiting, _, _ := g.listener.Stats()
	s := Status{
		Gateway: g.id, Time: now.UnixMilli(), Users: stats.Users, Published: stats.Publishes, Delivered: g.rooms.Deliveries(), Waiting: waiting,
		Closes: closeCounts(g.sessions.Closes(), g.window.oldestCloses()),
		// Empty lists, not null, in JSON.
		Gateways: []GatewayLoad{}, Rooms: []RoomTraffic{},
	}
	s.Health = g.health()
	for id, connections := range g.peers.all(now) {
		s.Gateways = append(s.Gateways, GatewayLoad{id, connections})
	}
	slices.SortFunc(s.Gateways, func(a, b GatewayLoad) int { return cmp.Compare(a.ID, b.ID) })
	for _, r := range rooms {
		s.Rooms = append(s.Rooms, RoomTraffic{r.Room, r.Members, r.PerMinute})
	}
	g.asked.status, g.asked.at = s, now
	return s, nil
}

// closeCounts compares the closes of now with those of a minute ago.
func closeCounts(now, then map[int]int64) []CloseCount {
	counts := make([]CloseCount, 0, len(now))
	for code, n := range now {
		counts = append(counts, CloseCount{Code: code, Minute: n - then[code], Total: n})
	}
	slices.SortFunc(counts, func(a, b CloseCount) int { return cmp.Compare(a.Code, b.Code) })
	return counts
}
