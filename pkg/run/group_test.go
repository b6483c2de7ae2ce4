package run

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestGroupEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := NewGroup(ctx)
	g.Go("a", untilEnd)
	g.Go("b", func(ctx context.Context) error { <-ctx.Done(); return nil })
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestGroupReturnsTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(t.Context())
		g.Go("follower", untilEnd)
		g.Go("late", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return io.ErrClosedPipe })
		g.Go("first", func(context.Context) error { time.Sleep(time.Minute); return io.EOF })
		g.Go("done", func(context.Context) error { return nil })
		err := g.Wait()
		if !errors.Is(err, io.EOF) || err.Error() != "first: EOF" {
			t.Error(err)
		}
	})
}

// A context of the part's own that was cancelled is a failure like any other.
func TestGroupReportsForeignCancellation(t *testing.T) {
	g := NewGroup(t.Context())
	g.Go("a", func(context.Context) error { return context.Canceled })
	if err := g.Wait(); err == nil || err.Error() != "a: context canceled" {
		t.Error(err)
	}
}

func TestGroupTurnsPanicsIntoErrors(t *testing.T) {
	g := NewGroup(t.Context())
	g.Go("other", untilEnd)
	g.Go("a", func(context.Context) error { panic(io.ErrNoProgress) })
	err := g.Wait()
	p, ok := errors.AsType[*Panic](err)
	if !ok || !errors.Is(err, io.ErrNoProgress) || !strings.Contains(string(p.Stack), "group_test.go") {
		t.Error(err)
	}
}

func TestGroupGrows(t *testing.T) {
	g := NewGroup(t.Context())
	g.Go("a", func(context.Context) error {
		g.Go("b", func(context.Context) error { return io.EOF })
		return nil
	})
	if err := g.Wait(); err == nil || err.Error() != "b: EOF" {
		t.Error(err)
	}
}
