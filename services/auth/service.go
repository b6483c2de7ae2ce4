// Package auth is the service that knows who somebody is: it makes accounts,
// checks passwords, issues and takes back the tokens that gateways check by
// themselves.
//
// It owns the accounts and invite codes (bucket Users), the sign-ins and
// revocations (bucket Sessions) and the signing keys (bucket Keys), and nothing
// else writes them.
// Any number of replicas work on the same records; every change of one is
// compared with the revision that was read. It knows nothing of rooms and
// connections: that a revocation ends connections is the gateways' business.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/limit"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/pkg/secret"
	"github.com/parley-im/parley/pkg/token"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// Registration says who may register.
type Registration string

// The ways of registration.
const (
	Open     Registration = "open"   // anybody
	ByInvite Registration = "invite" // who has an invite code
	Closed   Registration = "closed" // nobody: accounts are made by CreateUser
)

// Options says how the service works.
type Options struct {
	// Bus is needed.
	Bus *bus.Bus
	// Logger gets what an operator should know; nil discards.
	Logger *slog.Logger
	// Meter records what metrics.go lists; nil records nothing.
	Meter metric.Meter

	// TokenTTL is how long a token is good; default and longest
	// bus.SessionTTL, for no revocation is remembered longer.
	TokenTTL time.Duration
	// Registration is who may register; default Open.
	Registration Registration
	// AutoRegister makes the first Login of an unknown username register it,
	// where registration is open.
	AutoRegister bool
	// RefreshGrace is for how long a refresh token that was used is answered
	// again, because the answer may have been lost; default 30 s, negative for
	// never.
	RefreshGrace time.Duration
	// MinPasswordLength is what a new password must have, in characters;
	// default 1.
	MinPasswordLength int
	// JWTSecret has Verify accept HS256 tokens that others make; empty refuses
	// them.
	JWTSecret secret.Bytes
	// Issuers are others whose tokens Verify accepts. InsecureIssuers lets their
	// keys come over http, in development.
	Issuers         []token.IssuerOptions
	InsecureIssuers bool
	// HashConcurrency is how many passwords are hashed at the same time, each
	// with 19 MiB of memory; default GOMAXPROCS.
	HashConcurrency int

	// PerAddress limits Register and Login by the client's address; the zero
	// value is 100 at once and 10 a second after that.
	PerAddress limit.Options
	// Guessing is how wrong passwords are slowed down; the zero value is
	// defaultGuessing.
	Guessing Guessing
}

const (
	defaultRefreshGrace = 30 * time.Second
	// retryPause is between two tries at what is out of reach.
	retryPause = 500 * time.Millisecond
)

func (o *Options) complete() error {
	switch {
	case o.Bus == nil:
		return errors.New("auth: the bus is missing")
	case o.TokenTTL < 0 || o.TokenTTL > bus.SessionTTL:
		return fmt.Errorf("auth: a token's life of %s is not between 0 and %s", o.TokenTTL, bus.SessionTTL)
	case o.MinPasswordLength < 0 || o.MinPasswordLength > maxPassword:
		return fmt.Errorf("auth: a shortest password of %d is not between 0 and %d", o.MinPasswordLength, maxPassword)
	case o.Registration != "" && o.Registration != Open && o.Registration != ByInvite && o.Registration != Closed:
		return fmt.Errorf("auth: registration %q is not open, invite or closed", o.Registration)
	case o.HashConcurrency < 0:
		return fmt.Errorf("auth: %d passwords hashed at the same time is negative", o.HashConcurrency)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.TokenTTL == 0 {
		o.TokenTTL = bus.SessionTTL
	}
	if o.PerAddress == (limit.Options{}) {
		o.PerAddress = limit.Options{Every: time.Second / 10, Burst: 100}
	}
	if o.Registration == "" {
		o.Registration = Open
	}
	if o.RefreshGrace == 0 {
		o.RefreshGrace = defaultRefreshGrace
	}
	return nil
}

// Service is the Auth service. Its gRPC methods answer unavailable until Run
// has got everything together.
type Service struct {
	opts        Options
	log         *slog.Logger
	metrics     *metrics
	hasher      *hasher
	addresses   *limit.Keyed
	guesses     *guesses
	issuers     *token.Issuers
	verifier    *token.Verifier
	revocations *bus.Revocations
	keys        *keyring
	records     atomic.Pointer[store]  // nil until the buckets are open
	refreshKey  atomic.Pointer[[]byte] // of the refresh tokens; there when records are
}

// New makes the service; Run gives it life.
func New(o Options) (*Service, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	issuers, err := token.NewIssuers(o.Issuers, token.IssuersOptions{Insecure: o.InsecureIssuers, Logger: o.Logger, Meter: o.Meter})
	if err != nil {
		return nil, fmt.Errorf("auth: issuers: %w", err)
	}
	s := &Service{
		opts:        o,
		log:         o.Logger,
		issuers:     issuers,
		verifier:    token.NewVerifier(token.VerifierOptions{Secret: o.JWTSecret, Issuers: issuers}),
		revocations: bus.NewRevocations(o.Bus, nil),
		keys:        &keyring{bus: o.Bus, log: o.Logger},
	}
	if s.hasher, err = newHasher(o.HashConcurrency); err != nil {
		return nil, err
	}
	if s.addresses, err = limit.NewKeyed(o.PerAddress); err != nil {
		return nil, fmt.Errorf("auth: per address: %w", err)
	}
	s.guesses = newGuesses(o.Guessing)
	if s.metrics, err = newMetrics(o.Meter, s.hasher, s.guesses); err != nil {
		return nil, err
	}
	return s, nil
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { authv1.RegisterAuthServer(r, server{s: s}) }

// Run keeps the service's picture of keys and revocations until ctx ends, and
// returns nil then. NATS out of reach is waited for. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	for {
		records, err := openStore(ctx, s.opts.Bus)
		var key []byte
		if err == nil {
			key, err = s.opts.Bus.Secret(ctx, "refresh")
		}
		if err == nil {
			s.refreshKey.Store(&key)
			s.records.Store(records)
			break
		}
		if !run.Sleep(ctx, retryPause) {
			return nil
		}
		s.log.Warn("opening the buckets again", "error", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.keys.run(ctx) })
	wg.Go(func() { _ = s.revocations.Run(ctx) }) // nil, always
	wg.Go(func() { _ = s.issuers.Run(ctx) })     // nil, always
	wg.Go(func() {
		_ = s.opts.Bus.WatchKeys(ctx, func(set map[string][]byte) { // nil, always
			keys, err := token.ParsePublicKeys(set)
			if err != nil {
				s.log.Error("passed over public keys", "error", err)
			}
			s.verifier.SetKeys(keys)
		})
	})
	wg.Wait()
	return nil
}

// Ready is nil when the service can answer; otherwise it says what is missing.
func (s *Service) Ready(context.Context) error {
	if _, err := s.ready(); err != nil {
		return err
	}
	if !s.opts.Bus.Connected() {
		return errors.New("no connection to NATS")
	}
	return nil
}

// ready gives the records once all else is there too.
func (s *Service) ready() (*store, error) {
	missing := func(what string) (*store, error) {
		return nil, errs.Missing("the sign-in service", errors.New("it has not read "+what+" yet"))
	}
	records := s.records.Load()
	if records == nil {
		return missing("its buckets")
	}
	signer := s.keys.current.Load()
	if signer == nil {
		return missing("the signing key")
	}
	if !s.verifier.Has(signer.KeyID()) {
		return missing("the public keys")
	}
	select {
	case <-s.revocations.Ready():
		return records, nil
	default:
		return missing("the revocations")
	}
}
