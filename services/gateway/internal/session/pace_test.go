package session

import (
	"testing"
	"time"
)

// What counts as several takes as many tokens, and of a small bucket all.
func TestTokens(t *testing.T) {
	const every, burst = time.Second, 10
	var p pace
	for _, step := range []struct {
		now    time.Duration
		tokens int
		wait   time.Duration
	}{
		{0, 4, 0},
		{0, 4, 0},
		{0, 4, 2 * time.Second},
		{0, 2, 0},
		{0, 1, time.Second},
		{4 * time.Second, 4, 0},
		{4 * time.Second, 100, 10 * time.Second},
		{14 * time.Second, 100, 0},
		{14 * time.Second, 1, time.Second},
	} {
		if wait := p.take(step.now, every, burst, step.tokens); wait != step.wait {
			t.Errorf("%d tokens at %v: wait %v, want %v", step.tokens, step.now, wait, step.wait)
		}
	}
}

// Each cost is one of a request that there is.
func TestCosts(t *testing.T) {
	weighs, not := &Hub{opts: Options{WeighRequests: true}}, new(Hub)
	for kind, cost := range costs {
		if c := commands[kind]; c == nil || weighs.cost(c) != cost || not.cost(c) != 1 || cost < 2 {
			t.Errorf("%s costs %d", kind, cost)
		}
	}
	if n := weighs.cost(commands["chat-message"]); n != 1 {
		t.Errorf("a message costs %d", n)
	}
}
