package conformance

import (
	"bytes"
	"fmt"
	"testing"
)

// sizes are of messages around every edge there is: of the three forms of a
// length, of the buffers of both sides, of the limit.
var sizes = []int{64, 125, 126, 127, 128, 1023, 1024, 4089, 4090, 4095, 4096, 4097, 8192, 16384, 32767, 32768, 65534, limit - 1, limit}

// testMessages says messages of every size, each in one frame, and written to
// the socket whole and in pieces.
func testMessages(t *testing.T, g *target) {
	for _, size := range sizes {
		said := g.say(size)
		if _, err := g.exchange(said, masked(fin|text, said)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for _, piece := range []int{1, 2, 3, 7, 61, 997} {
		said := g.say(1000)
		if err := g.inPieces(said, masked(fin|text, said), piece); err != nil {
			t.Errorf("in pieces of %d bytes: %v", piece, err)
		}
	}
	if !g.echoes {
		return
	}
	for _, kind := range []byte{text, binaryKind} {
		for _, size := range append([]int{0, 1, 2, 3, 63}, sizes...) {
			said := bytes.Repeat([]byte{'*'}, size)
			if kind == binaryKind {
				for i := range said {
					said[i] = byte(i * 7)
				}
			}
			if err := g.echo(kind, said, masked(fin|kind, said)); err != nil {
				t.Errorf("kind %#x, %d bytes: %v", kind, size, err)
			}
		}
	}
}

// inPieces sends a frame a few bytes a write.
func (g *target) inPieces(said, frame []byte, size int) error {
	p, err := dial(g.address, g.path)
	if err != nil {
		return err
	}
	defer p.end()
	for len(frame) > 0 {
		n := min(size, len(frame))
		if err := p.write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	_, err = g.answered(p, said)
	return err
}

// echo sends frames that are one message, and wants it back.
func (g *target) echo(kind byte, said []byte, frames ...[]byte) error {
	p, err := dial(g.address, g.path)
	if err != nil {
		return err
	}
	defer p.end()
	if err := p.write(bytes.Join(frames, nil)); err != nil {
		return err
	}
	gotKind, got, _, err := p.message()
	if err == nil && (gotKind != kind || !bytes.Equal(got, said)) {
		err = fmt.Errorf("kind %#x, %.60q came back", gotKind, got)
	}
	return err
}

// testFragments says messages in fragments: cut at every byte, into every
// number of equal parts, and with empty ones.
func testFragments(t *testing.T, g *target) {
	said := g.say(128)
	for cut := range len(said) + 1 {
		if _, err := g.exchange(said, masked(text, said[:cut]), masked(fin|continuation, said[cut:])); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for _, size := range []int{1, 2, 3, 13, 100} {
		if _, err := g.exchange(said, fragments(text, said, size)...); err != nil {
			t.Errorf("in fragments of %d: %v", size, err)
		}
	}
	for _, whole := range []int{4096, 4097, limit} {
		said := g.say(whole)
		for _, size := range []int{63, 1000, 4096, 16384} {
			if _, err := g.exchange(said, fragments(text, said, size)...); err != nil {
				t.Errorf("%d bytes in fragments of %d: %v", whole, size, err)
			}
		}
	}
	empty := [][]byte{masked(text, nil)}
	for range 100 {
		empty = append(empty, masked(continuation, nil))
	}
	if _, err := g.exchange(said, append(empty, masked(fin|continuation, said))...); err != nil {
		t.Errorf("behind empty fragments: %v", err)
	}
	if _, err := g.exchange(said, masked(text, said), masked(continuation, nil), masked(fin|continuation, nil)); err != nil {
		t.Errorf("before empty fragments: %v", err)
	}
	if g.echoes {
		if err := g.echo(text, nil, masked(text, nil), masked(continuation, nil), masked(fin|continuation, nil)); err != nil {
			t.Errorf("nothing in fragments: %v", err)
		}
		said := []byte{0xff, 0, 0xfe, 0x80}
		if err := g.echo(binaryKind, said, fragments(binaryKind, said, 1)...); err != nil {
			t.Errorf("binary in fragments: %v", err)
		}
	}
}

// fragments cuts a message.
func fragments(first byte, said []byte, size int) (frames [][]byte) {
	for len(said) > size {
		frames = append(frames, masked(first, said[:size]))
		first, said = continuation, said[size:]
	}
	return append(frames, masked(fin|first, said))
}

// testMany says many messages without waiting for the answers.
func testMany(t *testing.T, g *target) {
	for _, size := range []int{64, 256, 1024, 4096, 16384} {
		p, err := dial(g.address, g.path, "Sec-WebSocket-Extensions: permessage-deflate")
		if err != nil {
			t.Fatal(err)
		}
		const count = 500
		said := g.say(size)
		frames := [][]byte{masked(fin|text, said), masked(fin|rsv1|text, squeeze(t, said)), bytes.Join(fragments(text, said, 1+size/3), nil)}
		sent := make(chan error, 1)
		go func() {
			for i := range count {
				if err := p.write(frames[i%len(frames)]); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for i := range count {
			if _, err := g.answered(p, said); err != nil {
				t.Errorf("%d bytes, message %d: %v", size, i, err)
				break
			}
		}
		p.end()
		<-sent // an error shows in the answers
	}
}
