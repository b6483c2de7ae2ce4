package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// testClosing closes as a client may: the same code comes back (RFC 6455,
// section 5.5.1), and the server ends the connection.
func testClosing(t *testing.T, g *target) {
	g.refuses(t, "no code", 1005, masked(fin|closing, nil))
	codes := []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	for _, code := range codes {
		g.refuses(t, fmt.Sprintf("code %d", code), code, masked(fin|closing, closePayload(code, "")))
	}
	for _, reason := range []string{"bye", strings.Repeat("*", 123), "κόσμε", strings.Repeat("é", 61)} {
		g.refuses(t, fmt.Sprintf("reason %q", reason), 1000, masked(fin|closing, closePayload(1000, reason)))
	}
	said := g.say(64)
	for name, frames := range map[string][][]byte{
		"a message": {masked(fin|text, said)}, "a ping": {masked(fin|ping, []byte("late"))},
		"another close": {masked(fin|closing, closePayload(1001, ""))}, "garbage": {bytes.Repeat([]byte{0xff}, 3000)},
	} {
		g.refuses(t, name+" behind the close", 1000, append([][]byte{masked(fin|closing, closePayload(1000, ""))}, frames...)...)
	}
	// What was said before it is answered.
	p, err := dial(g.address, g.path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	if err := p.write(append(masked(fin|text, said), masked(fin|closing, closePayload(1000, ""))...)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.answered(p, said); err != nil {
		t.Errorf("a message in front of the close: %v", err)
	}
	if code, _, err := p.closed(false); code != 1000 || err != nil {
		t.Errorf("then closed with %d, %v", code, err)
	}
	if g.echoes { // one that ends its sending alone has said all
		p, err := dial(g.address, g.path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.end()
		if err := p.socket.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if code, _, err := p.closed(false); code != 1006 || err != nil {
			t.Errorf("behind the end of the stream: %d, %v", code, err)
		}
	}
}

func testBadClosing(t *testing.T, g *target) {
	g.refuses(t, "half a code", 1002, masked(fin|closing, []byte{3}))
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		g.refuses(t, fmt.Sprintf("code %d", code), 1002, masked(fin|closing, closePayload(code, "")))
		g.refuses(t, fmt.Sprintf("code %d with a reason", code), 1002, masked(fin|closing, closePayload(code, "reason")))
	}
	for _, bad := range notText {
		g.refuses(t, fmt.Sprintf("reason %q", bad), 1007, masked(fin|closing, closePayload(1000, bad)))
	}
	g.refuses(t, "a reason of 124 bytes", 1002, masked(fin|closing, closePayload(1000, strings.Repeat("*", 124))))
}

// testLimits says what is too large: announced, in fragments, and inflated.
func testLimits(t *testing.T, g *target) {
	large := g.say(limit + 1)
	g.refuses(t, "one byte too many", 1009, masked(fin|text, large))
	g.refuses(t, "one byte too many in fragments", 1009, masked(text, large[:limit]), masked(fin|continuation, large[limit:]))
	g.refuses(t, "many fragments", 1009, fragments(text, g.say(3*limit), 1000)...)
	for _, n := range []uint64{limit + 1, 1 << 20, 1 << 31, 1 << 40, 1<<63 - 1} {
		header := masked(fin|text, make([]byte, 1<<16))[:14]
		for i := range 8 {
			header[2+i] = byte(n >> (56 - 8*i))
		}
		g.refuses(t, fmt.Sprintf("%d bytes announced", n), 1009, header)
	}
}
