package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// DefaultGrace is the grace period of [Parts] that set none. Kubernetes kills a container after 30 s.
const DefaultGrace = 25 * time.Second

// Parts runs parts that need one another, such as an embedded NATS server, the services that use it and the gateway
// that uses those: each is started before, and stopped after, the parts that were added later.
//
// Starting does not wait: a part that others cannot do without (a listener, a server) is to be made ready before it is
// added. To stop, the context of the newest part is ended, and only when that part has returned, that of the one before
// it. What keeps a part running must therefore not be the end of an older one.
//
// The zero value is ready for use; it is used by one goroutine.
type Parts struct {
	// Grace bounds the stopping of all parts together. 0 means DefaultGrace. When all but a last piece of it (a quarter,
	// 2 s at most) has passed, the parts still running are told to stop all at once.
	Grace time.Duration
	// Logger gets a line at debug level for each part started and stopped. Nil discards it.
	Logger *slog.Logger

	parts []*part
}

type part struct {
	name   string
	run    func(ctx context.Context) error
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
	err    error         // why it returned, if that is a failure; read after done
}

// Add adds a part, to be started by Run. The values of Run's context are passed on to it, its end is not.
func (p *Parts) Add(name string, f func(ctx context.Context) error) {
	p.parts = append(p.parts, &part{name: name, run: f, done: make(chan struct{})})
}

// ErrReturned is the failure of a part that returned nil before it was told to stop.
var ErrReturned = errors.New("ended before it was told to")

// Run starts all parts and waits until ctx ends or a part returns; it then stops all of them, as described at [Parts],
// and returns once they have ended. It is to be called once.
//
// The error joins, the first failure first: what the parts returned, each with its name; ErrReturned; and an error for
// each part that was still running at the end of the grace period, which is left behind. It is nil when ctx ended and
// all went well.
func (p *Parts) Run(ctx context.Context) error {
	log := p.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	returned := make(chan *part, len(p.parts))
	for _, part := range p.parts {
		log.Debug("part starts", "part", part.name)
		part.start(context.WithoutCancel(ctx), returned)
	}

	var first *part
	select {
	case <-ctx.Done():
	case first = <-returned:
	}
	p.stop(log)

	var errs []error
	if first != nil {
		if first.err == nil && ctx.Err() == nil {
			first.err = ErrReturned
		}
		errs = append(errs, first.failure())
	}
	for _, part := range slices.Backward(p.parts) {
		if part != first {
			errs = append(errs, part.failure())
		}
	}
	return errors.Join(errs...)
}

func (t *part) start(ctx context.Context, returned chan<- *part) {
	ctx, t.cancel = context.WithCancel(ctx)
	go func() {
		defer func() {
			close(t.done)
			returned <- t // has room for every part
		}()
		if err := guard(ctx, t.run); ctx.Err() == nil || !ended(ctx, err) {
			t.err = err
		}
	}()
}

// stop ends the parts, the newest first.
func (p *Parts) stop(log *slog.Logger) {
	grace := p.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	last, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	urgent, cancel := context.WithTimeout(last, grace-min(grace/4, 2*time.Second))
	defer cancel()
	for _, part := range slices.Backward(p.parts) {
		part.cancel()
		select {
		case <-part.done:
		case <-urgent.Done():
			for _, older := range p.parts {
				older.cancel()
			}
			select {
			case <-part.done:
			case <-last.Done():
			}
		}
		log.Debug("part stopped", "part", part.name, "returned", part.returned())
	}
}

func (t *part) returned() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// errStuck is the failure of a part that did not return in time.
var errStuck = errors.New("still running at the end of the grace period")

func (t *part) failure() error {
	err := errStuck
	if t.returned() {
		err = t.err
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", t.name, err)
}
