package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/ids"
)

// Keys in the Sessions bucket beside the sign-ins; the values are milliseconds
// since 1970 in decimal.
const (
	keyRevoked     = "revoked."
	keyRevokedUser = "revoked-user."
)

// Revocation is one sign-in that was ended, or all of one user's.
type Revocation struct {
	// SessionID is the sign-in; empty when UserID is set.
	SessionID string
	// UserID is the user all of whose tokens issued before Before are void.
	UserID string
	Before time.Time
}

// Revocations knows which tokens are void though their signature and times are
// right. It is a picture of the Sessions bucket kept in memory by a watch: a
// revocation anywhere is known here within milliseconds, and asking costs no
// call. NATS out of reach leaves it at what it knew.
//
// An entry is forgotten SessionTTL after it came to be known here: no token of
// ours lives longer. That also is the bound of its memory. No time of day has a
// part in it, neither NATS's nor ours: a clock that is set would make good again
// what was revoked.
type Revocations struct {
	picture
	learned func(Revocation)

	mu       sync.RWMutex
	sessions map[string]time.Time // when they came to be known
	users    map[string]userRevocation
}

type userRevocation struct{ before, known time.Time }

// NewRevocations makes a picture that Run fills. learned, which may be nil, is
// called with each revocation that is new to it, also those found at the
// start, by a goroutine of Run or the caller of a Revoke method; it must not
// block for long.
func NewRevocations(b *Bus, learned func(Revocation)) *Revocations {
	if learned == nil {
		learned = func(Revocation) {}
	}
	r := &Revocations{
		learned:  learned,
		sessions: make(map[string]time.Time),
		users:    make(map[string]userRevocation),
	}
	r.init(b, 2)
	return r
}

// Run keeps the picture until ctx ends; then it returns nil. It may be called
// once.
func (r *Revocations) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, prefix := range []string{keyRevoked, keyRevokedUser} {
		wg.Go(func() { r.watch(ctx, Sessions, prefix, r.note) })
	}
	wg.Go(func() { forget(ctx, r.drop) })
	wg.Wait()
	return nil
}

// Ready is closed when every revocation made before Run is known.
func (r *Revocations) Ready() <-chan struct{} { return r.ready }

// Revoked says whether a token is void: because of its sign-in, which may be
// empty, or because of when it was issued to its user. A token that does not
// tell when (the zero time) counts as old.
func (r *Revocations) Revoked(sessionID, userID string, issuedAt time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, ok := r.sessions[sessionID]; ok && sessionID != "" {
		return true
	}
	user, ok := r.users[userID]
	return ok && issuedAt.Before(user.before)
}

// RevokeSession voids all tokens of a sign-in, whose id must be fit for a KV
// key. Here it is known when the call returns.
func (r *Revocations) RevokeSession(ctx context.Context, sessionID string) error {
	return r.put(ctx, keyRevoked+sessionID, time.Now())
}

// RevokeUser voids all tokens of a user that were issued before a time. Here
// it is known when the call returns.
func (r *Revocations) RevokeUser(ctx context.Context, userID string, before time.Time) error {
	return r.put(ctx, keyRevokedUser+ids.Token(userID), before)
}

func (r *Revocations) put(ctx context.Context, key string, at time.Time) error {
	kv, err := r.b.Bucket(ctx, Sessions)
	if err != nil {
		return err
	}
	value := []byte(strconv.FormatInt(at.UnixMilli(), 10))
	if _, err := kv.Put(ctx, key, value); err != nil {
		return err
	}
	r.note(Entry{Key: key, Value: value})
	return nil
}

// note takes in one entry of the bucket. Deleted ones have expired, and go by
// forget's clock.
func (r *Revocations) note(e Entry) {
	if e.Deleted {
		return
	}
	revocation, err := parseRevocation(e)
	if err != nil {
		r.b.PassOver(e.Key, err)
		return
	}
	if r.keep(revocation, time.Now()) {
		r.learned(revocation)
	}
}

// keep remembers a revocation and says whether it was new.
func (r *Revocations) keep(v Revocation, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.UserID != "" {
		if known, ok := r.users[v.UserID]; ok && !known.before.Before(v.Before) {
			return false
		}
		r.users[v.UserID] = userRevocation{v.Before, now}
		return true
	}
	_, known := r.sessions[v.SessionID]
	r.sessions[v.SessionID] = now
	return !known
}

func parseRevocation(e Entry) (Revocation, error) {
	ms, err := strconv.ParseInt(string(e.Value), 10, 64)
	if err != nil {
		return Revocation{}, fmt.Errorf("decoding a revocation: %w", err)
	}
	before := time.UnixMilli(ms)
	token, ok := strings.CutPrefix(e.Key, keyRevokedUser)
	if !ok {
		return Revocation{SessionID: strings.TrimPrefix(e.Key, keyRevoked), Before: before}, nil
	}
	user, err := ids.FromToken(token)
	if err != nil {
		return Revocation{}, fmt.Errorf("decoding a revocation's user: %w", err)
	}
	return Revocation{UserID: user, Before: before}, nil
}

func (r *Revocations) drop(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, known := range r.sessions {
		if known.Before(until) {
			delete(r.sessions, id)
		}
	}
	for id, user := range r.users {
		if user.known.Before(until) {
			delete(r.users, id)
		}
	}
}
