package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// testPings sends pings of every size that there may be, one after the other, ten
// at once, and more than need be answered (RFC 6455, section 5.5.3): of those
// the last one is.
func testPings(t *testing.T, g *target) {
	p, err := dial(g.address, g.path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	said := g.say(64) // first, for a gateway greets
	if err := p.write(masked(fin|text, said)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.answered(p, said); err != nil {
		t.Fatal(err)
	}
	want := func(payload []byte) {
		t.Helper()
		f, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		if f.opcode() != pong || !bytes.Equal(f.payload, payload) {
			t.Errorf("%q was answered %#x %q", payload, f.first, f.payload)
		}
	}
	for size := range 126 {
		payload := bytes.Repeat([]byte{byte(size), 0xff}, 63)[:size]
		if err := p.write(append(masked(fin|pong, []byte("unasked")), masked(fin|ping, payload)...)); err != nil {
			t.Fatal(err)
		}
		want(payload)
	}
	var burst []byte
	for i := range 10 {
		burst = append(burst, masked(fin|ping, []byte(fmt.Sprint("ping ", i)))...)
	}
	if err := p.write(burst); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		want([]byte(fmt.Sprint("ping ", i)))
	}
	for i := range 1000 {
		if err := p.write(masked(fin|ping, []byte(fmt.Sprint("flood ", i)))); err != nil {
			t.Fatal(err)
		}
	}
	for last := -1; last < 999; {
		f, err := p.frame()
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscanf(string(f.payload), "flood %d", &i); err != nil || f.opcode() != pong || i <= last {
			t.Fatalf("behind ping %d: %#x %q", last, f.first, f.payload)
		}
		last = i
	}
}

// testControlsWithin puts control frames between the fragments of a message.
func testControlsWithin(t *testing.T, g *target) {
	said := g.say(90)
	var frames [][]byte
	for i, f := range fragments(text, said, 9) {
		frames = append(frames, masked(fin|ping, []byte{byte(i)}), f, masked(fin|pong, []byte("unasked")))
	}
	controls, err := g.exchange(said, frames...)
	if err != nil {
		t.Fatal(err)
	}
	pongs := 0
	for _, f := range controls {
		if f.opcode() == pong {
			pongs++
		}
	}
	if pongs != 10 {
		t.Errorf("%d of 10 pings within a message were answered before it", pongs)
	}
	// A close within a message ends all: the rest is not waited for.
	g.refuses(t, "a close within a message", 1000, masked(text, said[:10]), masked(fin|closing, closePayload(1000, "")))
}

func testBadControls(t *testing.T, g *target) {
	for name, op := range map[string]byte{"ping": ping, "pong": pong, "close": closing} {
		payload := bytes.Repeat([]byte{3, 232}, 63)
		g.refuses(t, name+" of 126 bytes", 1002, masked(fin|op, payload))
		g.refuses(t, name+" of 64 KiB", 1002, masked(fin|op, make([]byte, 64<<10)))
		g.refuses(t, name+" in fragments", 1002, masked(op, payload[:2]), masked(fin|continuation, nil))
		g.refuses(t, name+" in fragments within a message", 1002, masked(text, []byte("{")), masked(op, nil))
		for _, bit := range []byte{rsv1, rsv2, rsv3} {
			g.refuses(t, fmt.Sprintf("%s with bit %#x", name, bit), 1002, masked(fin|bit|op, nil))
		}
	}
}

// testReservedBits sets all their combinations where nothing was agreed.
func testReservedBits(t *testing.T, g *target) {
	said := g.say(64)
	for bits := byte(rsv3); bits <= rsv1|rsv2|rsv3; bits += rsv3 {
		g.refuses(t, fmt.Sprintf("bits %#x on a message", bits), 1002, masked(fin|bits|text, said))
		g.refuses(t, fmt.Sprintf("bits %#x behind a message", bits), 1002, masked(fin|text, said), masked(fin|bits|text, said))
		g.refuses(t, fmt.Sprintf("bits %#x on a fragment", bits), 1002, masked(text, said), masked(fin|bits|continuation, nil))
	}
}

func testOpcodes(t *testing.T, g *target) {
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		g.refuses(t, fmt.Sprintf("opcode %d", op), 1002, masked(fin|op, nil))
		g.refuses(t, fmt.Sprintf("opcode %d with a payload", op), 1002, masked(fin|op, []byte("payload")))
		g.refuses(t, fmt.Sprintf("opcode %d behind a message", op), 1002, masked(fin|text, g.say(64)), masked(fin|op, nil))
		g.refuses(t, fmt.Sprintf("opcode %d within a message", op), 1002, masked(text, []byte("{")), masked(fin|op, nil))
	}
}

func testMasksAndLengths(t *testing.T, g *target) {
	for first, name := range map[byte]string{fin | text: "text", fin | ping: "ping", fin | closing: "close"} {
		g.refuses(t, name+" without a mask", 1002, []byte{first, 2, 3, 232})
	}
	for _, n := range []int{0, 1, 125} {
		g.refuses(t, fmt.Sprintf("%d bytes with a length of two", n), 1002,
			binary.BigEndian.AppendUint16([]byte{fin | text, 0x80 | 126}, uint16(n)), make([]byte, 4+n))
	}
	for _, n := range []int{0, 126, 1<<16 - 1} {
		g.refuses(t, fmt.Sprintf("%d bytes with a length of eight", n), 1002,
			binary.BigEndian.AppendUint64([]byte{fin | text, 0x80 | 127}, uint64(n)), make([]byte, 4+n))
	}
	g.refuses(t, "a negative length", 1002, binary.BigEndian.AppendUint64([]byte{fin | text, 0x80 | 127}, 1<<63), make([]byte, 100))
}

func testOrderOfFrames(t *testing.T, g *target) {
	said := g.say(64)
	g.refuses(t, "a continuation first", 1002, masked(continuation, said), masked(fin|continuation, nil))
	g.refuses(t, "a last continuation first", 1002, masked(fin|continuation, said))
	g.refuses(t, "a continuation behind a message", 1002, masked(fin|text, said), masked(fin|continuation, nil))
	g.refuses(t, "a continuation behind fragments", 1002, masked(text, said), masked(fin|continuation, nil), masked(fin|continuation, nil))
	for _, kind := range []byte{text, binaryKind} {
		g.refuses(t, fmt.Sprintf("kind %#x within a message", kind), 1002, masked(text, said), masked(fin|kind, said))
		g.refuses(t, fmt.Sprintf("a fragment of kind %#x within a message", kind), 1002, masked(text, said), masked(kind, said))
	}
	if !g.echoes { // whose subprotocol has text messages
		g.refuses(t, "binary", 1003, masked(fin|binaryKind, said))
		g.refuses(t, "binary in fragments", 1003, masked(binaryKind, said), masked(fin|continuation, nil))
	}
}
