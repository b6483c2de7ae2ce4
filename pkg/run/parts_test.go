package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record keeps what happened, in order.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) add(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// part returns a part that takes some time to stop and then returns err.
func (r *record) part(name string, stopping time.Duration, err error) (string, func(context.Context) error) {
	return name, func(ctx context.Context) error {
		<-ctx.Done()
		r.add(name + " told")
		time.Sleep(stopping)
		r.add(name + " ended")
		return err
	}
}

func TestPartsStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		var log bytes.Buffer
		p := Parts{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		p.Add(r.part("nats", time.Second, nil))
		p.Add(r.part("auth", time.Second, context.Canceled))
		p.Add(r.part("gateway", 10*time.Second, nil))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		begin := time.Now()
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != time.Hour+12*time.Second {
			t.Error(took)
		}
		want := []string{"gateway told", "gateway ended", "auth told", "auth ended", "nats told", "nats ended"}
		if !slices.Equal(r.events, want) {
			t.Error(r.events)
		}
		if starts := strings.Count(log.String(), "part starts"); starts != 3 {
			t.Error(log.String())
		}
	})
}

func TestPartsFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(context.Context) error
		want string
	}{
		{"an error", func(context.Context) error { return io.EOF }, "auth: EOF\nnats: unexpected EOF"},
		{"nothing", func(context.Context) error { return nil }, "auth: ended before it was told to\nnats: unexpected EOF"},
		{"foreign cancellation", func(context.Context) error { return context.Canceled }, "auth: context canceled\nnats: unexpected EOF"},
		{"a panic", func(context.Context) error { panic("oh") }, "auth: panic: oh\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r record
				var p Parts
				p.Add(r.part("nats", 0, io.ErrUnexpectedEOF))
				p.Add("auth", func(ctx context.Context) error { time.Sleep(time.Minute); return test.fail(ctx) })
				p.Add(r.part("gateway", 0, nil))
				err := p.Run(t.Context())
				if err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Error(err)
				}
				if !slices.Equal(r.events, []string{"gateway told", "gateway ended", "nats told", "nats ended"}) {
					t.Error(r.events)
				}
			})
		})
	}
}

// A part that takes too long costs the older ones their turn, but not their time to stop.
func TestPartsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		p := Parts{Grace: 20 * time.Second}
		release := make(chan struct{})
		p.Add(r.part("nats", time.Second, nil))
		p.Add(r.part("auth", time.Second, nil))
		p.Add("gateway", func(context.Context) error { <-release; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		err := p.Run(ctx)
		if took := time.Since(begin); took != 20*time.Second {
			t.Error(took)
		}
		if !errors.Is(err, errStuck) || err.Error() != "gateway: still running at the end of the grace period" {
			t.Error(err)
		}
		slices.Sort(r.events)
		if !slices.Equal(r.events, []string{"auth ended", "auth told", "nats ended", "nats told"}) {
			t.Error(r.events)
		}
		close(release)
	})
}

// Values pass to the parts, the end of the context does not.
func TestPartsContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	var p Parts
	p.Add("a", func(ctx context.Context) error {
		if ctx.Value(key{}) != "v" {
			t.Error("no value")
		}
		<-ctx.Done()
		return nil
	})
	p.Add("b", func(part context.Context) error {
		cancel()
		<-part.Done()
		return part.Err()
	})
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
}
