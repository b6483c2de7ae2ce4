package conn

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

func TestFrameBytes(t *testing.T) {
	const most = 1 << 20
	s := serve(t, Options{})
	for _, test := range []struct {
		length int
		head   string
	}{
		{0, "\x00"}, {1, "\x01"}, {125, "\x7d"},
		{126, "\x7e\x00\x7e"}, {127, "\x7e\x00\x7f"}, {65535, "\x7e\xff\xff"},
		{65536, "\x7f\x00\x00\x00\x00\x00\x01\x00\x00"}, {most, "\x7f\x00\x00\x00\x00\x00\x10\x00\x00"},
	} {
		for op, prepare := range map[string]func([]byte) *Prepared{"\x81": Text, "\x82": Binary} {
			payload := bytes.Repeat([]byte("x"), test.length)
			p := prepare(payload)
			want := op + test.head + string(payload)
			if got := p.frame(false); string(got) != want {
				t.Errorf("%d bytes: frame begins %x", test.length, got[:min(len(got), 12)])
			}
			if !bytes.Equal(p.Payload(), payload) {
				t.Errorf("%d bytes: another payload", test.length)
			}
		}
		p, v := s.dial(t, nil)
		payload := strings.Repeat("é", test.length/2) + strings.Repeat("x", test.length%2)
		v.Send(Text([]byte(payload)), false)
		p.want(finBit|opText, payload)
		eventually(t, "all is written", func() bool {
			_, out := v.Bytes()
			return out == int64(test.length+1+len(test.head))
		})
	}
}

func TestManyAreOneWrite(t *testing.T) {
	s := serve(t, Options{QueueBytes: 8 << 20})
	p, v := s.dial(t, nil)
	const n = 20000
	for i := range n {
		switch {
		case i%5000 == 7: // larger than what is gathered
			v.Send(Text([]byte(strconv.Itoa(i)+strings.Repeat(" ", 40000))), false)
		default:
			v.Send(Text([]byte(strconv.Itoa(i))), i%2 == 0)
		}
	}
	for i := range n {
		_, payload, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimRight(string(payload), " "); got != strconv.Itoa(i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
}

func TestPongs(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	for n := range 126 {
		p.send(masked(finBit|opPing, strings.Repeat("p", n)))
		p.want(finBit|opPong, strings.Repeat("p", n))
	}
	// Some at once are all answered, in order.
	var burst []byte
	for i := range 10 {
		burst = append(burst, masked(finBit|opPing, strconv.Itoa(i))...)
	}
	p.send(burst)
	for i := range 10 {
		p.want(finBit|opPong, strconv.Itoa(i))
	}
	if in, out := v.Bytes(); in != 0 || out != 0 {
		t.Errorf("%d, %d bytes of messages", in, out)
	}
}

// Data, pongs, pings and the close frame go out whole and in order, however
// slowly they are read.
func TestFramesNeverMix(t *testing.T) {
	s := serveTight(t, Options{QueueBytes: 64 << 20, Heartbeat: wheelSlots * 2e6})
	s.closeTimeout = patience // there is much to flush
	p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: permessage-deflate")
	const n = 2000
	var flooded, sent = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flooded)
		defer func() { _, _ = p.Write(masked(finBit|opText, "enough")) }() // the close comes only then
		for i := range 4 * n {
			if _, err := p.Write(masked(finBit|opPing, strconv.Itoa(i))); err != nil {
				t.Error("pinging:", err)
				return
			}
			if i%7 == 0 {
				if _, err := p.Write(masked(finBit|opPong, "")); err != nil {
					t.Error("ponging:", err)
					return
				}
			}
		}
	}()
	text := func(i int) string { return strconv.Itoa(i) + strings.Repeat(" ", i%1100) }
	go func() {
		defer close(sent)
		for i := range n {
			v.Send(Text([]byte(text(i))), false)
		}
		<-v.messages
		v.Close(Reconnect, "enough")
	}()
	next, latest, pongs := 0, -1, 0
	for {
		first, payload, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		if first == finBit|opClose {
			break
		}
		switch first &^ rsv1Bit {
		case finBit | opPong:
			i, err := strconv.Atoi(string(payload))
			if err != nil || i <= latest {
				t.Fatalf("pong %q after %d", payload, latest)
			}
			latest = i
			pongs++
		case finBit | opText:
			got := string(payload)
			if first&rsv1Bit != 0 {
				got = inflate(t, payload)
			}
			if got != text(next) {
				t.Fatalf("message %d is %.40q", next, got)
			}
			next++
		}
	}
	<-sent
	<-flooded
	if next != n || latest != 4*n-1 {
		t.Errorf("%d messages of %d; %d pongs, the last for %d", next, n, pongs, latest)
	}
	p.send(maskedClose(Reconnect, ""))
	p.wantEnd()
	v.wantEnded(t, Reconnect)
}
