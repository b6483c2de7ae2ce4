package auth

import (
	"errors"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/limit"
)

// guesses limits wrong passwords per username. Unlike limit.Keyed it counts an
// event when it turns out to be one: right passwords cost nothing, however
// many devices sign in at once. Guesses made at the same time are all let in,
// and all counted: an account can be in debt, so that over time there are no
// more than the rate allows.
//
// Unknown usernames are counted alike, for the difference would tell them.
type guesses struct {
	every time.Duration
	burst float64
	keys  int

	mu    sync.Mutex
	spent map[string]debt
}

// debt is how many guesses were counted, as of a time; one fewer after each
// every.
type debt struct {
	count float64
	at    time.Time
}

func newGuesses(o limit.Options) (*guesses, error) {
	if o.Every < 0 || o.Burst < 0 || o.Keys < 0 {
		return nil, errors.New("auth: per account: want an interval, a burst and a number of keys that are not negative")
	}
	return &guesses{
		every: o.Every,
		burst: float64(max(o.Burst, 1)),
		keys:  max(o.Keys, 0),
		spent: make(map[string]debt),
	}, nil
}

const defaultGuessKeys = 100_000 // about 20 MiB

// wait is how long the next guess must wait; 0 means that it may be made.
func (g *guesses) wait(username string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	over := g.now(g.spent[username], now) - (g.burst - 1)
	if g.every == 0 || over <= 0 {
		return 0
	}
	return max(time.Duration(over*float64(g.every)), time.Millisecond)
}

// wrong counts a guess.
func (g *guesses) wrong(username string, now time.Time) {
	if g.every == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.spent[username]
	g.spent[username] = debt{count: g.now(d, now) + 1, at: now}
	if len(g.spent) > g.bound() {
		g.shrink(now)
	}
}

// now is what is left of a debt.
func (g *guesses) now(d debt, now time.Time) float64 {
	if d.count == 0 {
		return 0
	}
	return max(0, d.count-float64(now.Sub(d.at))/float64(g.every))
}

func (g *guesses) bound() int {
	if g.keys == 0 {
		return defaultGuessKeys
	}
	return g.keys
}

// shrink drops whoever owes nothing any more, and where that is not enough
// the small debts, until half of the bound is left: so it is rare, and a flood
// of made-up usernames does not wash out an account that is being attacked.
func (g *guesses) shrink(now time.Time) {
	for limit := 0.0; len(g.spent) > g.bound()/2; limit = 2*limit + 1 {
		for username, d := range g.spent {
			if g.now(d, now) <= limit {
				delete(g.spent, username)
			}
		}
	}
}
