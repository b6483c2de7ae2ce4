package bus_test

import (
	"context"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/embedded"
)

// BenchmarkPublish stores messages of 128 bytes in 100 rooms on an embedded
// server, one after the other or up to 512 at a time, by how often the server
// forces them to disk. cpu-ns/op is all of this process, server included.
func BenchmarkPublish(b *testing.B) {
	payload := make([]byte, 128)
	for i := range payload {
		payload[i] = 'a' + byte(i%26)
	}
	for _, syncs := range []struct {
		name  string
		every time.Duration
	}{{"2m", 0}, {"1s", time.Second}, {"each", -1}} {
		for _, inFlight := range []int{1, 512} {
			b.Run("sync="+syncs.name+"/in-flight="+strconv.Itoa(inFlight), func(b *testing.B) {
				server, err := embedded.Start(embedded.Options{Dir: b.TempDir(), Sync: syncs.every})
				if err != nil {
					b.Fatal(err)
				}
				defer server.Shutdown()
				bb, err := bus.Connect(context.Background(), bus.Options{InProcess: server})
				if err != nil {
					b.Fatal(err)
				}
				defer bb.Close()
				if err := bb.EnsureLog(context.Background(), bus.LogConfig{}); err != nil {
					b.Fatal(err)
				}
				slots := make(chan struct{}, inFlight)
				var wg sync.WaitGroup
				before := cpu()
				n := 0
				for b.Loop() {
					slots <- struct{}{}
					wg.Add(1)
					n++
					bb.PublishAsync("room-"+strconv.Itoa(n%100), "", entry(string(payload)), func(_ bus.Ack, err error) {
						if err != nil {
							b.Error(err)
						}
						<-slots
						wg.Done()
					})
				}
				wg.Wait()
				b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
