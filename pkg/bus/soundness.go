package bus

import (
	"context"
	"fmt"
	"time"
)

// What is told and borne with: there is nothing better that a process could do
// about a full disk of NATS or a wrong clock than to say so, and to go on with
// what goes on.

const (
	// clockTolerance is how wrong a clock may be until somebody is told. Tokens
	// are refused from 5 s on (token.Leeway).
	clockTolerance = 2 * time.Second
	// clockPatience is the longest round trip that a clock is read in.
	clockPatience = time.Second
	// refusedFor is how long it is told that the log took no message, for none
	// may be sent that would show that it does again.
	refusedFor = time.Minute
)

// refusal is why the log took no messages, and when; it is not changed.
type refusal struct {
	since, last time.Time
	why         error
}

// RefusedError says since when the log takes no messages, and why not.
type RefusedError struct {
	When time.Time
	Why  error
}

func (e *RefusedError) Error() string { return "the log takes no messages: " + e.Why.Error() }
func (e *RefusedError) Unwrap() error { return e.Why }

// Since is when the first was refused.
func (e *RefusedError) Since() time.Time { return e.When }

// refuse notes that a publish was given up.
func (p *publisher) refuse(why error) {
	now := time.Now()
	r := &refusal{since: now, last: now, why: why}
	if before := p.refused.Load(); before != nil {
		r.since = before.since
	}
	p.refused.Store(r)
	// While one shard has no leader and others have, this changes with each message.
	p.complain.Do(func() {
		p.complained.Store(true)
		p.b.log.Warn("the log takes no messages", "error", why)
	})
}

// taken notes that one was acknowledged.
func (p *publisher) taken() {
	if p.refused.Load() != nil && p.refused.Swap(nil) != nil && p.complained.Swap(false) {
		p.b.log.Info("the log takes messages again")
	}
}

// CheckLog says whether the log does its work: an error where it has taken no
// message of this process lately (a *RefusedError), or does not answer though
// NATS is in reach. It asks nobody; a process with Options.Meter has looked
// within the last 10 s.
func (b *Bus) CheckLog(context.Context) error {
	if r := b.publisher.refused.Load(); r != nil && time.Since(r.last) < refusedFor {
		return &RefusedError{r.since, r.why}
	}
	if why := b.silence.Load(); why != nil && b.Connected() {
		return *why
	}
	return nil
}

// CheckClock is an error where this process's clock and that of the NATS node
// which leads the log are apart. It asks nobody, as CheckLog.
func (b *Bus) CheckClock(context.Context) error {
	if off := time.Duration(b.clock.Load()); off.Abs() > clockTolerance {
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		return fmt.Errorf("this process's clock is %s %s that of NATS", off.Abs().Round(100*time.Millisecond), way)
	}
	return nil
}

// look asks the leader of the log's first stream for a sign of life, which
// tells what time it is there.
func (b *Bus) look(ctx context.Context) {
	asked, cancel := withTimeout(ctx)
	defer cancel()
	var answer struct {
		Time time.Time `json:"ts"`
	}
	began := time.Now()
	err := b.api(asked, "STREAM.INFO."+streamLog(0), nil, &answer)
	took := time.Since(began)
	switch {
	case ctx.Err() != nil: // this process ends
	case err != nil:
		err = fmt.Errorf("the log does not answer: no leader, or JetStream is off in NATS: %w", err)
		if b.silence.Swap(&err) == nil {
			b.log.Warn("the log does not answer", "error", err)
		}
	default:
		if b.silence.Swap(nil) != nil {
			b.log.Info("the log answers again")
		}
		// An answer without a time is that there is no stream yet.
		if !answer.Time.IsZero() && took < clockPatience {
			b.noteClock(began.Add(took / 2).Sub(answer.Time))
		}
	}
}

// noteClock takes in how far this process's clock is ahead.
func (b *Bus) noteClock(off time.Duration) {
	before := b.CheckClock(context.Background())
	b.clock.Store(int64(off))
	now := b.CheckClock(context.Background())
	switch {
	case now != nil && before == nil:
		b.log.Warn("a clock is wrong, here or at NATS", "ahead", off.Round(time.Millisecond), "error", now)
	case now == nil && before != nil:
		b.log.Info("the clocks agree again", "ahead", off.Round(time.Millisecond))
	}
}
