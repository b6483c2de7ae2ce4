package coalesce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// oracle takes a second for each batch, and notes them. It answers a number
// with its double.
type oracle struct {
	batches [][]int
	fail    error
	short   bool
}

func (o *oracle) ask(ctx context.Context, questions []int) ([]int, error) {
	o.batches = append(o.batches, slices.Sorted(slices.Values(questions)))
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("asking: %w", ctx.Err())
	case <-time.After(time.Second):
	}
	if o.fail != nil {
		return nil, o.fail
	}
	var answers []int
	for _, q := range questions {
		answers = append(answers, 2*q)
	}
	if o.short {
		return answers[1:], nil
	}
	return answers, nil
}

// play asks questions from..to-1, the first alone and the others while it is
// being asked, and gives what each came to.
func play(a *Asker[int, int], from, to int, contexts func(q int) context.Context) map[int]error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	came := make(map[int]error)
	for q := from; q < to; q++ {
		wg.Go(func() {
			answer, err := a.Ask(contexts(q), q)
			if err == nil && answer != 2*q {
				err = fmt.Errorf("%d was answered with %d", q, answer)
			}
			mu.Lock()
			defer mu.Unlock()
			came[q] = err
		})
		synctest.Wait()
	}
	wg.Wait()
	return came
}

func (o *oracle) check(t *testing.T, want string) {
	t.Helper()
	if got := fmt.Sprint(o.batches); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func background(int) context.Context { return context.Background() }

func TestGathersWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(oracle)
		a := New(Options[int, int]{Ask: o.ask, Batch: 3})
		start := time.Now()
		for q, err := range play(a, 0, 6, background) {
			if err != nil {
				t.Errorf("%d: %v", q, err)
			}
		}
		o.check(t, "[[0] [1 2 3] [4 5]]")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if got := a.Batches(); got != 3 {
			t.Errorf("counts %d batches", got)
		}
		if answer, err := a.Ask(t.Context(), 7); answer != 14 || err != nil {
			t.Errorf("one by itself: %d, %v", answer, err)
		}
	})
}

func TestFailureIsEverybodys(t *testing.T) {
	for name, o := range map[string]*oracle{"fails": {fail: errors.New("no")}, "answers too few": {short: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Options[int, int]{Ask: o.ask})
				for q, err := range play(a, 0, 4, background) {
					if err == nil {
						t.Errorf("%d was answered", q)
					}
				}
				o.check(t, "[[0] [1 2 3]]")
				o.fail, o.short = nil, false
				if _, err := a.Ask(t.Context(), 5); err != nil {
					t.Errorf("after it: %v", err)
				}
			})
		})
	}
}

// TestContexts: one that ends takes its own question with it and no other,
// wherever that stands.
func TestContexts(t *testing.T) {
	for name, c := range map[string]struct {
		ending  map[int]time.Duration // questions whose context ends, and when
		batches string
		took    time.Duration
	}{
		"alone":             {map[int]time.Duration{0: 500 * time.Millisecond}, "[[0] [1 2 3 4 5]]", 1500 * time.Millisecond},
		"waiting":           {map[int]time.Duration{2: 500 * time.Millisecond}, "[[0] [1 3 4 5]]", 2 * time.Second},
		"asking for others": {map[int]time.Duration{1: 1500 * time.Millisecond}, "[[0] [1 2 3 4 5] [2 3 4 5]]", 2500 * time.Millisecond},
		"being asked for":   {map[int]time.Duration{3: 1500 * time.Millisecond}, "[[0] [1 2 3 4 5]]", 2 * time.Second},
		"both": {map[int]time.Duration{1: 1500 * time.Millisecond, 2: 1400 * time.Millisecond, 5: 1200 * time.Millisecond},
			"[[0] [1 2 3 4 5] [3 4]]", 2500 * time.Millisecond},
		"all": {map[int]time.Duration{0: time.Millisecond, 1: time.Millisecond, 2: time.Millisecond, 3: time.Millisecond, 4: time.Millisecond, 5: time.Millisecond},
			"", time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := new(oracle)
				a := New(Options[int, int]{Ask: o.ask})
				start := time.Now()
				came := play(a, 0, 6, func(q int) context.Context {
					ctx := t.Context()
					if after := c.ending[q]; after > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, after)
						t.Cleanup(cancel)
					}
					return ctx
				})
				for q, err := range came {
					if _, ends := c.ending[q]; ends != errors.Is(err, context.DeadlineExceeded) || !ends && err != nil {
						t.Errorf("%d: %v", q, err)
					}
				}
				if c.batches != "" {
					o.check(t, c.batches)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if len(a.waiting) != 0 || a.asking {
					t.Errorf("%d wait, asking: %v", len(a.waiting), a.asking)
				}
				if _, err := a.Ask(t.Context(), 9); err != nil {
					t.Errorf("after it: %v", err)
				}
			})
		})
	}
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(oracle)
		a := New(Options[int, int]{Ask: o.ask, Waiting: 2})
		came := play(a, 0, 4, background)
		if !errors.Is(came[3], ErrFull) || came[0] != nil || came[1] != nil || came[2] != nil {
			t.Errorf("came to %v", came)
		}
	})
}

func TestPanicHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		a := New(Options[int, int]{Ask: func(_ context.Context, questions []int) ([]int, error) {
			time.Sleep(time.Second)
			if first {
				first = false
				panic("on purpose")
			}
			return questions, nil
		}})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { _ = recover() }()
			_, _ = a.Ask(t.Context(), 1)
		})
		synctest.Wait()
		if _, err := a.Ask(t.Context(), 2); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// TestManyAtOnce is for the race detector, with contexts that end anywhere.
func TestManyAtOnce(t *testing.T) {
	a := New(Options[int, int]{Batch: 7, Ask: func(ctx context.Context, questions []int) ([]int, error) {
		return questions, ctx.Err()
	}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if (n+i)%5 == 0 {
					go cancel()
				}
				q := 1000*i + n
				if got, err := a.Ask(ctx, q); err == nil && got != q || err != nil && ctx.Err() == nil {
					t.Errorf("%d was answered with %d, %v", q, got, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
