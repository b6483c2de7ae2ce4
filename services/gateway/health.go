package gateway

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/parley-im/parley/services/gateway/internal/session"
)

// Health is what GET /health on the admin port tells (PROTOCOL.md, section 7).
type Health struct {
	// Status is "healthy", "warning" or "critical".
	Status string `json:"status"`
	// Reasons say why it is not healthy.
	Reasons     []string          `json:"reasons,omitempty"`
	Uptime      int64             `json:"uptime"` // seconds
	Connections ConnectionsHealth `json:"connections"`
	Messages    MessagesHealth    `json:"messages"`
	Rooms       int64             `json:"rooms"`
	Memory      MemoryHealth      `json:"memory"`
}

// ConnectionsHealth counts connections since the start, and now.
type ConnectionsHealth struct {
	Total  int64 `json:"total"`
	Active int64 `json:"active"`
	Peak   int64 `json:"peak"`
	Limit  int64 `json:"limit"`
}

// MessagesHealth counts messages since the start.
type MessagesHealth struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Failed   int64 `json:"failed"`
	// Rate is messages received per second over the last minute.
	Rate float64 `json:"rate"`
}

// MemoryHealth is in bytes.
type MemoryHealth struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit,omitempty"`
}

// window remembers the counts of the last minute, one a second.
type window struct {
	mu     sync.Mutex
	counts [61]session.Stats
	closes [61]map[int]int64 // by close code
	next   int
	filled int
}

// sample fills the window until ctx ends.
func (g *Gateway) sample(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		g.window.add(g.sessions.Stats(), g.sessions.Closes())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *window) add(s session.Stats, closes map[int]int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[w.next], w.closes[w.next] = s, closes
	w.next = (w.next + 1) % len(w.counts)
	w.filled = min(w.filled+1, len(w.counts))
}

// oldest gives the counts at the window's beginning and how long ago that is.
func (w *window) oldest() (session.Stats, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.filled == 0 {
		return session.Stats{}, 0
	}
	return w.counts[w.first()], time.Duration(w.filled) * time.Second
}

// oldestCloses gives the counts of closes at the window's beginning.
func (w *window) oldestCloses() map[int]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.filled == 0 {
		return nil
	}
	return w.closes[w.first()]
}

// first is the index of the oldest counts; mu is held.
func (w *window) first() int { return (w.next - w.filled + len(w.counts)) % len(w.counts) }

// Health tells how the gateway does, and the HTTP status that says so.
func (g *Gateway) Health(ctx context.Context) (any, int) {
	h := g.health()
	for _, check := range []func(context.Context) error{g.opts.Bus.CheckLog, g.opts.Bus.CheckClock} {
		if err := check(ctx); err != nil {
			h.worse("warning", err.Error())
		}
	}
	if h.Status == "critical" {
		return h, http.StatusServiceUnavailable
	}
	return h, http.StatusOK
}

func (g *Gateway) health() Health {
	now := g.sessions.Stats()
	then, ago := g.window.oldest()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	h := Health{
		Uptime:      int64(time.Since(g.started).Seconds()),
		Connections: ConnectionsHealth{now.Total, int64(now.Active), now.Peak, int64(g.opts.MaxConnections)},
		Messages:    MessagesHealth{Sent: now.Sent, Received: now.Received, Failed: now.PublishFailures},
		Rooms:       g.rooms.Rooms(),
		Memory:      MemoryHealth{int64(memory.Sys - memory.HeapReleased), g.opts.MemoryLimit},
	}
	if ago > 0 {
		h.Messages.Rate = float64(now.Received-then.Received) / ago.Seconds()
	}
	h.judge(then, now, g.opts.Bus.Connected())
	return h
}

// worse notes a reason why it is not healthy.
func (h *Health) worse(status, reason string) {
	if h.Status != "critical" {
		h.Status = status
	}
	h.Reasons = append(h.Reasons, reason)
}

// judge says how well that is, by the counts of a minute ago and of now.
func (h *Health) judge(then, now session.Stats, connected bool) {
	h.Status = "healthy"
	worse := h.worse
	if h.Connections.Active*10 > h.Connections.Limit*8 {
		worse("warning", "more than 80 % of the connection limit is in use")
	}
	if l := h.Memory.Limit; l > 0 && h.Memory.Used*10 > l*8 {
		worse("warning", "more than 80 % of the memory limit is in use")
	}
	if published := now.Publishes - then.Publishes; published > 0 && (now.PublishFailures-then.PublishFailures)*10 > published {
		worse("critical", "more than 10 % of the messages of the last minute failed")
	}
	if !connected {
		worse("critical", "NATS is out of reach")
	}
}
