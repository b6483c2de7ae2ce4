package parley

import (
	"sync"
	"testing"

	"github.com/parley-im/parley/pkg/frame"
)

// What a message costs from its frame to the application, without the socket.
func BenchmarkTake(b *testing.B) {
	f, err := frame.DecodeServer(frame.JSON, []byte(message(1, 0)))
	if err != nil {
		b.Fatal(err)
	}
	c := &Client{rooms: map[string]*Room{}, letters: map[string]*letter{}, changed: make(chan struct{})}
	c.options.Buffer = 1024
	r := newRoom(c, "r")
	r.state, r.log.at = in, &Position{Epoch: "e"}
	c.rooms["r"] = r
	l := &link{mu: &sync.Mutex{}}
	m := f.GetChatMessage()
	b.ReportAllocs()
	for b.Loop() {
		prev := m.Seq
		m.Seq++
		m.Prev = &prev
		r.log.at = &Position{Seq: prev, Epoch: "e"}
		c.frame(l, f)
		if _, err := r.next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
