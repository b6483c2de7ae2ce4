// Package limit limits how often something may happen per key, such as sign-in attempts per address and per account.
//
// It owns the buckets and their bound. It must not know what the keys stand for, nor what happens to what it refuses.
// The rate of one connection needs no key: use golang.org/x/time/rate there.
package limit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Options configure a [Keyed].
type Options struct {
	// Every is the time in which a key gains one more event. 0 means no limit.
	Every time.Duration
	// Burst is how many events a key may have at once after a pause. 0 means 1.
	Burst int
	// Keys is how many keys are remembered, at about 300 bytes each. 0 means 10,000. Beyond that the key that was used
	// longest ago is forgotten, and has its whole burst again: with more keys than this in use at the same time the
	// limit weakens.
	Keys int
}

// Keyed is a token bucket for each key. It is safe for concurrent use and needs no closing.
type Keyed struct {
	every rate.Limit
	burst int

	mu      sync.Mutex
	buckets *simplelru.LRU[string, *rate.Limiter]
}

// NewKeyed makes a limiter without any key.
func NewKeyed(o Options) (*Keyed, error) {
	if o.Every < 0 || o.Burst < 0 || o.Keys < 0 {
		return nil, errors.New("limit: want an interval, a burst and a number of keys that are not negative")
	}
	if o.Burst == 0 {
		o.Burst = 1
	}
	if o.Keys == 0 {
		o.Keys = 10_000
	}
	buckets, err := simplelru.NewLRU[string, *rate.Limiter](o.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	every := rate.Inf
	if o.Every > 0 {
		every = rate.Every(o.Every)
	}
	return &Keyed{every: every, burst: o.Burst, buckets: buckets}, nil
}

// Allow reports whether an event of this key may happen now, and counts it if so. If not, retryAfter is the time after
// which it may, in whole milliseconds, 1 at least; asking again earlier does not lengthen it.
func (k *Keyed) Allow(key string) (ok bool, retryAfter time.Duration) {
	if k.every == rate.Inf {
		return true, 0
	}
	key = bounded(key)
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	bucket, known := k.buckets.Get(key)
	if !known {
		bucket = rate.NewLimiter(k.every, k.burst)
		k.buckets.Add(key, bucket)
	}
	event := bucket.ReserveN(now, 1)
	if wait := event.DelayFrom(now); wait > 0 {
		event.CancelAt(now)
		// Rounded up: the bucket counts in floating point, and an event must not come a nanosecond early.
		return false, (wait + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	return true, 0
}

// Len returns the number of keys remembered.
func (k *Keyed) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buckets.Len()
}

// bounded replaces a long key by its hash: keys come from strangers, and are kept.
func bounded(key string) string {
	if len(key) <= sha256.Size {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return string(sum[:])
}

// AddressKey returns the key of a client's address. For IPv6 that is its /64 network, all of which one customer has
// (RFC 6177): a limit per address would be none. An IPv4 address mapped into IPv6 is the IPv4 address.
func AddressKey(address netip.Addr) string {
	network := Network(address)
	if network.Addr().Is6() {
		return network.String()
	}
	return network.Addr().String()
}

// Network returns what AddressKey is the text of: an IPv4 address by itself, or the /64 of one of IPv6.
func Network(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		return netip.PrefixFrom(address, 64).Masked()
	}
	return netip.PrefixFrom(address, address.BitLen())
}
