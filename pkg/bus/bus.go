package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/parley-im/parley/pkg/nowait"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/pkg/secret"
)

// Options says how to reach NATS and what the deployment is to be like.
type Options struct {
	// URL is one or more NATS addresses separated by commas. Needed unless
	// InProcess is given.
	URL string
	// InProcess is a NATS server in this process (package embedded).
	InProcess interface{ InProcessConn() (net.Conn, error) }
	// Name is what NATS's own monitoring calls this connection.
	Name string

	// User and Password, or CredentialsFile, or NKeyFile sign in to NATS. A
	// connection within the process needs none.
	User, Password            string
	CredentialsFile, NKeyFile string
	// TLSCAFile, TLSCertFile and TLSKeyFile secure the connection; a tls://
	// URL without them uses the machine's own authorities.
	TLSCAFile, TLSCertFile, TLSKeyFile string

	// Shards is the number of streams the log is spread over. 0 takes what the
	// deployment has; a new deployment gets NewShards then.
	Shards int
	// NewShards is what a new deployment gets when Shards is 0; default 1.
	NewShards int
	// Replicas is how many NATS nodes keep each record and message, 1 (default)
	// to 5. JetStream wants an odd number in a cluster of at least as many.
	Replicas int

	// Synced declares that every NATS server forces what it writes to disk
	// before it acknowledges it (sync_interval: always). NATS does not tell its
	// clients; without it Durability promises less.
	Synced bool

	// PublishTimeout is how long a publish is tried in all; default 5 s.
	PublishTimeout time.Duration
	// MaxInFlight is how many publishes may wait for their acknowledgement;
	// default 8192. More are refused as unavailable.
	MaxInFlight int

	// PublishWindow is how long publishes may be held back to be sent together
	// with others. The first after a pause of that length is sent at once.
	// Default 0: none is held back.
	PublishWindow time.Duration

	// Logger gets one line per change of the connection; nil discards.
	Logger *slog.Logger
	// Meter records what bus/metrics.go lists; nil records nothing.
	Meter metric.Meter
	// Traces makes publishes part of the traces they belong to; nil traces nothing.
	Traces trace.TracerProvider
}

func (o *Options) complete() error {
	if o.URL == "" && o.InProcess == nil {
		return errors.New("nats-url: is missing: the address of a NATS server with JetStream, like nats://127.0.0.1:4222")
	}
	if o.Shards < 0 || o.Shards > maxShards {
		return fmt.Errorf("shards: %d is not between 1 and 1024 (or 0 for the deployment's own)", o.Shards)
	}
	if o.Replicas < 0 || o.Replicas > 5 {
		return fmt.Errorf("replicas: %d is not between 1 and 5", o.Replicas)
	}
	if o.InProcess == nil {
		if err := o.Validate(); err != nil {
			return err
		}
	}
	if o.NewShards == 0 {
		o.NewShards = 1
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 5 * time.Second
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 8192
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return nil
}

// Bus is one connection to NATS and all that Parley does over it. Its methods
// may be called by many goroutines at once.
type Bus struct {
	opts       Options
	log        *slog.Logger
	nc         *nats.Conn
	js         jetstream.JetStream
	deployment Deployment
	publisher  *publisher
	tracer     trace.Tracer               // nil where nothing is traced
	complain   rate.Sometimes             // about what NATS says against us
	strange    rate.Sometimes             // the same of what is not ours
	durability atomic.Pointer[Durability] // nil until the log's streams were seen

	feeds   atomic.Int64          // made so far
	dropped atomic.Uint64         // messages that a full queue of ours made nats.go drop
	foreign atomic.Int64          // that are not ours
	clock   atomic.Int64          // nanoseconds that ours is ahead of NATS's, when it was last read
	silence atomic.Pointer[error] // why the log did not answer when it was last looked at

	roundTrip metric.Float64Histogram

	mu        sync.Mutex
	outage    LostError          // zero while the connection stands
	reconnect []func()           // run after each reconnect
	hearing   map[*Feed]struct{} // feeds that are not closed
	closed    chan struct{}
}

// Connect reaches NATS and reads, or makes, the deployment's record. It tries
// until ctx ends, for processes may start in any order; wrong options and a
// deployment that differs from them are errors at once.
func Connect(ctx context.Context, opts Options) (*Bus, error) {
	measured := opts.Meter != nil // else nobody would see the round trips
	if err := opts.complete(); err != nil {
		return nil, err
	}
	b := &Bus{
		opts:     opts,
		log:      opts.Logger,
		hearing:  make(map[*Feed]struct{}),
		closed:   make(chan struct{}),
		complain: rate.Sometimes{Interval: time.Second},
		strange:  rate.Sometimes{Interval: time.Second},
	}
	if opts.Traces != nil {
		b.tracer = opts.Traces.Tracer("parley/bus")
	}
	if err := b.dial(ctx); err != nil {
		return nil, err
	}
	if err := b.readDeployment(ctx); err != nil {
		b.Close()
		return nil, err
	}
	var err error
	if b.publisher, err = newPublisher(b); err != nil {
		b.Close()
		return nil, err
	}
	if err := b.observe(opts.Meter); err != nil {
		b.Close()
		return nil, err
	}
	if measured {
		b.publisher.wg.Go(func() { b.measure(b.publisher.ctx) })
	}
	return b, nil
}

func (b *Bus) dial(ctx context.Context) error {
	options, err := b.natsOptions()
	if err != nil {
		return err
	}
	url := b.opts.URL
	if url == "" {
		url = nats.DefaultURL // not used by an in-process connection
	}
	const pause = 500 * time.Millisecond
	for told := false; ; {
		b.nc, err = nats.Connect(url, options...)
		if err == nil {
			break
		}
		if final := b.opts.unmendable(err); final != nil {
			return fmt.Errorf("connecting to NATS at %s: %w", url, final)
		}
		if !told {
			b.log.Warn("waiting for NATS", "url", url, "error", err)
			told = true
		}
		if !run.Sleep(ctx, pause) {
			return fmt.Errorf("connecting to NATS at %s: %w (last: %w)", url, ctx.Err(), err)
		}
	}
	// Without a default timeout a JetStream call whose context has no deadline
	// would wait for ever.
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(5*time.Second)); err != nil {
		b.nc.Close()
		return fmt.Errorf("opening JetStream: %w", err)
	}
	return nil
}

// connectTimeout bounds how long one address of NATS may take to answer.
const connectTimeout = 2 * time.Second

func (b *Bus) natsOptions() ([]nats.Option, error) {
	o := b.opts
	options := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		// An answer of the log is one page, or a tail for each of 1024 rooms, and
		// its end. The default makes a queue of 512 KiB for each read.
		nats.SyncQueueLen(2 * MaxPage),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 500*time.Millisecond),
		nats.Timeout(connectTimeout),
		nats.SetCustomDialer(&nowait.Dialer{Dialer: net.Dialer{Timeout: connectTimeout}}),
		// A NATS that hangs is left after 3 to 6 s, well within a publish's
		// deadline plus one retry.
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		// What cannot be sent fails at once: the publisher retries by itself
		// and knows the order, and a late heartbeat is worth nothing.
		nats.ReconnectBufSize(-1),
		// A message may hold 16 KiB of content and as much data; each queue
		// between nats.go and us is a channel with a bound of its own.
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.mu.Lock()
			b.outage = LostError{time.Now(), err}
			b.mu.Unlock()
			if err != nil {
				b.log.Warn("lost NATS", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			b.mu.Lock()
			b.outage.Why = err
			b.mu.Unlock()
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info("found NATS again", "server", nc.ConnectedServerName())
			b.mu.Lock()
			b.outage = LostError{}
			listeners := append([]func(){}, b.reconnect...)
			b.mu.Unlock()
			for _, f := range listeners {
				f()
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
				b.dropped.Add(1)
				b.lost(sub.Subject)
				return
			}
			b.complain.Do(func() { b.log.Warn("NATS", "error", err) })
		}),
		// A password that NATS has learned before us, or a certificate that comes
		// late, ends no process: credentials are read anew for each attempt.
		nats.IgnoreAuthErrorAbort(),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
	}
	if o.InProcess != nil {
		return append(options, nats.InProcessServer(o.InProcess)), nil
	}
	signIn, err := o.signIn()
	return append(options, signIn...), err
}

// Close ends the connection. What was published and not acknowledged fails
// with unavailable. Nothing that PublishAsync was given is called after Close
// has returned, and none of it may call Close.
func (b *Bus) Close() {
	if b.publisher != nil {
		b.publisher.close()
	}
	b.nc.Close()
	<-b.closed
}

// OnReconnect has f called after every reconnect, by a goroutine of nats.go
// that must not be held up.
func (b *Bus) OnReconnect(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reconnect = append(b.reconnect, f)
}

// LostError says since when NATS is out of reach, and why the last attempt to
// find it again has failed.
type LostError struct {
	When time.Time
	Why  error // nil where nothing is known
}

func (e *LostError) Error() string {
	text := "NATS is out of reach"
	if e.Why != nil {
		text += ": " + secret.Untyped(e.Why) // of a certificate's file that has changed, perhaps
	}
	return text
}

func (e *LostError) Unwrap() error { return e.Why }

// Since is when it was lost.
func (e *LostError) Since() time.Time { return e.When }

// Check says whether NATS is in reach now; it is what a readiness check asks.
// Where the connection is lost the error is a *LostError.
func (b *Bus) Check(ctx context.Context) error {
	if status := b.nc.Status(); status != nats.CONNECTED {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.outage.When.IsZero() {
			return fmt.Errorf("NATS is %s", status)
		}
		lost := b.outage
		// Of a NATS that answers and refuses us, ReconnectErrHandler is told nothing.
		if err := b.nc.LastError(); err != nil {
			lost.Why = err
		}
		return &lost
	}
	if err := b.Flush(ctx); err != nil {
		return fmt.Errorf("asking NATS: %w", err)
	}
	return nil
}

// Connected says whether the connection stands, without asking the server.
func (b *Bus) Connected() bool { return b.nc.Status() == nats.CONNECTED }

// Flush waits until the server has taken in all that was sent before.
func (b *Bus) Flush(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	return b.nc.FlushWithContext(ctx)
}

// Drained waits until no publish is waiting for its acknowledgement.
func (b *Bus) Drained(ctx context.Context) error { return b.publisher.drained(ctx) }
