package faults

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire passes bytes between whoever connects to it and one address, and can be
// cut and stalled.
type wire struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu      sync.Mutex
	moving  *sync.Cond // signalled when the state changes
	stalled bool
	cut     bool
	closed  bool
	conns   map[net.Conn]struct{}
}

func lay(t testing.TB, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, conns: make(map[net.Conn]struct{})}
	w.moving = sync.NewCond(&w.mu)
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.set(func() { w.closed, w.cut, w.stalled = true, true, false })
		w.wg.Wait()
	})
	return w
}

func (w *wire) addr() string { return w.listener.Addr().String() }

// set changes the state; a cut ends all connections.
func (w *wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	if w.cut {
		for c := range w.conns {
			c.Close()
		}
	}
	w.moving.Broadcast()
}

// Cut ends all connections, and every new one at once, until it is mended.
func (w *wire) Cut() { w.set(func() { w.cut = true }) }

// Stall stops all bytes in both directions and ends nothing.
func (w *wire) Stall() { w.set(func() { w.stalled = true }) }

// Mend lets everything through again.
func (w *wire) Mend() { w.set(func() { w.cut, w.stalled = false, false }) }

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			near.Close()
			continue
		}
		if !w.hold(near, far) {
			continue
		}
		w.wg.Go(func() { w.pass(near, far) })
		w.wg.Go(func() { w.pass(far, near) })
	}
}

// hold takes the two ends of a connection in, unless the wire is cut.
func (w *wire) hold(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		if w.cut {
			c.Close()
		} else {
			w.conns[c] = struct{}{}
		}
	}
	return !w.cut
}

// pass moves bytes one way until either end is closed.
func (w *wire) pass(from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		for w.stalled && !w.cut {
			w.moving.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, werr := to.Write(buffer[:n]); werr != nil && err == nil {
				err = io.ErrClosedPipe
			}
		}
		if err != nil {
			break
		}
	}
	from.Close()
	to.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, from)
	delete(w.conns, to)
}
