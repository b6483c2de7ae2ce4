// Package loopback finds addresses for the programs that benchmarks and tests
// start on this machine.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below where systems begin to give them out by
// themselves (32768 on Linux), so that no outgoing connection and no listener
// on port 0 takes one between the look and the start, or while its process is
// down.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

var next = struct {
	sync.Mutex
	port int
}{port: firstPort + rand.IntN(lastPort-firstPort)}

// Addr gives an address, such as 127.0.0.1:20001, that nobody listens on and
// that this process has not given to anybody else. It fails when all ports are
// taken.
func Addr() (string, error) {
	next.Lock()
	defer next.Unlock()
	for range lastPort - firstPort {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(next.port))
		if next.port++; next.port >= lastPort {
			next.port = firstPort
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr, nil
		}
	}
	return "", errors.New("loopback: every port from 20000 to 32000 of 127.0.0.1 is taken")
}

// For is Addr for a test or a benchmark, which fails where there is none.
func For(t interface {
	Helper()
	Fatal(...any)
}) string {
	t.Helper()
	addr, err := Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
