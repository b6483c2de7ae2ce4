package conn

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// BenchmarkRead reads messages that come many at once, also where how many bytes may
// come is bounded, and one at a time with the peer waiting for each to be read.
func BenchmarkRead(b *testing.B) {
	frame := masked(finBit|opText, strings.Repeat("m", 120))
	run := func(b *testing.B, burst int, o Options) {
		s := serve(b, o)
		read, some := 0, make(chan struct{})
		s.handle = func(*served, []byte) {
			if read++; read%burst == 0 {
				some <- struct{}{}
			}
		}
		p, _ := s.dial(b, nil)
		if err := p.SetDeadline(time.Time{}); err != nil {
			b.Fatal(err)
		}
		frames := bytes.Repeat(frame, burst)
		b.ReportAllocs()
		for b.Loop() {
			p.send(frames)
			<-some
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/message")
	}
	b.Run("one", func(b *testing.B) { run(b, 1, Options{}) })
	b.Run("hundred", func(b *testing.B) { run(b, 100, Options{}) })
	b.Run("hundred bounded", func(b *testing.B) { run(b, 100, Options{InputRate: 1 << 40, InputBurst: 1 << 40}) })
}
