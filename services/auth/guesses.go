package auth

import (
	"crypto/sha256"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/limit"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// guesses slows wrong passwords down, the more of them the longer. They are
// counted three times:
//
//   - for the account and the place they come from;
//   - for the account, from all places where it has never signed in;
//   - for the place, whatever the account.
//
// A place is an address, or a network of IPv6 (limit.AddressKey).
//
// Guessing an account from many addresses is held up by the second count. It
// could keep the account's owner out as well, for as long as somebody goes on
// guessing; so it does not hold for the places where the password was right
// lately (account.Places), nor does the third. What is left there is the first
// count, which nobody can raise from elsewhere, and ten minutes at most. A sign-in
// that stands is refreshed without a password, so whoever is signed in notices
// nothing. Who is at a new place while his account is under attack may have to
// wait: a device that has never been seen cannot be told from an attacker's.
//
// Right passwords cost nothing, however many devices sign in at once; but only
// so many guesses are let in at the same time, before it is known what they
// are. What is refused is not counted, so asking again makes no wait longer.
// Unknown usernames are counted alike, for the difference would tell them.
//
// Every replica counts for itself. Its memory is bounded; see shrink.
type guesses struct {
	slow Guessing

	mu    sync.Mutex
	spent map[guessKey]debt
}

// Guessing says how wrong passwords are slowed down.
type Guessing struct {
	// Here is for an account and a place, Elsewhere for an account and all
	// places that are new to it, Address for a place and all accounts.
	Here, Elsewhere, Address Slowdown
	// Keys is how many counts are remembered, at about 150 bytes each; default
	// 200,000.
	Keys int
}

// Slowdown is how one count of wrong passwords grows into a wait; the zero value
// never does.
type Slowdown struct {
	// Free wrong ones have no wait behind them. The next has First, each
	// further one twice as long, up to Longest.
	Free           int
	First, Longest time.Duration
	// Forgive is the time in which one is forgotten.
	Forgive time.Duration
}

// defaultGuessing lets an attacker guess an account's password about 20 times
// and then 60 times an hour with any number of addresses, and each address 100
// times and then 10 times a minute.
var defaultGuessing = Guessing{
	Here:      Slowdown{Free: 5, First: time.Second, Longest: 10 * time.Minute, Forgive: 10 * time.Minute},
	Elsewhere: Slowdown{Free: 20, First: time.Second, Longest: time.Minute, Forgive: time.Minute},
	Address:   Slowdown{Free: 100, First: time.Second, Longest: 30 * time.Second, Forgive: 6 * time.Second},
	Keys:      200_000,
}

// maxPending is how many guesses of one count are let in at the same time while
// it has no wait; with one it is a single guess.
const maxPending = 64

// guessKey is the hash of what is counted, for that comes from strangers.
type guessKey [16]byte

// debt is how many guesses were wrong, as of the last one's time; one fewer
// after each Forgive.
type debt struct {
	wrong   float64
	at      time.Time
	pending int
	forgive time.Duration
}

func newGuesses(o Guessing) *guesses {
	if o == (Guessing{}) {
		o = defaultGuessing
	}
	if o.Keys == 0 {
		o.Keys = defaultGuessing.Keys
	}
	return &guesses{slow: o, spent: make(map[guessKey]debt)}
}

// outcome is what became of a guess.
type outcome int

const (
	unknown outcome = iota // it was not found out
	wrong
	right
)

// count is one of the three counts that a guess has to do with.
type count struct {
	key   guessKey
	slow  Slowdown
	holds bool // whether its wait is this guess's too
}

// begin lets a guess in, which end is then to be called for, or says how long
// to wait. known says that the account has signed in from this place before.
func (g *guesses) begin(username, place string, known bool, now time.Time) (end func(outcome), wait time.Duration) {
	counts := [...]count{
		{keyOf("here", username, place), g.slow.Here, true},
		{keyOf("elsewhere", username), g.slow.Elsewhere, !known},
		{keyOf("address", place), g.slow.Address, !known && place != ""},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range counts {
		if c.holds {
			wait = max(wait, g.wait(c, now))
		}
	}
	if wait > 0 {
		return nil, wait
	}
	for _, c := range counts {
		d := g.spent[c.key]
		d.pending++
		g.spent[c.key] = d
	}
	return func(o outcome) { g.end(counts[:], o, time.Now()) }, 0
}

// wait is how long one count holds up the next guess.
func (g *guesses) wait(c count, now time.Time) time.Duration {
	if c.slow == (Slowdown{}) {
		return 0
	}
	d := g.spent[c.key]
	over := int(math.Ceil(d.left(now))) - c.slow.Free
	most := maxPending
	if over >= 0 {
		most = 1
	}
	if d.pending >= most {
		return time.Second
	}
	if over < 0 {
		return 0
	}
	delay := c.slow.Longest
	if over < 30 { // beyond it the shift is too far
		delay = min(delay, c.slow.First<<over)
	}
	return max(0, d.at.Add(delay).Sub(now))
}

func (g *guesses) end(counts []count, o outcome, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range counts {
		d := g.spent[c.key]
		d.pending--
		switch {
		case o == wrong:
			d.wrong, d.at, d.forgive = d.left(now)+1, now, c.slow.Forgive
		case o == right && i == 0:
			// Whoever knows the password may forget what was typed before it. Of
			// other places, and other accounts, it proves nothing.
			d.wrong = 0
		}
		if d.pending == 0 && d.left(now) == 0 {
			delete(g.spent, c.key)
		} else {
			g.spent[c.key] = d
		}
	}
	if len(g.spent) > g.slow.Keys {
		g.shrink(now)
	}
}

// left is what is left of a debt.
func (d debt) left(now time.Time) float64 {
	if d.wrong == 0 || d.forgive == 0 {
		return d.wrong
	}
	return max(0, d.wrong-float64(now.Sub(d.at))/float64(d.forgive))
}

// shrink drops whoever owes nothing any more, and where that is not enough
// the small debts, until half of the bound is left: so it is rare, and a flood
// of made-up usernames does not wash out an account that is being attacked.
// Guesses that are under way stay; passwords that are hashed at the same time
// are few.
func (g *guesses) shrink(now time.Time) {
	const most = 1 << 20 // no debt is greater
	for limit := 0.0; len(g.spent) > g.slow.Keys/2 && limit < most; limit = 2*limit + 1 {
		for key, d := range g.spent {
			if d.pending == 0 && d.left(now) <= limit {
				delete(g.spent, key)
			}
		}
	}
}

func (g *guesses) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.spent)
}

func keyOf(parts ...string) guessKey {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte{byte(len(part) >> 8), byte(len(part))})
		h.Write([]byte(part))
	}
	return guessKey(h.Sum(nil)[:16])
}

// maxPlaces is how many places an account remembers.
const maxPlaces = 8

// placeOf is where a client is, "" for one that does not tell.
func placeOf(client *authv1.Client) string {
	text := client.GetAddress()
	if address, err := netip.ParseAddr(text); err == nil {
		return limit.AddressKey(address)
	}
	return text
}

// placeMark is what an account keeps of a place: enough to know it again, and
// no list of where somebody was.
func placeMark(user, place string) string {
	key := keyOf("place", user, place)
	return ids.Token(string(key[:9]))
}
