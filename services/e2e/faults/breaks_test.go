package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/report"
)

// breaker breaks one thing of a cluster after another.
type breaker struct {
	*cluster
	control *check.Control
	rand    *rand.Rand
	ctx     context.Context // of the run
	crowd   *crowd
	outages []report.Outage
}

// fault breaks something, and mends it or begins to.
type fault struct {
	name string
	do   func(*breaker)
}

// faults are all kinds; those that are sparing end no process.
var (
	faults = slices.Concat(ending, sparing)
	ending = []fault{
		{"gateway killed", func(b *breaker) { b.kill(b.gateways[b.rand.IntN(gateways)]) }},
		{"gateways restarted in turn", (*breaker).roll},
		{"history killed", func(b *breaker) { b.kill(b.services[process.History]) }},
		{"registry killed", func(b *breaker) { b.kill(b.services[process.Registry]) }},
		{"auth killed", func(b *breaker) { b.kill(b.services[process.Auth]) }},
		{"presence killed", func(b *breaker) { b.kill(b.services[process.Presence]) }},
		{"nats node killed", func(b *breaker) { b.kill(b.nats[b.rand.IntN(nodes)]) }},
		{"nats leader killed", func(b *breaker) { b.kill(b.nats[b.leader()]) }},
	}
	sparing = []fault{
		{"gateway paused", func(b *breaker) { b.pause(b.gateways[b.rand.IntN(gateways)], b.seconds(2, 6)) }},
		{"nats node paused", func(b *breaker) { b.pause(b.nats[b.rand.IntN(nodes)], b.seconds(2, 8)) }},
		{"nats leader paused", func(b *breaker) { b.pause(b.nats[b.leader()], b.seconds(2, 8)) }},
		{"gateway cut off from nats", func(b *breaker) { b.wired((*wire).Cut, b.seconds(0, 4)) }},
		{"gateway stalled towards nats", func(b *breaker) { b.wired((*wire).Stall, b.seconds(1, 8)) }},
		{"stranger stops reading", (*breaker).stopReading},
		{"clients stop reading", func(b *breaker) {
			d := b.seconds(4, 10)
			b.control.Stall(1+b.rand.IntN(6), d)
			b.wait(d)
		}},
		{"clients cut", func(b *breaker) { b.control.Cut(1 + b.rand.IntN(12)) }},
	}
)

// run does one fault and waits until everything is well again.
func (b *breaker) run(f fault) {
	b.t.Helper()
	o := report.Outage{Fault: f.name, Begin: b.control.Elapsed()}
	connections, resumes := b.control.Connections(), b.control.Resumes()
	mended := b.control.Fault(f.name)
	f.do(b)
	undone := b.control.Elapsed()
	b.mended()
	process.Eventually(b.t, 2*time.Minute, "all clients are back after "+f.name, func() error {
		if !b.control.Whole() {
			return errors.New("some client is not connected, or not in all of its rooms")
		}
		return b.crowd.whole()
	})
	for waited := time.Duration(0); b.control.Oldest() > flowing && waited < settling; waited += look {
		b.wait(look)
	}
	mended()
	o.Broken, o.Back = undone-o.Begin, b.control.Elapsed()-undone
	o.Connections, o.Resumes = int(b.control.Connections()-connections), int(b.control.Resumes()-resumes)
	b.outages = append(b.outages, o)
}

const (
	// flowing is how long a message may take where nothing is broken. Above
	// that the NATS cluster is still electing, and what that delays belongs to
	// this fault and not to the next; settling bounds the wait for it.
	flowing  = time.Second
	settling = 20 * time.Second
	look     = 100 * time.Millisecond
)

func (b *breaker) seconds(least, most float64) time.Duration {
	return time.Duration((least + (most-least)*b.rand.Float64()) * float64(time.Second))
}

// wait passes time while something is broken, which is what the fault is.
func (b *breaker) wait(d time.Duration) {
	select {
	case <-b.ctx.Done():
	case <-time.After(d):
	}
}

// kill ends a process as a crash does, and starts it again a while later.
func (b *breaker) kill(p *process.Process) {
	p.Kill()
	b.wait(b.seconds(0, 2))
	p.Restart()
}

// roll restarts all gateways as a deploy does.
func (b *breaker) roll() {
	for _, g := range b.gateways {
		if status := g.Stop(); status != 0 {
			b.t.Errorf("a gateway ended with status %d", status)
		}
		g.Restart()
		g.WaitReady()
	}
}

// pause stops a process without ending it.
func (b *breaker) pause(p *process.Process, d time.Duration) {
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	b.wait(d)
}

// wired does something to the wires between the first gateway and NATS.
func (b *breaker) wired(do func(*wire), d time.Duration) {
	for _, w := range b.wires {
		do(w)
		defer w.Mend()
	}
	b.wait(d)
}
