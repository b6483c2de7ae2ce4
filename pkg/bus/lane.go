package bus

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/errs"
)

type lane struct {
	mu       sync.Mutex
	order    []*pending // oldest first; holds finished ones until they are swept
	finished int        // of those in order
	unsent   []*pending // those of order that the window holds back
	byToken  map[uint64]*pending
	next     uint64
	// broken since then, and nothing is sent; zero otherwise.
	broken time.Time
	why    error // that it was broken the last time; nil before
	// proven: since the connection began, and since the log last refused something,
	// it has answered or was silent for ackTimeout. Before that one publish at a
	// time asks; it is the trial.
	proven bool
	trial  *pending
	tried  time.Time // when the first trial was sent; zero where none waits
}

type pending struct {
	msg      *nats.Msg
	done     func(worker int, ack Ack, err error)
	token    uint64
	deadline time.Time
	sent     time.Time
	attempts int
	finished bool
}

const (
	// ackTimeout is how long a sent publish may stay without an answer before
	// it is sent again. A healthy log answers within milliseconds.
	ackTimeout = 1500 * time.Millisecond
	// resendPause is between finding a lane broken and sending again; an
	// election takes some hundred milliseconds.
	resendPause = 100 * time.Millisecond
)

// Why a lane is broken, besides what NATS says.
var (
	errCut      = errors.New("the connection to NATS was cut")
	errNoAnswer = errors.New("no answer: its node hangs, or could not write to its disk")
)

// fail takes the lane off the straight way; l.mu is held. reached is whether
// somebody took the publish in, as far as is known.
func (l *lane) fail(why error, reached bool) {
	if l.broken.IsZero() {
		l.broken, l.proven = time.Now(), reached
	}
	// What is refused counts more than what was taken in before.
	l.proven = l.proven && reached
	l.why, l.trial, l.tried = why, nil, time.Time{}
}

// doubt has everything unacknowledged sent again.
func (p *publisher) doubt() {
	for i := range p.lanes {
		l := &p.lanes[i]
		l.mu.Lock()
		l.proven = false
		if len(l.byToken) > 0 {
			l.fail(errCut, false)
		}
		l.mu.Unlock()
	}
}

// again sends all that waits for an answer, or for a trial, or the first of
// these as the trial; l.mu is held.
func (p *publisher) again(l *lane) {
	if p.ctx.Err() != nil {
		return
	}
	l.broken, l.unsent = time.Time{}, nil
	for _, q := range l.order {
		if q.finished {
			continue
		}
		if q.attempts > 0 {
			p.retried.Add(1)
		}
		if !l.proven {
			p.try(l, q)
			return
		}
		if p.send(l, q); !l.broken.IsZero() {
			return // the connection is gone again
		}
	}
}

// try sends a publish as the trial; l.mu is held.
func (p *publisher) try(l *lane, q *pending) {
	l.trial = q
	if l.tried.IsZero() {
		l.tried = time.Now()
	}
	p.send(l, q)
}

// finish takes a publish out of its lane; l.mu is held.
func (p *publisher) finish(l *lane, q *pending) {
	q.finished = true
	delete(l.byToken, q.token)
	p.inFlight.Add(-1)
	l.finished++
	if q == l.trial {
		l.trial = nil
	}
	switch {
	case len(l.byToken) == 0:
		// Lets the array go that a burst has grown.
		l.order, l.finished, l.broken, l.tried = nil, 0, time.Time{}, time.Time{}
	case l.finished > len(l.order)/2:
		// One that is not answered must not keep all that came after it.
		l.order = slices.DeleteFunc(l.order, func(q *pending) bool { return q.finished })
		l.finished = 0
	}
}

// tend looks after a lane: publishes whose time is over, answers that do not
// come, and what is to be sent again.
func (p *publisher) tend(l *lane, now time.Time) {
	var over []*pending
	l.mu.Lock()
	if len(l.order) == 0 {
		l.mu.Unlock()
		return
	}
	// Trials are given up one after the other where each is near its deadline, so
	// how long the log has been silent to them is counted from the first.
	silent := !l.proven && !l.tried.IsZero() && now.Sub(l.tried) > ackTimeout
	for _, q := range l.order {
		switch {
		case q.finished:
		case now.After(q.deadline):
			over = append(over, q)
		case l.proven && q.attempts > 0 && now.Sub(q.sent) > ackTimeout:
			silent = true
		}
	}
	if silent && l.broken.IsZero() {
		l.fail(errNoAnswer, p.b.Connected())
	}
	why := l.why
	if why == nil || l.proven && l.broken.IsZero() {
		why = errNoAnswer
	}
	for _, q := range over {
		p.finish(l, q)
	}
	// Not proven, and no trial: the last one was given up.
	waits := !l.broken.IsZero() || !l.proven && l.trial == nil
	if waits && now.Sub(l.broken) >= resendPause && p.b.Connected() {
		p.again(l)
	}
	l.mu.Unlock()
	for _, q := range over {
		p.failed.Add(1)
		p.refuse(why)
		q.done(-1, Ack{}, errs.Missing("the log", why))
	}
}
