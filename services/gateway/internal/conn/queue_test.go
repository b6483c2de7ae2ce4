package conn

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOverflow(t *testing.T) {
	const queue = 200 << 10
	s := serveTight(t, Options{QueueBytes: queue})
	other, w := s.dial(t, nil)
	p, v := s.dial(t, nil)
	stuff(t, v)
	queued := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.size
	}
	waiting := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.ephemerals
	}
	stored := Text([]byte(strings.Repeat("d", 1000)))
	dispensable := waiting()
	if dispensable == 0 {
		t.Fatal("nothing to drop")
	}
	for queued()+1004 <= queue {
		v.Send(stored, false)
	}
	if _, dropped, _ := s.Stats(); dropped != 0 {
		t.Errorf("%d dropped too early", dropped)
	}
	v.Send(stored, false)
	if _, dropped, _ := s.Stats(); dropped != int64(dispensable) || waiting() != 0 {
		t.Errorf("%d dropped of %d", dropped, dispensable)
	}
	for queued()+1004 <= queue {
		v.Send(stored, false)
	}
	for range 5 { // an ephemeral one is dropped itself
		v.Send(stored, true)
	}
	if _, dropped, overflows := s.Stats(); dropped != int64(dispensable)+5 || overflows != 0 {
		t.Errorf("%d dropped, %d overflows", dropped, overflows)
	}
	v.beat(new(Flusher)) // and a ping needs no place
	if code, _ := v.Ended(); code != 0 {
		t.Errorf("a ping ended it with %d", code)
	}
	_, before := v.Bytes()
	for range 3 {
		v.Send(stored, false)
	}
	if code, _ := v.Ended(); code != SlowConsumer {
		t.Errorf("ended with %d", code)
	}
	if _, _, overflows := s.Stats(); overflows != 1 {
		t.Errorf("%d overflows", overflows)
	}
	w.Send(Text([]byte("fine")), false)
	other.want(finBit|opText, "fine")
	// It reads again: a whole frame, and the close frame in place of the rest.
	if code, _ := p.closing(); code != SlowConsumer {
		t.Errorf("closed with %d", code)
	}
	p.send(maskedClose(SlowConsumer, ""))
	p.wantEnd()
	v.wantEnded(t, SlowConsumer)
	if _, after := v.Bytes(); after > before+writeChunk {
		t.Errorf("%d bytes of the queue went out before the close frame", after-before)
	}
}

func TestOneMessageMayBeLarger(t *testing.T) {
	s := serve(t, Options{QueueBytes: 1000})
	p, v := s.dial(t, nil)
	v.Send(Text([]byte(strings.Repeat("l", 5000))), false)
	p.want(finBit|opText, strings.Repeat("l", 5000))
}

func TestHeartbeat(t *testing.T) {
	const beat = wheelSlots * time.Millisecond
	s := serve(t, Options{Heartbeat: beat})
	s.closeTimeout = 100 * time.Millisecond
	p, v := s.dial(t, nil)
	for range 5 {
		p.want(finBit|opPing, "")
		p.send(masked(finBit|opPong, ""))
	}
	begun := time.Now()
	code, _ := p.closing() // after two pings without an answer
	if code != NoPong {
		t.Errorf("closed with %d", code)
	}
	if took := time.Since(begun); took < beat {
		t.Errorf("dropped after %v", took)
	}
	v.wantEnded(t, NoPong)
}

// A peer that takes nothing any more is dropped, although it goes on sending,
// pongs among it.
func TestHeartbeatOfAStuckPeer(t *testing.T) {
	s := serveTight(t, Options{Heartbeat: wheelSlots * time.Millisecond})
	s.closeTimeout = 50 * time.Millisecond
	p, v := s.dial(t, nil)
	stuff(t, v)
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if _, err := p.Write(masked(finBit|opPong, "")); err != nil {
			break // it is gone
		}
		if time.Since(begun) > patience/2 {
			t.Fatal("unasked pongs keep it alive")
		}
	}
	v.wantEnded(t, NoPong)
}

func TestSendAllocates(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	message := Text([]byte("hello"))
	buf := make([]byte, 7)
	allocs := testing.AllocsPerRun(1000, func() {
		v.Send(message, false)
		if _, err := p.r.Read(buf); err != nil {
			t.Fatal(err)
		}
		for { // until the writing goroutine has gone
			v.mu.Lock()
			writing := v.writing
			v.mu.Unlock()
			if !writing {
				return
			}
			runtime.Gosched()
		}
	})
	t.Logf("%.1f allocations", allocs)
	if allocs > 0 {
		t.Errorf("%.1f allocations to send to an idle connection", allocs)
	}
}

// BenchmarkSend sends one message to connections that take it, until it is
// written to all.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := serve(b, Options{QueueBytes: 64 << 20})
			var conns []*served
			for range n {
				p, v := s.dial(b, nil)
				if err := p.SetDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				go drain(p)
				conns = append(conns, v)
			}
			message := Text([]byte(strings.Repeat("b", 300)))
			b.ReportAllocs()
			b.SetBytes(int64(n * len(message.frame(false))))
			for b.Loop() {
				for _, v := range conns {
					v.Send(message, false)
				}
				for s.busy.Load() > 0 {
					runtime.Gosched()
				}
			}
			for _, v := range conns {
				if code, _ := v.Ended(); code != 0 {
					b.Fatal("ended with", code)
				}
			}
		})
	}
}

func drain(p *peer) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := p.Read(buf); err != nil {
			return
		}
	}
}

// BenchmarkIdle tells the memory of a connection at rest, the client's side
// (less than 1 KiB) included.
func BenchmarkIdle(b *testing.B) {
	s := serve(b, Options{})
	inUse := func() (heap, stack uint64) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.StackInuse
	}
	const n = 1000
	for b.Loop() {
		heap, stack := inUse()
		var sockets []*peer
		for range n {
			p, v := s.dial(b, nil)
			p.send(masked(finBit|opText, "m"))
			v.wantMessage(b, "m")
			p.r, p.response, v.messages = nil, nil, nil
			sockets = append(sockets, p)
		}
		heapNow, stackNow := inUse()
		b.ReportMetric(float64(heapNow-heap)/n, "heap-B/conn")
		b.ReportMetric(float64(stackNow-stack)/n, "stack-B/conn")
		for _, p := range sockets {
			p.Close()
		}
		eventually(b, "all have gone", func() bool { return s.Count() == 0 })
	}
}
