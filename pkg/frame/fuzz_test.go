package frame_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
)

func (s side) seed(f *testing.F) {
	for _, g := range read[golden](f, s.folder+"/*.json") {
		f.Add(false, []byte(g.JSON))
		f.Add(true, g.Proto)
		for _, other := range g.Also {
			f.Add(false, []byte(other))
		}
	}
	for _, r := range read[refusal](f, "client/invalid/*.json") {
		f.Add(false, []byte(r.Text))
	}
}

func FuzzDecodeClient(f *testing.F) {
	client.seed(f)
	f.Fuzz(client.fuzz)
}

func FuzzDecodeServer(f *testing.F) {
	server.seed(f)
	f.Fuzz(server.fuzz)
}

// fuzz holds: any bytes give a frame or an *Error; what was decoded encodes
// and decodes to the same again; and what came in one encoding also goes
// through the other.
func (s side) fuzz(t *testing.T, binary bool, b []byte) {
	enc := frame.JSON
	if binary {
		enc = frame.Proto
	}
	input := bytes.Clone(b)
	first, err := s.decode(enc, b)
	if !bytes.Equal(b, input) {
		t.Fatal("decoding changed its input")
	}
	if err != nil {
		refused, ok := errors.AsType[*frame.Error](err)
		if !ok || refused.Code == "" || refused.Message == "" {
			t.Fatalf("error %#v", err)
		}
		if s.name(first) != "" {
			t.Fatalf("%v beside %v", first, err)
		}
		return
	}
	if s.name(first) == "" {
		t.Fatalf("%v has no type", first)
	}
	text := s.roundTrip(t, enc, first)
	other := frame.Proto
	if binary {
		other = frame.JSON
		// JSON cuts times to milliseconds: compare from here on.
		crossed, err := s.encode(nil, frame.JSON, first)
		if err != nil {
			t.Fatal(err)
		}
		if first, err = s.decode(frame.JSON, crossed); err != nil {
			t.Fatalf("%s: %v", crossed, err)
		}
	}
	s.roundTrip(t, other, first)
	for i := range b { // nothing of the frame may stand in b
		b[i] = 'x'
	}
	if again, err := s.encode(nil, enc, first); err != nil || enc == frame.JSON && !bytes.Equal(again, text) {
		t.Fatalf("%s changed with its input: %s, %v", text, again, err)
	}
}

func (s side) roundTrip(t *testing.T, enc frame.Encoding, first proto.Message) []byte {
	t.Helper()
	out, err := s.encode(nil, enc, first)
	if err != nil {
		t.Fatalf("encoding %v: %v", first, err)
	}
	second, err := s.decode(enc, out)
	if err != nil {
		t.Fatalf("decoding %s: %v", out, err)
	}
	if !proto.Equal(first, second) {
		t.Fatalf("%v became %v", first, second)
	}
	return out
}
