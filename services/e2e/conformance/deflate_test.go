package conformance

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// squeeze compresses a message as RFC 7692, section 7.2.1 says: up to a sync
// flush, without its last four bytes.
func squeeze(t testing.TB, said []byte) []byte {
	return squeezeAt(t, said, flate.DefaultCompression)
}

func squeezeAt(t testing.TB, said []byte, level int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(said); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// offers are all combinations of the parameters that a client may send.
func offers() (list []string) {
	for _, server := range []string{"", "; server_no_context_takeover"} {
		for _, client := range []string{"", "; client_no_context_takeover"} {
			serverBits, clientBits := []string{""}, []string{"", "; client_max_window_bits"}
			for bits := 8; bits <= 15; bits++ {
				serverBits = append(serverBits, fmt.Sprint("; server_max_window_bits=", bits))
				clientBits = append(clientBits, fmt.Sprint("; client_max_window_bits=", bits))
			}
			for _, s := range serverBits {
				for _, c := range clientBits {
					list = append(list, "permessage-deflate"+server+client+s+c)
				}
			}
		}
	}
	return list
}

// testOffers makes every offer. What is agreed to must answer it (RFC 7692,
// section 7.1); then messages go both ways, small enough for any window.
func testOffers(t *testing.T, g *target) {
	for _, offer := range offers() {
		if err := g.offer(t, offer); err != nil {
			t.Errorf("%s: %v", offer, err)
		}
	}
	for _, bad := range []string{
		"permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits",
		"permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=08",
		"permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=1",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "permessage-bzip2", "permessage-deflat",
	} {
		p, err := dial(g.address, g.path, "Sec-WebSocket-Extensions: "+bad)
		if err != nil {
			t.Errorf("%s: %v", bad, err)
			continue
		}
		if p.extensions != "" {
			t.Errorf("%s was agreed to with %q", bad, p.extensions)
		}
		p.end()
	}
	// The first offer that can be agreed to is, in one line and in several.
	for _, lines := range [][]string{
		{"Sec-WebSocket-Extensions: permessage-bzip2, permessage-deflate; server_max_window_bits=9, permessage-deflate"},
		{"Sec-WebSocket-Extensions: x-one; a=\"b, permessage-deflate; server_max_window_bits=15\"", "Sec-WebSocket-Extensions: permessage-deflate"},
	} {
		p, err := dial(g.address, g.path, lines...)
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		if !strings.HasPrefix(p.extensions, "permessage-deflate") || strings.Contains(p.extensions, "server_max_window_bits") {
			t.Errorf("%s was answered %q", lines, p.extensions)
		}
		p.end()
	}
}

func (g *target) offer(t *testing.T, offer string) error {
	p, err := dial(g.address, g.path, "Sec-WebSocket-Extensions: "+offer)
	if err != nil {
		return err
	}
	defer p.end()
	agreed := make(map[string]string)
	for i, part := range strings.Split(p.extensions, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := agreed[name]; twice {
			return fmt.Errorf("answered %q", p.extensions)
		}
		if i == 0 && name != "" && name != "permessage-deflate" {
			return fmt.Errorf("answered %q", p.extensions)
		}
		agreed[name] = value
	}
	_, compressed := agreed["permessage-deflate"]
	asked := func(parameter string) bool { return strings.Contains(offer, parameter) }
	switch _, serverBits := agreed["server_max_window_bits"]; {
	case !compressed && p.extensions != "":
		return fmt.Errorf("answered %q", p.extensions)
	case !compressed: // where our window is to be smaller than it can be
		if !asked("server_max_window_bits=") || asked("server_max_window_bits=15") {
			return fmt.Errorf("not agreed to")
		}
	case asked("server_max_window_bits") && !serverBits:
		return fmt.Errorf("answered %q, which leaves the server's window as it is", p.extensions)
	case asked("server_no_context_takeover"):
		if _, ok := agreed["server_no_context_takeover"]; !ok {
			return fmt.Errorf("answered %q, which does not say that nothing is taken over", p.extensions)
		}
	}
	if _, ok := agreed["client_max_window_bits"]; ok && !asked("client_max_window_bits") {
		return fmt.Errorf("answered %q with what was not offered", p.extensions)
	}
	if _, ok := agreed["client_no_context_takeover"]; compressed && !ok {
		return fmt.Errorf("answered %q: a client might take its window over", p.extensions)
	}
	said := g.say(200)
	for range 2 { // the second does not refer to the first
		frame := masked(fin|text, said)
		if compressed {
			frame = masked(fin|rsv1|text, squeeze(t, said))
		}
		if err := p.write(frame); err != nil {
			return err
		}
		if _, err := g.answered(p, said); err != nil {
			return err
		}
	}
	return nil
}

// testCompressed says compressed messages of every size, as different senders
// make them, whole and in fragments, mixed with others.
func testCompressed(t *testing.T, g *target) {
	p, err := dial(g.address, g.path, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	say := func(name string, said []byte, frames ...[]byte) {
		t.Helper()
		if err := p.write(bytes.Join(frames, nil)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := g.answered(p, said); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, size := range sizes {
		said := g.say(size)
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			name := fmt.Sprintf("%d bytes at level %d", size, level)
			squeezed := squeezeAt(t, said, level)
			say(name, said, masked(fin|rsv1|text, squeezed))
			say(name+" in fragments", said, fragments(rsv1|text, squeezed, 1+len(squeezed)/3)...)
			say(name+" plain", said, masked(fin|text, said))
		}
	}
	said := g.say(300)
	squeezed := squeeze(t, said)
	say("in single bytes, with pings", said, append([][]byte{masked(rsv1|text, squeezed[:1]), masked(fin|ping, nil)}, fragments(continuation, squeezed[1:], 1)...)...)
	say("with a final block (RFC 7692, section 7.2.3.4)", said, masked(fin|rsv1|text, final(t, said)))
	say("with an empty fragment at its end", said, masked(rsv1|text, squeezed), masked(fin|continuation, nil))
	if g.echoes {
		say("nothing (section 7.2.3.6)", nil, masked(fin|rsv1|text, []byte{0}))
		noise := make([]byte, limit)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range noise {
			noise[i] = 'a' + byte(random.IntN(26)) // text that hardly compresses
		}
		say("noise", noise, masked(fin|rsv1|text, squeeze(t, noise)))
	}
}

// final ends a message with a final block.
func final(t testing.TB, said []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(said); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(buf.Bytes(), 0)
}

func testBadlyCompressed(t *testing.T, g *target) {
	said := g.say(300)
	squeezed := squeeze(t, said)
	bomb := squeeze(t, make([]byte, 8<<20)) // 8 KiB that would be 8 MiB
	for name, c := range map[string]struct {
		code   int
		frames [][]byte
	}{
		"bytes that are no deflate":   {1007, [][]byte{masked(fin|rsv1|text, []byte("\xff\xff\xff\xff this is none"))}},
		"a block type there is not":   {1007, [][]byte{masked(fin|rsv1|text, []byte{0x07})}},
		"cut off":                     {1007, [][]byte{masked(fin|rsv1|text, squeezed[:len(squeezed)/2])}},
		"a reference to before":       {1007, [][]byte{masked(fin|rsv1|text, said[:0]), masked(fin|rsv1|text, takenOver(t, said))}},
		"text that is not UTF-8":      {1007, [][]byte{masked(fin|rsv1|text, squeeze(t, g.within("\xed\xa0\x80")))}},
		"one byte too many, inflated": {1009, [][]byte{masked(fin|rsv1|text, squeeze(t, g.say(limit+1)))}},
		"a bomb":                      {1009, [][]byte{masked(fin|rsv1|text, bomb)}},
		"the bit on a continuation":   {1002, [][]byte{masked(rsv1|text, squeezed[:9]), masked(fin|rsv1|continuation, squeezed[9:])}},
		"the bit on a ping":           {1002, [][]byte{masked(fin|rsv1|ping, nil)}},
		"another bit":                 {1002, [][]byte{masked(fin|rsv2|text, said)}},
	} {
		p, err := dial(g.address, g.path, "Sec-WebSocket-Extensions: permessage-deflate")
		if err != nil {
			t.Fatal(err)
		}
		_ = p.write(bytes.Join(c.frames, nil)) // an error shows in the answer
		if code, reason, err := p.closed(true); code != c.code || err != nil {
			t.Errorf("%s: closed with %d %q, %v, want %d", name, code, reason, err, c.code)
		}
		p.end()
	}
}

// takenOver compresses a message that refers to the one before, which is the
// same: who has agreed to client_no_context_takeover must not.
func takenOver(t testing.TB, said []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriterDict(&buf, flate.BestCompression, said)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(said); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})
}
