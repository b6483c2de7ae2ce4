// Package coalesce makes one question of many that are asked at the same time,
// for answers that cost about the same whether one is wanted or a hundred.
//
// It owns the questions that wait, and their bound. It starts no goroutine and
// knows neither what is asked nor whom: each batch is asked by one of those who
// wait for it.
package coalesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrFull: too many questions wait already.
var ErrFull = errors.New("too many questions wait for an answer")

// Options of an Asker.
type Options[Q, A any] struct {
	// Ask answers some questions, at least one, in their order. It is called
	// by one goroutine at a time and may not call the Asker. Needed.
	Ask func(ctx context.Context, questions []Q) ([]A, error)
	// Batch is how many questions Ask gets at most; default 256.
	Batch int
	// Waiting is how many may wait beside those that are being asked; default
	// 65,536. More fail with ErrFull.
	Waiting int
}

// Asker gathers questions while one batch is being asked, and asks them
// together next. With no load each goes at once and by itself. It is safe for
// concurrent use and needs no closing.
type Asker[Q, A any] struct {
	opts Options[Q, A]

	mu      sync.Mutex
	asking  bool          // one of those who wait has the word
	waiting []*call[Q, A] // the oldest first
	batches int64
}

// call is one question and who waits for its answer.
type call[Q, A any] struct {
	question Q
	answer   A
	err      error
	// told is sent to once the call is to go on: with its answer, or with the
	// word, to ask for itself and the others that wait.
	told chan bool // capacity 1; true with the word
	gone bool      // nobody waits for it any more
}

// New makes an Asker.
func New[Q, A any](o Options[Q, A]) *Asker[Q, A] {
	if o.Batch == 0 {
		o.Batch = 256
	}
	if o.Waiting == 0 {
		o.Waiting = 1 << 16
	}
	return &Asker[Q, A]{opts: o}
}

// Batches is how often something was asked so far.
func (a *Asker[Q, A]) Batches() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.batches
}

// Ask gives the answer to one question. A batch is asked under the context of
// the one of its questions that waited longest; where that ends first, the others
// are asked anew. Errors: what Options.Ask fails with, ErrFull, and that of ctx.
func (a *Asker[Q, A]) Ask(ctx context.Context, question Q) (A, error) {
	c := &call[Q, A]{question: question}
	a.mu.Lock()
	if !a.asking {
		a.asking = true
		a.waiting = append(a.waiting, c)
		a.mu.Unlock()
		a.lead(ctx, c)
		return c.answer, c.err
	}
	if len(a.waiting) >= a.opts.Waiting {
		a.mu.Unlock()
		return c.answer, ErrFull
	}
	c.told = make(chan bool, 1)
	a.waiting = append(a.waiting, c)
	a.mu.Unlock()

	select {
	case word := <-c.told:
		if word {
			a.lead(ctx, c)
		}
		return c.answer, c.err
	case <-ctx.Done():
		return a.leave(ctx, c)
	}
}

// leave gives up a question, unless it is answered by now.
func (a *Asker[Q, A]) leave(ctx context.Context, c *call[Q, A]) (A, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = slices.DeleteFunc(a.waiting, func(w *call[Q, A]) bool { return w == c })
	select {
	case word := <-c.told:
		if !word {
			return c.answer, c.err
		}
		a.passOn()
	default:
	}
	c.gone = true // it may be in a batch that is asked again
	var none A
	return none, ctx.Err()
}

// lead asks for the oldest that wait, of which c is the first, and gives the
// word to the next.
func (a *Asker[Q, A]) lead(ctx context.Context, c *call[Q, A]) {
	a.mu.Lock()
	n := min(len(a.waiting), a.opts.Batch)
	batch := slices.Clone(a.waiting[:n])
	a.waiting = slices.Delete(a.waiting, 0, n)
	a.batches++
	a.mu.Unlock()

	questions := make([]Q, n)
	for i, w := range batch {
		questions[i] = w.question
	}
	err := errors.New("asking has panicked") // until it has returned
	var answers []A
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err == nil && len(answers) != n {
			err = fmt.Errorf("%d questions got %d answers", n, len(answers))
		}
		if err != nil && ctx.Err() != nil {
			// Whose context it was is the only one to whom that matters.
			c.err = err
			others := slices.DeleteFunc(batch[1:], func(w *call[Q, A]) bool { return w.gone })
			a.waiting = slices.Insert(a.waiting, 0, others...)
			batch = nil
		}
		for i, w := range batch {
			if w.err = err; err == nil {
				w.answer = answers[i]
			}
			if w != c {
				w.told <- false
			}
		}
		a.passOn()
	}()
	answers, err = a.opts.Ask(ctx, questions)
}

// passOn gives the word to who waits longest; a.mu is held.
func (a *Asker[Q, A]) passOn() {
	if a.asking = len(a.waiting) > 0; a.asking {
		a.waiting[0].told <- true
	}
}
