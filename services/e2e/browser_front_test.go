package e2e

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// front is an address that stays the same for a page while the gateway behind
// it goes away, comes back or becomes another: a load balancer on TCP.
type front struct {
	t       testing.TB
	address string
	work    sync.WaitGroup // accepting and copying

	mu       sync.Mutex
	listener net.Listener
	behind   string
	conns    map[net.Conn]struct{}
}

// startFront leads an address of its own to a gateway until the test ends.
func startFront(t testing.TB, gateway string) *front {
	t.Helper()
	f := &front{t: t, address: "127.0.0.1:0", conns: make(map[net.Conn]struct{})}
	f.up(gateway)
	t.Cleanup(func() {
		f.refuse()
		f.cut()
		f.work.Wait()
	})
	return f
}

func (f *front) url() string { return "http://" + f.address }

// up takes new connections, for this gateway.
func (f *front) up(gateway string) {
	f.t.Helper()
	stack.Eventually(f.t, "the front has its address", func() error {
		listener, err := net.Listen("tcp", f.address)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.listener, f.address, f.behind = listener, listener.Addr().String(), gateway[len("http://"):]
		f.work.Go(func() { f.accept(listener, f.behind) })
		return nil
	})
}

// refuse takes no new connections; those that there are go on.
func (f *front) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		f.t.Errorf("closing the front: %v", err)
	}
}

// cut ends all connections without a word.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
}

func (f *front) accept(listener net.Listener, behind string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // refuse closed it
		}
		gateway, err := net.Dial("tcp", behind)
		if err != nil {
			_ = conn.Close()
			continue
		}
		f.mu.Lock()
		f.conns[conn], f.conns[gateway] = struct{}{}, struct{}{}
		f.mu.Unlock()
		f.work.Go(func() { f.copy(gateway, conn) })
		f.work.Go(func() { f.copy(conn, gateway) })
	}
}

// copy brings one direction over, and its end too.
func (f *front) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, to)
	delete(f.conns, from)
}
