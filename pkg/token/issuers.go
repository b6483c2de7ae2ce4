package token

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.yaml.in/yaml/v4"

	"github.com/parley-im/parley/pkg/errs"
)

const (
	// keysEvery is how often the keys of an issuer are read, and keysAgain how
	// soon after an attempt there may be another: because that failed, or a
	// token names a key that is unknown. So strangers with made-up tokens cost
	// an issuer a request in 10 s, and a new key is refused for no longer.
	keysEvery = 10 * time.Minute
	keysAgain = 10 * time.Second
	// keysStale is how long keys are good while they cannot be read anew.
	keysStale = 24 * time.Hour
	// fetchTimeout bounds one attempt, and maxDocument what it brings.
	fetchTimeout = 5 * time.Second
	maxDocument  = 256 << 10
	// maxIssuers bounds how many there may be.
	maxIssuers = 100
)

// IssuersOptions is what all issuers need.
type IssuersOptions struct {
	// Insecure allows keys to come over http from any host, in development.
	Insecure bool
	// Client makes the requests; nil is one that follows no redirects.
	Client *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger hears of keys that are out of reach; nil discards.
	Logger *slog.Logger
	// Meter records parley.token.issuer.*; nil records nothing.
	Meter metric.Meter
}

func (o *IssuersOptions) complete() {
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // to wherever; the operator names the right URL
		}}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
}

// Issuers are the others whose tokens are welcome. Its methods may be called by
// many goroutines at once.
type Issuers struct {
	byIss map[string]*issuer
}

// NewIssuers makes them; Run reads their keys. Errors name the issuer.
func NewIssuers(list []IssuerOptions, o IssuersOptions) (*Issuers, error) {
	o.complete()
	all := &Issuers{byIss: make(map[string]*issuer, len(list))}
	if err := checkIssuers(list, o.Insecure); err != nil {
		return nil, err
	}
	fetches, err := o.Meter.Int64Counter("parley.token.issuer.fetches",
		metric.WithDescription("Attempts to read an issuer's keys, by issuer and outcome."))
	if err != nil {
		return nil, err
	}
	age, err := o.Meter.Float64ObservableGauge("parley.token.issuer.age", metric.WithUnit("s"),
		metric.WithDescription("How long ago an issuer's keys were read; after a day without, its tokens are refused."))
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		_ = one.check(o.Insecure) // completes it; it is good
		all.byIss[one.Issuer] = &issuer{
			IssuerOptions: one, client: o.Client, now: o.Now, log: o.Logger.With("issuer", one.Name), fetches: fetches,
		}
	}
	_, err = o.Meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, i := range all.byIss {
			if k := i.keys.Load(); k != nil {
				to.ObserveFloat64(age, i.now().Sub(k.read).Seconds(), metric.WithAttributes(attribute.String("issuer", i.Name)))
			}
		}
		return nil
	}, age)
	return all, err
}

func checkIssuers(list []IssuerOptions, insecure bool) error {
	if len(list) > maxIssuers {
		return fmt.Errorf("more than %d issuers", maxIssuers)
	}
	names, isses, prefixes := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for n, one := range list {
		err := one.check(insecure)
		switch {
		case err != nil:
		case names[one.Name]:
			err = errors.New("name: another issuer has it")
		case isses[one.Issuer]:
			err = errors.New("issuer: another one is the same")
		case prefixes[*one.Prefix]:
			err = errors.New("prefix: another issuer has it")
		}
		if err != nil {
			return fmt.Errorf("issuer %d (%q): %w", n+1, one.Name, err)
		}
		names[one.Name], isses[one.Issuer], prefixes[*one.Prefix] = true, true, true
	}
	return nil
}

// ParseIssuers reads a YAML file of issuers, and says what is wrong with it:
//
//	issuers:
//	  - name: corp                      # ids of its users begin with "corp:"
//	    issuer: https://id.example.com  # iss, character for character
//	    jwks: https://id.example.com/.well-known/jwks.json
//	    audience: [parley]
//	    claims: {id: sub, name: preferred_username, roles: realm_access.roles}
//	    roles: {chat-admins: admin}     # theirs: ours
func ParseIssuers(file []byte, insecure bool) ([]IssuerOptions, error) {
	var document struct {
		Issuers []IssuerOptions `yaml:"issuers"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return document.Issuers, checkIssuers(document.Issuers, insecure)
}

// Run keeps the keys of all issuers until ctx ends; then it returns nil.
func (all *Issuers) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, i := range all.byIss {
		wg.Go(func() { i.run(ctx) })
	}
	wg.Wait()
	return nil
}

// issuer is one of them, with its keys.
type issuer struct {
	IssuerOptions
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	fetches metric.Int64Counter

	keys  atomic.Pointer[keySet]
	tried atomic.Int64 // when an attempt ended last, Unix nanoseconds
	// reading is held during an attempt.
	reading sync.Mutex
}

// keySet is what an issuer published at a time.
type keySet struct {
	read time.Time
	keys map[keyName]crypto.PublicKey
}

// run reads the keys again and again.
func (i *issuer) run(ctx context.Context) {
	for {
		i.attempt(ctx)
		pause := keysEvery
		if k := i.keys.Load(); k == nil || i.now().Sub(k.read) >= keysEvery {
			pause = keysAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// key finds the key of a token. It takes up to 5 s where the key is unknown
// and none was looked for in the last 10.
func (i *issuer) key(name keyName) (crypto.PublicKey, error) {
	if len(name.kid) > maxKeyID {
		return nil, errors.New("the header names no key")
	}
	known := i.keys.Load()
	if key, ok := known.find(name, i.now()); ok {
		return key, nil
	}
	if i.now().UnixNano()-i.tried.Load() >= int64(keysAgain) {
		i.reading.Lock()
		// Whoever had to wait for another's attempt has its result.
		if i.now().UnixNano()-i.tried.Load() >= int64(keysAgain) {
			i.fetch(context.Background())
		}
		i.reading.Unlock()
		known = i.keys.Load()
	}
	if key, ok := known.find(name, i.now()); ok {
		return key, nil
	}
	if known.stale(i.now()) {
		return nil, &errs.Error{Code: errs.Unavailable, RetryAfter: keysAgain,
			Message: "the keys of the token's issuer are out of reach, try again"}
	}
	return nil, errors.New("the header names an unknown key")
}

func (k *keySet) stale(now time.Time) bool { return k == nil || now.Sub(k.read) > keysStale }

func (k *keySet) find(name keyName, now time.Time) (crypto.PublicKey, bool) {
	if k.stale(now) {
		return nil, false
	}
	key, ok := k.keys[name]
	return key, ok
}

func (i *issuer) attempt(ctx context.Context) {
	i.reading.Lock()
	defer i.reading.Unlock()
	i.fetch(ctx)
}

// fetch reads the keys once; i.reading is held. What the issuer does not
// publish any more is not good any more.
func (i *issuer) fetch(ctx context.Context) {
	document, err := i.download(ctx)
	var keys map[keyName]crypto.PublicKey
	if err == nil {
		keys, err = parseJWKS(document)
		if err == nil && len(keys) == 0 {
			err = errors.New("there is none that we can use")
		}
	}
	defer func() { i.tried.Store(i.now().UnixNano()) }()
	outcome := "ok"
	if err != nil && ctx.Err() == nil {
		outcome = "failed"
		i.log.Warn("reading the keys of an issuer", "url", i.JWKS, "error", err)
	}
	i.fetches.Add(ctx, 1, metric.WithAttributes(attribute.String("issuer", i.Name), attribute.String("outcome", outcome)))
	if len(keys) > 0 {
		i.keys.Store(&keySet{read: i.now(), keys: keys})
	}
}

func (i *issuer) download(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.JWKS, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := i.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err == nil && len(document) > maxDocument {
		err = fmt.Errorf("the answer is larger than %d bytes", maxDocument)
	}
	return document, err
}
