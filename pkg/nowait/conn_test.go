package nowait

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// pair gives both ends of a TCP connection; the first is one of ours.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	ours, err = new(Dialer).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs = <-accepted; theirs == nil {
		t.Fatal("nobody was accepted")
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// What one side writes the other reads, both ways at once, also where the
// sockets are full for most of the time.
func TestBothWays(t *testing.T) {
	ours, theirs := pair(t)
	type result struct {
		sent, got []byte
		err       error
	}
	run := func(c net.Conn, seed uint64) <-chan result {
		sent := make([]byte, 8<<20)
		rng := rand.New(rand.NewPCG(seed, 0))
		for i := range sent {
			sent[i] = byte(rng.Uint32())
		}
		done := make(chan result, 1)
		go func() {
			wrote := make(chan error, 1)
			go func() {
				_, err := c.Write(sent)
				wrote <- err
			}()
			got := make([]byte, len(sent))
			_, err := io.ReadFull(c, got)
			done <- result{sent, got, errors.Join(err, <-wrote)}
		}()
		return done
	}
	one, two := run(ours, 1), run(theirs, 2)
	a, b := <-one, <-two
	if a.err != nil || b.err != nil {
		t.Fatal(a.err, b.err)
	}
	if !bytes.Equal(a.sent, b.got) || !bytes.Equal(b.sent, a.got) {
		t.Error("what came is not what was sent")
	}
}

// The end of the other side, a deadline and our own Close end a read as they do
// in package net.
func TestEnds(t *testing.T) {
	read := func(c net.Conn) error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	ours, theirs := pair(t)
	theirs.Close()
	if err := read(ours); err != io.EOF {
		t.Errorf("the other side has gone: %v", err)
	}

	ours, _ = pair(t)
	if err := ours.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := read(ours); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline: %v", err)
	}
	// Nobody reads: it writes what the kernel keeps, long before that time.
	if err := ours.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := ours.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
		t.Errorf("a deadline of a write: %d bytes, %v", n, err)
	}

	ours, _ = pair(t)
	done := make(chan error)
	go func() { done <- read(ours) }()
	ours.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A read and a write allocate nothing.
func TestAllocs(t *testing.T) {
	ours, theirs := pair(t)
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ours.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(theirs, buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
