package frame_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

var update = flag.Bool("update", false, "write the proto part of the golden frames anew")

const goldens = "../../proto/testdata/frames"

// golden is a file of proto/testdata/frames; the README there describes it.
type golden struct {
	Comment string            `json:"comment"`
	JSON    json.RawMessage   `json:"json"`
	Also    []json.RawMessage `json:"also,omitempty"`
	Proto   []byte            `json:"proto"`
}

// refusal is a file of proto/testdata/frames/client/invalid.
type refusal struct {
	Comment string `json:"comment"`
	Text    string `json:"text"`
	Error   struct {
		Code  string `json:"code"`
		Field string `json:"field"`
		ID    string `json:"id"`
	} `json:"error"`
}

// side is the codec of one direction, for any frame.
type side struct {
	folder string
	decode func(frame.Encoding, []byte) (proto.Message, error)
	encode func([]byte, frame.Encoding, proto.Message) ([]byte, error)
	name   func(proto.Message) string
	empty  proto.Message
}

var client = side{
	folder: "client",
	decode: func(enc frame.Encoding, b []byte) (proto.Message, error) { return frame.DecodeClient(enc, b) },
	encode: func(dst []byte, enc frame.Encoding, m proto.Message) ([]byte, error) {
		return frame.AppendClient(dst, enc, m.(*wirev1.ClientFrame))
	},
	name:  func(m proto.Message) string { return frame.RequestType(m.(*wirev1.ClientFrame)) },
	empty: &wirev1.ClientFrame{},
}

var server = side{
	folder: "server",
	decode: func(enc frame.Encoding, b []byte) (proto.Message, error) { return frame.DecodeServer(enc, b) },
	encode: func(dst []byte, enc frame.Encoding, m proto.Message) ([]byte, error) {
		return frame.AppendServer(dst, enc, m.(*wirev1.ServerFrame))
	},
	name:  func(m proto.Message) string { return frame.EventType(m.(*wirev1.ServerFrame)) },
	empty: &wirev1.ServerFrame{},
}

func read[T any](t testing.TB, pattern string) map[string]*T {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(goldens, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	all := make(map[string]*T)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		v := new(T)
		if err := d.Decode(v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[path] = v
	}
	return all
}

func (g *golden) write(t *testing.T, path string) {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(g); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compacted(t testing.TB, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func deterministic(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	for _, s := range []side{client, server} {
		for path, g := range read[golden](t, s.folder+"/*.json") {
			t.Run(s.folder+"/"+filepath.Base(path), func(t *testing.T) { s.testGolden(t, path, g) })
		}
	}
}

func (s side) testGolden(t *testing.T, path string, g *golden) {
	fromJSON, err := s.decode(frame.JSON, g.JSON)
	if err != nil {
		t.Fatalf("decoding json: %v", err)
	}
	binary := deterministic(t, fromJSON)
	if *update {
		g.Proto = binary
		g.write(t, path)
	}
	if !bytes.Equal(binary, g.Proto) {
		t.Errorf("json becomes %s, golden is %s", b64(binary), b64(g.Proto))
	}
	if want, _, _ := strings.Cut(filepath.Base(path), "."); s.name(fromJSON) != want {
		t.Errorf("type %q in the file of %q", s.name(fromJSON), want)
	}
	fromProto, err := s.decode(frame.Proto, g.Proto)
	if err != nil {
		t.Fatalf("decoding proto: %v", err)
	}
	if !proto.Equal(fromJSON, fromProto) {
		t.Errorf("from json %v\nfrom proto %v", fromJSON, fromProto)
	}
	text, err := s.encode([]byte("before"), frame.JSON, fromProto)
	if err != nil {
		t.Fatalf("encoding json: %v", err)
	}
	if want := "before" + compacted(t, g.JSON); string(text) != want {
		t.Errorf("proto becomes\n%s\ngolden is\n%s", text, want)
	}
	again, err := s.encode([]byte("before"), frame.Proto, fromJSON)
	if err != nil {
		t.Fatalf("encoding proto: %v", err)
	}
	if m, err := s.decode(frame.Proto, bytes.TrimPrefix(again, []byte("before"))); err != nil || !proto.Equal(m, fromJSON) {
		t.Errorf("encoded as proto and decoded: %v, %v", m, err)
	}
	for _, other := range g.Also {
		if m, err := s.decode(frame.JSON, other); err != nil || !proto.Equal(m, fromJSON) {
			t.Errorf("%s: got %v, %v\nwant %v", other, m, err, fromJSON)
		}
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Every frame that the contract has must have a golden file.
func TestGoldenOfEveryType(t *testing.T) {
	for _, s := range []side{client, server} {
		have := make(map[string]bool)
		for path := range read[golden](t, s.folder+"/*.json") {
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			have[name] = true
		}
		oneofs := s.empty.ProtoReflect().Descriptor().Oneofs()
		for i := range oneofs.Len() {
			if oneofs.Get(i).IsSynthetic() {
				continue
			}
			for fields, j := oneofs.Get(i).Fields(), 0; j < fields.Len(); j++ {
				if name := wireName(fields.Get(j)); !have[name] {
					t.Errorf("no golden %s/%s.json", s.folder, name)
				}
			}
		}
	}
}

func wireName(f protoreflect.FieldDescriptor) string {
	return strings.ReplaceAll(string(f.Name()), "_", "-")
}

func TestGoldenInvalid(t *testing.T) {
	for path, r := range read[refusal](t, "client/invalid/*.json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := frame.DecodeClient(frame.JSON, []byte(r.Text))
			got, ok := errors.AsType[*frame.Error](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			if got.Code != r.Error.Code || got.Field != r.Error.Field {
				t.Errorf("%s at %q (%s), want %s at %q", got.Code, got.Field, got.Message, r.Error.Code, r.Error.Field)
			}
			if !strings.HasPrefix(got.Message, got.Field) || len(got.Message) > 200 {
				t.Errorf("message %q for field %q", got.Message, got.Field)
			}
			if f.GetId() != r.Error.ID || f.Request != nil {
				t.Errorf("frame %v beside the error, want id %q alone", f, r.Error.ID)
			}
		})
	}
}
