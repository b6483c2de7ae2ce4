package conn

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCloseFromHere(t *testing.T) {
	s := serve(t, Options{})
	for _, code := range []Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4001, 4102, 4201, 4999} {
		p, v := s.dial(t, nil)
		v.Close(code, "why")
		v.Send(Text([]byte("too late")), false)
		if got, reason := p.closing(); got != code || reason != "why" {
			t.Errorf("closed with %d %q, want %d", got, reason, code)
		}
		if got, reason := v.Ended(); got != code || reason != "why" {
			t.Errorf("ended with %d %q, want %d", got, reason, code)
		}
		p.send(masked(finBit|opText, "crossing"), maskedClose(code, ""))
		p.wantEnd()
		v.wantMessage(t, "crossing")
		v.wantEnded(t, code)
	}
}

func TestCloseWithWhatCannotBeSent(t *testing.T) {
	s := serve(t, Options{})
	for _, code := range []Code{0, 999, 1004, NoCode, Abnormal, 1015, 2999, 5000, -1} {
		p, v := s.dial(t, nil)
		v.Close(code, "why")
		if got, _ := p.closing(); got != InternalError {
			t.Errorf("Close(%d): closed with %d", code, got)
		}
		p.send(maskedClose(InternalError, ""))
		p.wantEnd()
		v.wantEnded(t, InternalError)
	}
	for reason, want := range map[string]string{
		strings.Repeat("a", 123):       strings.Repeat("a", 123),
		strings.Repeat("a", 124):       strings.Repeat("a", 123),
		strings.Repeat("é", 100):       strings.Repeat("é", 61),
		"no \xff":                      "no \uFFFD",
		strings.Repeat("a", 122) + "€": strings.Repeat("a", 122),
	} {
		p, v := s.dial(t, nil)
		v.Close(Policy, reason)
		if _, got := p.closing(); got != want {
			t.Errorf("reason %q became %q", reason, got)
		}
		p.send(maskedClose(Policy, ""))
		p.wantEnd()
		v.wantEnded(t, Policy)
	}
}

func TestCloseFromThere(t *testing.T) {
	s := serve(t, Options{})
	for _, code := range []Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4001, 4999} {
		p, v := s.dial(t, nil)
		p.send(maskedClose(code, "bye"))
		if got, reason := p.closing(); got != code || reason != "bye" {
			t.Errorf("%d was answered by %d %q", code, got, reason)
		}
		p.wantEnd()
		v.wantEnded(t, code)
		if _, reason := v.Ended(); reason != "bye" {
			t.Errorf("reason %q", reason)
		}
		v.Send(Text([]byte("too late")), false)
		v.Close(Policy, "too late")
		v.Drop()
		v.wantEnded(t, code)
	}
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opClose, ""))
	p.want(finBit|opClose, "")
	p.wantEnd()
	v.wantEnded(t, NoCode)
}

func TestEndsWithoutClose(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	p.Close()
	v.wantEnded(t, Abnormal)
	p, v = s.dial(t, nil)
	v.Drop()
	v.wantEnded(t, Abnormal)
	if _, _, err := p.frame(); err == nil {
		t.Error("a dropped connection still speaks")
	}
}

// The reader may be about to answer a close frame when the end comes.
func TestNothingWaitsForWhatIsNotWritten(t *testing.T) {
	s := serve(t, Options{})
	_, v := s.dial(t, nil)
	v.Drop()
	answered := make(chan error, 1)
	go func() { answered <- v.answerClose(&goodbye{code: Normal}) }()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a close frame was written on a closed socket")
		}
	case <-time.After(patience):
		t.Fatal("waits for ever")
	}
	v.wantEnded(t, Abnormal)
}

// A peer that says goodbye and goes is not held for lost because writing to it
// fails first.
func TestGoodbyeIsHeard(t *testing.T) {
	s := serve(t, Options{})
	reading, release := make(chan struct{}), make(chan struct{})
	s.handle = func(*served, []byte) {
		close(reading)
		<-release
	}
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opText, "wait"))
	<-reading
	p.send(maskedClose(Normal, "")) // stays in the socket
	p.Close()
	eventually(t, "writing fails", func() bool {
		v.Send(Text([]byte("still there?")), false)
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.broken
	})
	close(release)
	v.wantEnded(t, Normal)
}

func TestCloseFlushesFirst(t *testing.T) {
	s := serveTight(t, Options{})
	p, v := s.dial(t, nil)
	message := strings.Repeat("f", 1000)
	for range 100 {
		v.Send(Text([]byte(message)), false)
	}
	v.Close(GoingAway, "")
	for range 100 {
		p.want(finBit|opText, message)
	}
	if code, _ := p.closing(); code != GoingAway {
		t.Errorf("closed with %d", code)
	}
	p.send(maskedClose(GoingAway, ""))
	p.wantEnd()
	v.wantEnded(t, GoingAway)
}

// Both sides close at once: each has sent its frame before it sees the other.
func TestClosesCross(t *testing.T) {
	s := serve(t, Options{})
	for range 100 {
		p, v := s.dial(t, nil)
		go v.Close(Reconnect, "here")
		p.send(maskedClose(GoingAway, "there"))
		code, _ := p.closing()
		p.wantEnd()
		<-v.ended
		if ended, _ := v.Ended(); code != ended && !(code == GoingAway && ended == Reconnect) {
			t.Errorf("closed with %d, ended with %d", code, ended)
		}
	}
}

func TestFirstCloseCounts(t *testing.T) {
	s := serve(t, Options{})
	for range 50 {
		p, v := s.dial(t, nil)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() { v.Close(Code(4000+i), "") })
			all.Go(func() { v.Send(Text([]byte("m")), i%2 == 0) })
		}
		all.Wait()
		want, _ := v.Ended()
		if code, _ := p.closing(); code != want {
			t.Errorf("closed with %d, ended with %d", code, want)
		}
		p.send(maskedClose(Normal, ""))
		p.wantEnd()
		v.wantEnded(t, want)
	}
}

func TestCloseAndDropWithinRead(t *testing.T) {
	s := serve(t, Options{})
	s.handle = func(v *served, message []byte) {
		if string(message) == "drop" {
			v.Drop()
			return
		}
		v.Send(Text([]byte("last words")), false)
		v.Close(Policy, string(message))
	}
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opText, "one"), masked(finBit|opText, "two"))
	p.want(finBit|opText, "last words")
	if code, reason := p.closing(); code != Policy || reason != "one" {
		t.Errorf("closed with %d %q", code, reason)
	}
	p.send(maskedClose(Policy, ""))
	p.wantEnd()
	v.wantEnded(t, Policy)

	p, v = s.dial(t, nil)
	p.send(masked(finBit|opText, "drop"))
	v.wantEnded(t, Abnormal)
}

// A peer that does not answer our close frame, or does not even read it, is
// left in the end.
func TestCloseIsBounded(t *testing.T) {
	for name, fill := range map[string]bool{"reads": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			s := serveTight(t, Options{})
			s.closeTimeout = 50 * time.Millisecond
			p, v := s.dial(t, nil)
			if fill {
				stuff(t, v)
			}
			begun := time.Now()
			v.Close(Reconnect, "")
			v.wantEnded(t, Reconnect)
			if took := time.Since(begun); took < s.closeTimeout {
				t.Errorf("ended after %v", took)
			}
			if !fill {
				if code, _ := p.closing(); code != Reconnect {
					t.Errorf("closed with %d", code)
				}
				return
			}
			// What arrived are whole frames and at most one that is cut off.
			for {
				first, _, err := p.frame()
				if err != nil {
					break
				}
				if first == finBit|opClose {
					t.Error("a close frame behind half a message")
				}
			}
		})
	}
}

// A peer that announces more than it sends does not hold a goroutine.
func TestCloseInAMessageIsBounded(t *testing.T) {
	s := serve(t, Options{})
	s.closeTimeout = 50 * time.Millisecond
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opBinary, strings.Repeat("b", 60000))[:1000])
	if code, _ := p.closing(); code != WrongKind {
		t.Errorf("closed with %d", code)
	}
	v.wantEnded(t, WrongKind)
}

// A close of a connection that nobody reads ends too.
func TestCloseUnread(t *testing.T) {
	s := serve(t, Options{})
	s.closeTimeout = 50 * time.Millisecond
	release := make(chan struct{})
	s.handle = func(*served, []byte) { <-release }
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opText, "wait"))
	v.Close(Overloaded, "")
	if code, _ := p.closing(); code != Overloaded {
		t.Errorf("closed with %d", code)
	}
	p.send(maskedClose(Overloaded, ""))
	if _, _, err := p.frame(); err == nil {
		t.Error("something behind the close frame")
	}
	close(release)
	v.wantEnded(t, Overloaded)
}

// A peer that closes while it does not read gets its answer behind what is
// queued, or is left.
func TestCloseFromAStuckPeer(t *testing.T) {
	s := serveTight(t, Options{})
	s.closeTimeout = 50 * time.Millisecond
	p, v := s.dial(t, nil)
	stuff(t, v)
	p.send(maskedClose(Normal, ""))
	v.wantEnded(t, Normal)
	_, _ = io.Copy(io.Discard, p)
}

// stuff fills the sockets until the writer is stuck.
func stuff(t testing.TB, v *served) {
	t.Helper()
	message := Text([]byte(strings.Repeat("s", 1000)))
	eventually(t, "the peer is stuck", func() bool {
		v.mu.Lock()
		queued := v.size
		v.mu.Unlock()
		if queued < 100<<10 {
			for range 20 {
				v.Send(message, false)
				v.Send(message, true)
			}
		}
		return queued >= 100<<10
	})
}
