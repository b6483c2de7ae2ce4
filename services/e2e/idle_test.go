package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// BenchmarkIdle reports what a connection that is signed in and in a room costs
// while nothing happens: bytes of live heap and of stack, in one process with
// all services and the clients' ends of the sockets. What the gateway's own
// process takes, garbage included, is in services/adr/0008-idle-connections.md.
//
// It fails where the cost has grown far beyond what it was when this was
// written: 2.1 KiB of stack, and of heap 3.2 KiB or, with a room for each, 5.2.
func BenchmarkIdle(b *testing.B) {
	const (
		n        = 1000
		maxStack = 2600
	)
	for rooms, maxHeap := range map[int]int{10: 4000, n: 6500} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			s := stack.Start(b, stack.Options{Gateway: func(o *gateway.Options) { o.JWTSecret = secret }})
			idle(b, s, 0, rooms).Close() // what is made once
			stackBefore, heapBefore := memory()
			var sockets []net.Conn
			for i := range n {
				sockets = append(sockets, idle(b, s, i+1, rooms))
			}
			stackAfter, heapAfter := memory()
			stackEach, heapEach := (stackAfter-stackBefore)/n, (heapAfter-heapBefore)/n
			b.ReportMetric(float64(stackEach), "stack-B/connection")
			b.ReportMetric(float64(heapEach), "heap-B/connection")
			b.ReportMetric(0, "ns/op") // one run is enough
			if stackEach > maxStack || heapEach > maxHeap {
				b.Errorf("%d bytes of stack and %d of heap for each connection", stackEach, heapEach)
			}
			for _, socket := range sockets {
				socket.Close()
			}
		})
	}
}

// idle connects a client that signs in, joins a room, and says nothing more.
func idle(b *testing.B, s *stack.Stack, i, rooms int) net.Conn {
	base, err := url.Parse(s.URLs[0])
	if err != nil {
		b.Fatal(err)
	}
	socket, err := net.Dial("tcp", base.Host)
	if err != nil {
		b.Fatal(err)
	}
	user := "idle-" + strconv.Itoa(i)
	request := "GET /ws HTTP/1.1\r\nHost: " + base.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUser-Agent: idle\r\n" +
		"Authorization: Bearer " + signHS256(b, secret, claims{"sub": user, "username": user, "exp": time.Now().Add(time.Hour).Unix()}) + "\r\n\r\n"
	join := fmt.Sprintf(`{"type":"join-room","id":"1","roomId":"idle-%d"}`, i%rooms)
	frame := string([]byte{0x81, 0x80 | byte(len(join)), 0, 0, 0, 0}) + join // a mask that changes nothing
	if _, err := io.WriteString(socket, request+frame); err != nil {
		b.Fatal(err)
	}
	if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.Fatal(err)
	}
	// As much as has come; what comes later stays in the socket.
	heard, more := []byte(nil), make([]byte, 4096)
	for !bytes.Contains(heard, []byte(`"room-joined"`)) {
		n, err := socket.Read(more)
		if err != nil && err != io.EOF || n == 0 {
			b.Fatalf("connection %d: %v; heard %q", i, err, heard)
		}
		heard = append(heard, more[:n]...)
	}
	return socket
}

func memory() (stacks, heap int) {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second, and stacks freed
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.StackInuse), int(m.HeapAlloc)
}
