package conn

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Several goroutines with a Flusher each, and one without, send to the same
// slow connections: every frame arrives whole, once, and in its sender's order.
func TestFlushersShareConnections(t *testing.T) {
	const senders, each, perTurn = 4, 400, 5
	s := serveTight(t, Options{QueueBytes: 64 << 20})
	var (
		peers []*peer
		conns []*Conn
	)
	for i := range 3 {
		header := []string{"Sec-WebSocket-Extensions: permessage-deflate"}[:i%2]
		p, v := s.dial(t, nil, header...)
		peers, conns = append(peers, p), append(conns, v.Conn)
	}
	text := func(sender, n int) string {
		return fmt.Sprintf("%d %d ", sender, n) + strings.Repeat("x", n*37%3000)
	}
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			var f Flusher
			for n := 0; n < each; {
				var turn []*Prepared
				for range perTurn {
					turn = append(turn, Text([]byte(text(sender, n))))
					n++
				}
				for _, c := range conns {
					switch sender {
					case 0: // by itself
						for _, message := range turn {
							c.Send(message, false)
						}
					case 1: // in one piece
						f.Send(c, Join(turn), false)
					default:
						for _, message := range turn {
							f.Send(c, message, false)
						}
					}
				}
				f.Flush()
			}
		})
	}
	var reading sync.WaitGroup
	for i, p := range peers {
		reading.Go(func() {
			var next [senders]int
			for range senders * each {
				first, payload, err := p.frame()
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				got := string(payload)
				if first&rsv1Bit != 0 {
					got = inflate(t, payload)
				}
				var sender, n int
				if _, err := fmt.Sscan(got, &sender, &n); err != nil || sender >= senders || got != text(sender, next[sender]) {
					t.Errorf("connection %d: %.40q after %v", i, got, next)
					return
				}
				next[sender]++
			}
		})
	}
	sending.Wait()
	reading.Wait()
	eventually(t, "nothing waits", func() bool {
		queued, _, _ := s.Stats()
		return queued == 0
	})
}

// A Flusher writes to each connection once, and what was closed meanwhile not at
// all.
func TestFlush(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	q, w := s.dial(t, nil)
	var f Flusher
	for _, c := range []*Conn{v.Conn, w.Conn} {
		f.Send(c, Text([]byte("first")), false)
		f.Send(c, Text([]byte("second")), false)
	}
	if len(f.conns) != 2 {
		t.Errorf("%d connections to write to", len(f.conns))
	}
	w.Send(Text([]byte("third")), false) // joins what is gathered
	w.mu.Lock()
	if len(w.queue) != 3 {
		t.Errorf("%d wait", len(w.queue))
	}
	w.mu.Unlock()
	v.Drop()
	f.Flush()
	for _, text := range []string{"first", "second", "third"} {
		q.want(finBit|opText, text)
	}
	if _, _, err := p.frame(); err == nil {
		t.Error("a connection that was dropped was written to")
	}
	if len(f.conns) != 0 {
		t.Errorf("%d connections are left", len(f.conns))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil || w.one[0].message != nil {
		t.Error("a message is kept that was written")
	}
}
