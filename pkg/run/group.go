package run

import (
	"context"
	"fmt"
	"sync"
)

// A Group runs parts that live and die together: the first that fails ends the context of all. A part that returns nil
// leaves the others running.
type Group struct {
	ctx    context.Context // for the group's life; given to every part
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error // the first failure; written in once, read after wg
}

// NewGroup makes an empty group whose parts end when ctx does.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancel(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go starts a part. The name appears in its error. A panic in it is an error, a [Panic] with the stack. Parts may start
// further parts, as long as one of the group is running or Wait was not called.
func (g *Group) Go(name string, f func(ctx context.Context) error) {
	g.wg.Go(func() {
		err := guard(g.ctx, f)
		if err == nil || g.ctx.Err() != nil && ended(g.ctx, err) {
			return
		}
		g.once.Do(func() {
			g.err = fmt.Errorf("%s: %w", name, err)
			g.cancel()
		})
	})
}

// Wait waits until all parts have returned, and returns the first failure. That the context ended is none.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.cancel()
	return g.err
}
