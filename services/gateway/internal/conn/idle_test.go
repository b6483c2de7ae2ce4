package conn

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestTryStack(t *testing.T) {
	s := serve(t, Options{})
	const n = 2000
	var hold []*served
	var peers []*peer
	var wg sync.WaitGroup
	stacks := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.StackInuse)
	}
	before := stacks()
	s.handle = func(*served, []byte) {}
	for range n {
		p, v := s.dial(t, nil)
		hold = append(hold, v)
		peers = append(peers, p)
	}
	time.Sleep(time.Second)
	t.Logf("after dial %.0f", (stacks()-before)/n)
	for _, p := range peers {
		p.Write(masked(finBit|opPong, ""))
	}
	time.Sleep(time.Second)
	t.Logf("after pong %.0f", (stacks()-before)/n)
	for _, p := range peers {
		p.Write(masked(finBit|opPing, ""))
	}
	time.Sleep(time.Second)
	t.Logf("after ping %.0f", (stacks()-before)/n)
	for _, p := range peers {
		p.Write(masked(finBit|opText, "hello"))
	}
	time.Sleep(time.Second)
	t.Logf("after message %.0f", (stacks()-before)/n)
	for _, p := range peers {
		p.Close()
	}
	wg.Wait()
	_ = hold
}
