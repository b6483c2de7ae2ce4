// Package hook asks a service of the operator's own (proto/hook/v1) whether
// something may happen. It owns what is to be done while that does not answer:
// the deadline of a question, how many are asked at once, when the service is
// left alone, and what is decided without it.
//
// It must not know what is asked about; that is package session's.
package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
)

// Event is what a hook is asked about.
type Event int

// The events, in the order of eventNames.
const (
	Connect Event = iota
	Join
	Publish
	events
)

var eventNames = [events]string{"connect", "join", "publish"}

func (e Event) String() string { return eventNames[e] }

// Names are the events as settings call them.
func Names() []string { return slices.Clone(eventNames[:]) }

// Policy says what is asked, and what is decided without an answer.
type Policy struct {
	asks, allows [events]bool
}

// ParsePolicy reads the settings: events are those that are asked about, and
// onFailure has "allow" or "refuse" for all, or for one as "publish=allow";
// what it does not name is refused. Errors name the setting.
func ParsePolicy(asked, onFailure []string) (p Policy, err error) {
	for _, name := range asked {
		i := slices.Index(eventNames[:], name)
		if i < 0 {
			return p, fmt.Errorf("hook-events: %q is none of %s", name, strings.Join(eventNames[:], ", "))
		}
		p.asks[i] = true
	}
	for _, choice := range onFailure {
		name, what, one := strings.Cut(choice, "=")
		if !one {
			name, what = "", name
		}
		i := slices.Index(eventNames[:], name)
		if one && i < 0 || what != "allow" && what != "refuse" {
			return p, fmt.Errorf("hook-on-failure: %q is neither allow nor refuse, nor one of these for an event like publish=allow", choice)
		}
		for e := range p.allows {
			if !one || e == i {
				p.allows[e] = what == "allow"
			}
		}
	}
	return p, nil
}

// Options of a Hook.
type Options struct {
	// Client reaches the service; needed.
	Client hookv1.HookClient
	Policy Policy
	// Timeout bounds a question with all that it waits for; default 500 ms.
	Timeout time.Duration
	// AtOnce is how many questions are asked at the same time, others wait;
	// default 256.
	AtOnce int
	// LeftAlone is for how long the service is not asked after ten failures in
	// a row; default 5 s.
	LeftAlone time.Duration
	// Logger gets what goes wrong; nil discards.
	Logger *slog.Logger
	// Meter records parley.gateway.hook.*; nil records nothing.
	Meter metric.Meter
}

const failuresInRow = 10

// Hook asks. A nil Hook asks nothing. Its methods may be called by many
// goroutines at once.
type Hook struct {
	o        Options
	slots    chan struct{}
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	complain rate.Sometimes
	metrics  counters
}

// New makes a Hook.
func New(o Options) (*Hook, error) {
	if o.Timeout == 0 {
		o.Timeout = 500 * time.Millisecond
	}
	if o.AtOnce == 0 {
		o.AtOnce = 256
	}
	if o.LeftAlone == 0 {
		o.LeftAlone = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	h := &Hook{o: o, slots: make(chan struct{}, o.AtOnce), complain: rate.Sometimes{Interval: time.Second}}
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: o.LeftAlone,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failuresInRow },
		// A client that has gone says nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, errGone) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
				o.Logger.Warn("the hook does not answer and is left alone", "for", o.LeftAlone)
			case to == gobreaker.StateClosed:
				o.Logger.Info("the hook answers again")
			}
		},
	})
	return h, h.observe(o.Meter)
}

// Asks says whether an event is asked about.
func (h *Hook) Asks(e Event) bool { return h != nil && h.o.Policy.asks[e] }

// errGone: who has asked does not wait for the answer any more.
var errGone = errors.New("the client has gone")

// Connect asks whether a user may connect; nil leaves it as it is.
func (h *Hook) Connect(ctx context.Context, r *hookv1.ConnectRequest) (*hookv1.ConnectResponse, error) {
	return ask(ctx, h, Connect, h.o.Client.Connect, r)
}

// Join asks whether a user may join a room; nil leaves it as it is.
func (h *Hook) Join(ctx context.Context, r *hookv1.JoinRequest) (*hookv1.JoinResponse, error) {
	return ask(ctx, h, Join, h.o.Client.Join, r)
}

// Publish asks whether a user may say something; nil leaves it as it is.
func (h *Hook) Publish(ctx context.Context, r *hookv1.PublishRequest) (*hookv1.PublishResponse, error) {
	return ask(ctx, h, Publish, h.o.Client.Publish, r)
}

// answer is what all responses have.
type answer interface{ GetRefusal() *hookv1.Refusal }

// ask asks one question. Without an answer it gives what the policy says: the
// zero of A and no error, or unavailable.
func ask[Q any, A answer](ctx context.Context, h *Hook, event Event, call func(context.Context, Q, ...grpc.CallOption) (A, error), question Q) (A, error) {
	var none A
	response, err := try(ctx, h, call, question)
	switch {
	case err == nil:
		if refusal := response.GetRefusal(); refusal != nil {
			h.count(event, "refused")
			return none, refused(refusal)
		}
		h.count(event, "allowed")
		return response, nil
	case errors.Is(err, errGone):
		return none, errs.Missing("the hook", err)
	}
	h.complain.Do(func() {
		h.o.Logger.WarnContext(ctx, "the hook has not answered", "event", event.String(), "error", err)
	})
	if h.o.Policy.allows[event] {
		h.count(event, "failed-allowed")
		return none, nil
	}
	h.count(event, "failed-refused")
	return none, errs.Missing("the hook", err)
}

// try asks within the bounds. Errors: errGone, and why there is no answer.
func try[Q any, A answer](ctx context.Context, h *Hook, call func(context.Context, Q, ...grpc.CallOption) (A, error), question Q) (response A, err error) {
	asking, cancel := context.WithTimeout(ctx, h.o.Timeout)
	defer cancel()
	done, err := h.breaker.Allow()
	if err != nil {
		return response, err
	}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errGone
		}
		done(err)
	}()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-asking.Done():
		return response, fmt.Errorf("%d questions are waiting for an answer: %w", h.o.AtOnce, asking.Err())
	}
	return call(asking, question)
}

// refusals are the codes a refusal may have.
var refusals = []errs.Code{
	errs.Forbidden, errs.NotFound, errs.Banned, errs.Muted, errs.RateLimited, errs.TooLarge, errs.InvalidArgument, errs.Unavailable,
}

const maxMessage = 256 // characters

// refused makes what a client is told of a refusal.
func refused(r *hookv1.Refusal) *errs.Error {
	e := &errs.Error{Code: errs.Code(r.Code), Message: strings.ToValidUTF8(r.Message, "\uFFFD")}
	if !slices.Contains(refusals, e.Code) {
		e.Code = errs.Forbidden
	}
	if utf8.RuneCountInString(e.Message) > maxMessage {
		e.Message = string([]rune(e.Message)[:maxMessage])
	}
	if e.Message == "" {
		e.Message = "not allowed"
	}
	if r.RetryAfterMs > 0 {
		e.RetryAfter = time.Duration(min(r.RetryAfterMs, maxRetry.Milliseconds())) * time.Millisecond
	}
	return e
}

const maxRetry = 24 * time.Hour

// Bad is the error for an answer that cannot be followed: what the hook wants
// in place of the client's own breaks a rule. The client's own is not stored
// either, for the hook did not want it.
func (h *Hook) Bad(event Event, err error) error {
	h.count(event, "bad-answer")
	h.complain.Do(func() {
		h.o.Logger.Error("the hook's answer cannot be followed", "event", event.String(), "error", err)
	})
	return errs.Missing("the hook", fmt.Errorf("its answer cannot be followed: %w", err))
}
