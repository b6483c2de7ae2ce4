package conn

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
)

const deflateTail = "\x00\x00\xff\xff"

// deflate compresses as a client does (RFC 7692, section 7.2.1).
func deflate(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), deflateTail)
}

func inflate(t testing.TB, b []byte) string {
	t.Helper()
	// An empty final block behind the tail makes an end of it.
	r := flate.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader(deflateTail+"\x01\x00\x00\xff\xff")))
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal("inflating:", err)
	}
	return string(got)
}

func TestDeflateOffers(t *testing.T) {
	for offer, agreed := range map[string]bool{
		"permessage-deflate":                                                     true,
		"permessage-deflate; client_max_window_bits":                             true,
		"permessage-deflate; client_max_window_bits=10":                          true,
		"permessage-deflate; server_no_context_takeover":                         true,
		"permessage-deflate; client_no_context_takeover; client_max_window_bits": true,
		"permessage-deflate; server_max_window_bits=15":                          true,
		"permessage-deflate; server_max_window_bits=10":                          false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":      true,
		"permessage-deflate; what=ever":                                          false,
		"x-webkit-deflate-frame":                                                 false,
		"":                                                                       false,
	} {
		t.Run(offer, func(t *testing.T) {
			s := serve(t, Options{})
			p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: "+offer)
			answer := p.response.Header.Get("Sec-WebSocket-Extensions")
			if got := strings.Contains(answer, "permessage-deflate"); got != agreed {
				t.Fatalf("answered %q", answer)
			}
			if agreed && !strings.Contains(answer, "server_no_context_takeover") {
				t.Errorf("answered %q", answer)
			}
			text := strings.Repeat("all the same ", 200)
			for range 2 { // the second does not refer to the first
				v.Send(Text([]byte(text)), false)
				first, payload, err := p.frame()
				if err != nil {
					t.Fatal(err)
				}
				if agreed {
					if first != finBit|rsv1Bit|opText || len(payload) >= len(text) || inflate(t, payload) != text {
						t.Errorf("first byte %#x, %d bytes", first, len(payload))
					}
				} else if first != finBit|opText || string(payload) != text {
					t.Errorf("first byte %#x, %.40q", first, payload)
				}
			}
			p.send(masked(finBit|opText, "plain"))
			v.wantMessage(t, "plain")
			if agreed {
				p.send(masked(finBit|rsv1Bit|opText, deflate(t, text)))
				v.wantMessage(t, text)
				// In fragments, of which the first alone carries the bit.
				d := deflate(t, text)
				p.send(masked(rsv1Bit|opText, d[:5]), masked(finBit|opPing, "p"), masked(finBit|opContinuation, d[5:]))
				v.wantMessage(t, text)
			}
		})
	}
}

func TestNoDeflate(t *testing.T) {
	s := serve(t, Options{NoDeflate: true})
	p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: permessage-deflate")
	if got := p.response.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("answered %q", got)
	}
	text := strings.Repeat("x", 5000)
	v.Send(Text([]byte(text)), false)
	p.want(finBit|opText, text)
}

func TestDeflateWhatIsWorthIt(t *testing.T) {
	noise := make([]byte, 4000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		noise[i] = byte(x)
	}
	s := serve(t, Options{})
	p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: test.binary")
	for _, test := range []struct {
		payload string
		first   byte
	}{
		{strings.Repeat("s", deflateFrom-1), finBit | opBinary},
		{strings.Repeat("s", deflateFrom), finBit | rsv1Bit | opBinary},
		{string(noise), finBit | opBinary},
	} {
		v.Send(Binary([]byte(test.payload)), false)
		first, payload, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		if first != test.first {
			t.Errorf("%d bytes: first byte %#x, want %#x", len(test.payload), first, test.first)
		}
		if first&rsv1Bit != 0 {
			payload = []byte(inflate(t, payload))
		}
		if string(payload) != test.payload {
			t.Errorf("%d bytes became %d others", len(test.payload), len(payload))
		}
	}
}

func TestPreparedIsShared(t *testing.T) {
	s := serve(t, Options{})
	payload := bytes.Repeat([]byte("shared "), 1000)
	message := Text(payload)
	var peers []*peer
	for i := range 8 {
		var header []string
		if i%2 == 0 {
			header = []string{"Sec-WebSocket-Extensions: permessage-deflate"}
		}
		p, v := s.dial(t, nil, header...)
		peers = append(peers, p)
		go v.Send(message, false)
	}
	for i, p := range peers {
		first, got, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if first&rsv1Bit == 0 {
				t.Errorf("peer %d: not compressed", i)
			}
			got = []byte(inflate(t, got))
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("peer %d got something else", i)
		}
	}
	if !bytes.Equal(message.Payload(), payload) {
		t.Error("the payload has changed")
	}
}

func TestBombsAndGarbage(t *testing.T) {
	s := serve(t, Options{MaxMessage: 10000})
	for name, test := range map[string]struct {
		payload string
		code    Code
	}{
		"bomb":    {deflate(t, strings.Repeat("0", 5<<20)), TooBig},
		"garbage": {strings.Repeat("\xff", 100), InvalidUTF8},
	} {
		p, v := s.dial(t, nil, "Sec-WebSocket-Extensions: permessage-deflate")
		p.send(masked(finBit|rsv1Bit|opText, test.payload))
		if code, reason := p.closing(); code != test.code {
			t.Errorf("%s: closed with %d %q, want %d", name, code, reason, test.code)
		}
		p.wantEndAfterClosing()
		v.wantEnded(t, test.code)
	}
}
