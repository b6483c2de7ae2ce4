package conn

import (
	"net/http"
	"strings"
	"testing"
)

func TestReadsEveryLength(t *testing.T) {
	const most = 70000
	s := serve(t, Options{MaxMessage: most})
	p, v := s.dial(t, nil)
	total := 0
	for _, n := range []int{0, 1, 125, 126, 127, 1023, 1024, 1025, 65535, 65536, most} {
		message := strings.Repeat("m", n)
		go p.send(masked(finBit|opText, message))
		v.wantMessage(t, message)
		total += n
	}
	if in, out := v.Bytes(); in != int64(total) || out != 0 {
		t.Errorf("bytes %d in, %d out; want %d, 0", in, out, total)
	}
	p.send(maskedClose(Normal, ""))
	v.wantEnded(t, Normal)
}

func TestReadsFragments(t *testing.T) {
	s := serve(t, Options{})
	p, v := s.dial(t, nil)
	p.send(masked(opText, "al"), masked(finBit|opPing, "1"), masked(opContinuation, ""), masked(finBit|opPing, "2"))
	p.want(finBit|opPong, "1")
	p.want(finBit|opPong, "2")
	// A character may be cut in two.
	p.send(masked(opContinuation, "pha\xe2\x82"), masked(finBit|opPong, "?"), masked(finBit|opContinuation, "\xac"), masked(finBit|opText, "beta"))
	v.wantMessage(t, "alpha€")
	v.wantMessage(t, "beta")
	// One byte at a time.
	for _, b := range masked(finBit|opText, "gamma") {
		p.send([]byte{b})
	}
	v.wantMessage(t, "gamma")
}

func TestReadsWhatCameBehindTheRequest(t *testing.T) {
	s := serve(t, Options{})
	large := strings.Repeat("l", 10000)
	p, v := s.dial(t, append(append(masked(finBit|opText, "first"), masked(finBit|opText, large)...), masked(finBit|opPing, "p")...))
	v.wantMessage(t, "first")
	v.wantMessage(t, large)
	p.want(finBit|opPong, "p")
	p.send(masked(finBit|opText, "later"))
	v.wantMessage(t, "later")
}

func TestSubprotocols(t *testing.T) {
	for offer, want := range map[string]string{
		"":                                    "",
		"chat":                                "",
		"chat, test.binary":                   "test.binary",
		"test.binary, test.text":              "test.text", // the server's order
		"TEST.Binary":                         "test.binary",
		"test.binary, " + "x" + t.Name():      "test.binary",
		strings.Repeat("x", 2000) + ", other": "",
	} {
		s := serve(t, Options{})
		p, v := s.dial(t, nil, "Sec-WebSocket-Protocol: "+offer)
		if got := v.Subprotocol(); got != want {
			t.Errorf("offer %q: subprotocol %q, want %q", offer, got, want)
		}
		if got := p.response.Header.Get("Sec-WebSocket-Protocol"); !strings.EqualFold(got, want) || !strings.Contains(offer, got) {
			t.Errorf("offer %q: echo %q", offer, got)
		}
		op := byte(opText)
		if want == "test.binary" {
			op = opBinary
		}
		p.send(masked(finBit|op, "right"))
		v.wantMessage(t, "right")
		p.send(masked(finBit|(op^3), "wrong"))
		if code, reason := p.closing(); code != WrongKind {
			t.Errorf("offer %q: closed with %d %q", offer, code, reason)
		}
		p.send(maskedClose(WrongKind, ""))
		p.wantEnd()
		v.wantEnded(t, WrongKind)
	}
}

func TestWhoIsThere(t *testing.T) {
	s := serve(t, Options{})
	_, v := s.dial(t, nil, "User-Agent: "+strings.Repeat("a", 300))
	if v.RemoteAddr() != "127.0.0.1" || v.UserAgent() != strings.Repeat("a", 256) {
		t.Errorf("address %q, agent %q", v.RemoteAddr(), v.UserAgent())
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, Options{AllowedOrigins: []string{"https://good.example"}})
	for header, want := range map[string]int{
		"Origin: https://evil.example": http.StatusForbidden,
		"Origin: http://good.example":  http.StatusForbidden,
		"Origin: https://good.example": http.StatusSwitchingProtocols,
		"Origin: http://" + s.address:  http.StatusSwitchingProtocols,
		"Sec-WebSocket-Key: second":    http.StatusBadRequest,
	} {
		p, _ := s.dial(t, nil, header)
		if got := p.response.StatusCode; got != want {
			t.Errorf("%s: %d, want %d", header, got, want)
		}
		p.Close()
	}
}

// What breaks the protocol is told so, and the peer gets to read it although
// more of what it sent is unread.
func TestBreaches(t *testing.T) {
	const most = 1000
	long := func(n int) string { return strings.Repeat("m", n) }
	for name, test := range map[string]struct {
		frames [][]byte
		code   Code
	}{
		"not masked":             {[][]byte{{finBit | opText, 2, 'h', 'i'}}, Violation},
		"ping not masked":        {[][]byte{{finBit | opPing, 0}}, Violation},
		"reserved bit 1":         {[][]byte{masked(finBit|rsv1Bit|opText, "hi")}, Violation},
		"reserved bit 2":         {[][]byte{masked(finBit|0x20|opText, "hi")}, Violation},
		"reserved bit 3":         {[][]byte{masked(finBit|0x10|opPing, "hi")}, Violation},
		"opcode 3":               {[][]byte{masked(finBit|0x3, "hi")}, Violation},
		"opcode 11":              {[][]byte{masked(finBit|0xb, "hi")}, Violation},
		"ping of 126":            {[][]byte{masked(finBit|opPing, long(126))}, Violation},
		"ping in fragments":      {[][]byte{masked(opPing, "hi")}, Violation},
		"continuation first":     {[][]byte{masked(finBit|opContinuation, "hi")}, Violation},
		"message in a message":   {[][]byte{masked(opText, "hi"), masked(finBit|opText, "ho")}, Violation},
		"negative length":        {[][]byte{{finBit | opText, 0x80 | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}}, Violation},
		"close of one byte":      {[][]byte{masked(finBit|opClose, "h")}, Violation},
		"close 999":              {[][]byte{maskedClose(999, "")}, Violation},
		"close 1004":             {[][]byte{maskedClose(1004, "")}, Violation},
		"close 1005":             {[][]byte{maskedClose(1005, "")}, Violation},
		"close 1006":             {[][]byte{maskedClose(1006, "")}, Violation},
		"close 1015":             {[][]byte{maskedClose(1015, "")}, Violation},
		"close 2000":             {[][]byte{maskedClose(2000, "")}, Violation},
		"close 5000":             {[][]byte{maskedClose(5000, "")}, Violation},
		"close reason not UTF-8": {[][]byte{maskedClose(Normal, "\xff")}, InvalidUTF8},
		"text not UTF-8":         {[][]byte{masked(finBit|opText, "\xce\xba\xed\xa0\x80")}, InvalidUTF8},
		"text cut":               {[][]byte{masked(opText, "\xe2\x82"), masked(finBit|opContinuation, "")}, InvalidUTF8},
		"too big":                {[][]byte{masked(finBit|opText, long(most+1))}, TooBig},
		"far too big":            {[][]byte{masked(finBit|opText, long(200000))}, TooBig},
		"too big in fragments":   {[][]byte{masked(opText, long(most)), masked(finBit|opContinuation, "m")}, TooBig},
		"huge by its header":     {[][]byte{{finBit | opText, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, []byte(long(2 * most))}, TooBig},
		"binary":                 {[][]byte{masked(finBit|opBinary, "hi")}, WrongKind},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Options{MaxMessage: most})
			p, v := s.dial(t, nil)
			p.send(masked(finBit|opText, long(most))) // is fine
			v.wantMessage(t, long(most))
			v.Send(Text([]byte("before")), false)
			p.want(finBit|opText, "before")
			p.send(test.frames...)
			p.send([]byte(long(100)))
			code, reason := p.closing()
			if code != test.code {
				t.Errorf("closed with %d %q, want %d", code, reason, test.code)
			}
			p.wantEndAfterClosing()
			v.wantEnded(t, test.code)
		})
	}
}

// wantEndAfterClosing answers the close frame, then reads to the end.
func (p *peer) wantEndAfterClosing() {
	p.t.Helper()
	_, _ = p.Write(maskedClose(Normal, "")) // the server may be gone by now
	if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_, _, _ = p.frame() // an end, or a reset for what it did not read
}

// A message that the connection's end cuts off is no message, wherever it is
// cut.
func TestHalfAMessageIsNone(t *testing.T) {
	const text = "half of it is not the whole of it"
	s := serve(t, Options{})
	compressed := deflate(t, strings.Repeat(text, 500))
	for name, frames := range map[string][]byte{
		"in one frame":       masked(finBit|opText, text),
		"in two":             append(masked(opText, text), masked(finBit|opContinuation, text)...),
		"compressed":         masked(finBit|rsv1Bit|opText, compressed),
		"compressed, in two": append(masked(rsv1Bit|opText, compressed), masked(finBit|opContinuation, "")...),
	} {
		for cut := 1; cut < len(frames); cut++ {
			p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: permessage-deflate")
			p.send(frames[:cut])
			p.Close()
			v.wantEnded(t, Abnormal)
			if len(v.messages) != 0 {
				t.Errorf("%s: received %.40q of %d bytes, %d in all", name, <-v.messages, cut, len(frames))
			}
		}
	}
}

func TestReadKeepsNothing(t *testing.T) {
	s := serve(t, Options{})
	var kept [][]byte
	done := make(chan struct{})
	s.handle = func(_ *served, message []byte) {
		kept = append(kept, message[:len(message):len(message)])
		if string(message) == "end" {
			close(done)
		}
	}
	p, _ := s.dial(t, nil)
	p.send(masked(finBit|opText, "one"), masked(finBit|opText, "two"), masked(finBit|opText, "end"))
	<-done
	if string(kept[2]) != "end" {
		t.Errorf("kept %q", kept)
	}
}
