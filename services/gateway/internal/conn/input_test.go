package conn

import (
	"bytes"
	"compress/flate"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a socket on which all that is to come is known.
type script struct {
	net.Conn
	mu   sync.Mutex
	in   []byte
	most int // how much one Read gives
	out  bytes.Buffer
	over bool
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 || s.over {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.most)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return nil
}

func (s *script) SetReadDeadline(time.Time) error { return nil }

// play reads a script and tells the messages and how it ended.
func play(in []byte, most int) (messages []string, code Code, reason string) {
	l := NewListener(Options{MaxMessage: 1000})
	c := &Conn{listener: l, deflate: true, wire: wire{Conn: &script{in: bytes.Clone(in), most: most}}}
	for c.Read(func(m []byte) { messages = append(messages, string(m)) }) == nil {
	}
	code, reason = c.Ended()
	return messages, code, reason
}

// FuzzFrames sends whatever it likes. It must not matter in which pieces that
// comes, and no message may be larger than allowed.
func FuzzFrames(f *testing.F) {
	text := strings.Repeat("a message of some length, ", 10)
	for _, seed := range [][][]byte{
		{masked(finBit|opText, "hello"), masked(finBit|opPing, "p"), maskedClose(Normal, "bye")},
		{masked(opText, "he"), masked(finBit|opPong, ""), masked(opContinuation, ""), masked(finBit|opContinuation, "llo")},
		{masked(finBit|rsv1Bit|opText, deflate(f, text)), masked(rsv1Bit|opText, deflate(f, text)[:5]), masked(finBit|opContinuation, deflate(f, text)[5:])},
		{masked(finBit|opText, strings.Repeat("m", 1000)), masked(finBit|opText, strings.Repeat("m", 1001))},
		{masked(finBit|opText, "\xff"), masked(finBit|opBinary, "b")},
		{{finBit | opText, 0x80 | 126, 0, 5}, []byte("garbage")},
	} {
		f.Add(bytes.Join(seed, nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		messages, code, reason := play(in, inputSize)
		if code == 0 {
			t.Error("ended without a code")
		}
		for _, m := range messages {
			if len(m) > 1000 {
				t.Errorf("a message of %d bytes", len(m))
			}
		}
		for _, most := range []int{1, 7, 126} {
			m, c, r := play(in, most)
			if strings.Join(m, "\n") != strings.Join(messages, "\n") || len(m) != len(messages) || c != code || r != reason {
				t.Fatalf("at once: %q, %d %q\nin pieces of %d: %q, %d %q", messages, code, reason, most, m, c, r)
			}
		}
	})
}

func TestLengthsAreShortest(t *testing.T) {
	for name, test := range map[string]struct {
		header string
		fine   bool
	}{
		"125 in two":   {"\x81\xfe\x00\x7d", false},
		"126 in two":   {"\x81\xfe\x00\x7e", true},
		"126 in eight": {"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x7e", false},
		"negative":     {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01", false},
	} {
		in := append([]byte(test.header), make([]byte, 4+126)...)
		messages, code, _ := play(in, inputSize)
		if (len(messages) == 1) != test.fine || test.fine != (code == Abnormal) || !test.fine && code != Violation {
			t.Errorf("%s: %d messages, ended with %d", name, len(messages), code)
		}
	}
}

// final compresses as those do who end a message with a final block (RFC 7692,
// section 7.2.3.4).
func final(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\x00"
}

func TestInflates(t *testing.T) {
	text := strings.Repeat("all the same ", 70)
	for name, test := range map[string]struct {
		payload, want string
		code          Code
	}{
		"the RFC's hello":          {"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", Abnormal},
		"the RFC's final block":    {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello", Abnormal},
		"the RFC's stored block":   {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello", Abnormal},
		"the RFC's two blocks":     {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello", Abnormal},
		"empty":                    {"\x00", "", Abnormal},
		"nothing":                  {"", "", Abnormal},
		"a final block":            {final(t, text), text, Abnormal},
		"final blocks without end": {strings.Repeat("\x03\x00", 100), "", InvalidUTF8},
		"cut":                      {deflate(t, text)[:9], "", InvalidUTF8},
		"just fits":                {deflate(t, strings.Repeat("1", 1000)), strings.Repeat("1", 1000), Abnormal},
		"a byte too many":          {deflate(t, strings.Repeat("1", 1001)), "", TooBig},
		"not UTF-8":                {deflate(t, "\xff"), "", InvalidUTF8},
		"compressed and too long":  {strings.Repeat("\x00", 1000+125+65), "", TooBig},
	} {
		messages, code, reason := play(masked(finBit|rsv1Bit|opText, test.payload), inputSize)
		if code != test.code || (len(messages) == 1) != (test.code == Abnormal) || len(messages) == 1 && messages[0] != test.want {
			t.Errorf("%s: %.60q, ended with %d %q", name, messages, code, reason)
		}
	}
}

// A connection whose peer says nothing holds no input, also when it has said
// something.
func TestSilenceHoldsNoInput(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	p.send(masked(finBit|opText, "one"), masked(opText, "t"), masked(finBit|opContinuation, "wo"))
	v.wantMessage(t, "one")
	v.wantMessage(t, "two")
	// Half a header, and then the rest of it: what is begun is held.
	frame := masked(finBit|opText, "three")
	p.send(frame[:1])
	p.send(frame[1:])
	v.wantMessage(t, "three")
	p.send(maskedClose(Normal, ""))
	p.closing()
	p.wantEnd()
	v.wantEnded(t, Normal)
	if v.wire.input != nil {
		t.Error("holds an input after its end")
	}
}
