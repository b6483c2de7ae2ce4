package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// Options says what to check and how hard.
type Options struct {
	// URLs are the gateways' base addresses, like http://127.0.0.1:8080. At
	// least one; a client that comes back prefers another than it had.
	URLs []string
	// Rooms are spoken in; default 10. They are made for the run and have
	// names that no other run has.
	Rooms int
	// Writers are the clients that send, spread over the rooms; default twice
	// the rooms. Each is a member of the rooms it writes to, so it is checked
	// as a reader of them too.
	Writers int
	// Readers is how many clients follow each room without writing; default 2.
	Readers int
	// Rate is messages per second of all writers together; default 200.
	Rate float64
	// Duration is how long messages are sent; default 30 s. The end of the run
	// comes after that: what is under way arrives, and the log is read.
	Duration time.Duration
	// Seed decides on everything random but the run's name; 0 is a new one.
	Seed uint64

	// Secret signs tokens (HS256) for the clients. Without it they register,
	// with Password, and sign in over /api/auth.
	Secret []byte
	// Password is what the clients' accounts have; a random one by default.
	Password string

	// Retention is how many messages the deployment keeps of each room; default
	// 1000. What it has dropped is not missed.
	Retention int
	// Window is the deployment's deduplication window; default 2 minutes. A
	// message is sent again only while it is certain to be recognised.
	Window time.Duration
	// Patience is how long what is under way may take to arrive when the
	// sending is over; default 60 s.
	Patience time.Duration

	// During is called, by the goroutine that called Run, while messages are
	// being sent; its context ends after Duration. It may break things, and
	// must have mended them when it returns.
	During func(context.Context, *Control) error
	// Progress gets a line every few seconds; nil gets none.
	Progress io.Writer
}

func (o *Options) complete() error {
	if len(o.URLs) == 0 {
		return errors.New("url: is missing: the address of a gateway, like http://127.0.0.1:8080")
	}
	for i, raw := range o.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("url: %q is not like http://127.0.0.1:8080", raw)
		}
		o.URLs[i] = strings.TrimSuffix(raw, "/")
	}
	setDefault(&o.Rooms, 10)
	setDefault(&o.Writers, 2*o.Rooms)
	setDefault(&o.Readers, 2)
	setDefault(&o.Rate, 200)
	setDefault(&o.Duration, 30*time.Second)
	setDefault(&o.Retention, 1000)
	setDefault(&o.Window, 2*time.Minute)
	setDefault(&o.Patience, time.Minute)
	for o.Seed == 0 {
		o.Seed = rand.Uint64() >> 1 // fits where numbers have a sign
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	switch {
	case o.Rooms < 0 || o.Rooms > 10_000:
		return fmt.Errorf("rooms: %d is not between 1 and 10000", o.Rooms)
	case o.Writers < 0 || o.Writers > maxWriters:
		return fmt.Errorf("writers: %d is not between 1 and %d", o.Writers, maxWriters)
	case o.Readers < 0 || o.Readers > 1000:
		return fmt.Errorf("readers: %d is not between 0 and 1000", o.Readers)
	case o.Rate < 0 || o.Duration < 0 || o.Retention < 0 || o.Window < 0 || o.Patience < 0:
		return errors.New("rate, duration, retention, window and patience cannot be negative")
	case o.Window <= windowMargin:
		return fmt.Errorf("window: %v is not longer than %v", o.Window, windowMargin)
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
