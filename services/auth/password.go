package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
)

const maxPassword = 1024 // bytes

// hashing is what OWASP's password storage cheat sheet asks for first: 19 MiB,
// two passes, one lane. A hash made with others is renewed when its password
// is next seen.
var hashing = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	// queuePerSlot is how many may wait for each hash that is being made; at
	// some 25 ms each the last one waits about 2.5 s.
	queuePerSlot = 100
	queueRetry   = 2 * time.Second
)

// checkPassword holds a password against the contract.
func checkPassword(field, password string) error {
	switch {
	case password == "":
		return errs.Invalid(field, "is missing")
	case len(password) > maxPassword:
		return errs.Invalid(field, "is longer than %d bytes", maxPassword)
	case !utf8.ValidString(password):
		return errs.Invalid(field, "is not UTF-8")
	}
	return nil
}

// checkNewPassword holds it against the deployment's wish too.
func checkNewPassword(field, password string, least int) error {
	if err := checkPassword(field, password); err != nil {
		return err
	}
	if utf8.RuneCountInString(password) < least {
		return errs.Invalid(field, "is shorter than %d characters", least)
	}
	return nil
}

// hasher hashes passwords, so many at a time and the others one after the
// other. Argon2 takes memory and time on purpose; without a bound on both, a
// flood of sign-ins would take the machine down.
type hasher struct {
	slots  chan struct{}
	inside atomic.Int64 // being hashed or waiting
	made   atomic.Int64 // hashes, to keep or to compare
	dummy  string       // the hash of a password that nobody has
}

func newHasher(concurrency int) (*hasher, error) {
	if concurrency == 0 {
		concurrency = runtime.GOMAXPROCS(0)
	}
	h := &hasher{slots: make(chan struct{}, concurrency)}
	var err error
	if h.dummy, err = argon2id.CreateHash(ids.New(""), &hashing); err != nil {
		return nil, fmt.Errorf("hashing a password: %w", err)
	}
	return h, nil
}

// enter waits for a slot. Errors: rate-limited, when too many wait.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	if h.inside.Add(1) > int64(cap(h.slots)*(1+queuePerSlot)) {
		h.inside.Add(-1)
		return nil, rateLimited("too many sign-ins at the moment", queueRetry)
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; h.inside.Add(-1) }, nil
	case <-ctx.Done():
		h.inside.Add(-1)
		return nil, errs.Missing("the password check", ctx.Err())
	}
}

// hash makes what is kept of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	h.made.Add(1)
	hash, err := argon2id.CreateHash(prepare(password), &hashing)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return hash, nil
}

// check compares a password with a hash; outdated tells that the hash was made
// in another way than today's. An empty hash is nobody's, and takes as long.
func (h *hasher) check(ctx context.Context, password, hash string) (match, outdated bool, err error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	h.made.Add(1)
	match, params, err := argon2id.CheckHash(prepare(password), hash)
	if err != nil {
		return false, false, errors.New("checking a password: the hash cannot be read") // and is not shown
	}
	return match && known, *params != hashing, nil
}

// prepare makes a password the same bytes on every keyboard (RFC 8265, section
// 4.2.2).
func prepare(password string) string { return norm.NFC.String(password) }

func rateLimited(what string, retryAfter time.Duration) error {
	return &errs.Error{Code: errs.RateLimited, Message: what + ", try again later", RetryAfter: retryAfter}
}
