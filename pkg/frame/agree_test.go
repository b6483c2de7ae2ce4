package frame

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// random makes frames that the protocol can carry.
type random struct{ *rand.Rand }

func (r random) frame(d *direction, t *frameType, into proto.Message) {
	m := into.ProtoReflect()
	if r.IntN(2) == 0 {
		id := m.Descriptor().Fields().ByName("id")
		m.Set(id, protoreflect.ValueOfString("m1"))
	}
	if trace := m.Descriptor().Fields().ByName("traceparent"); trace != nil && r.IntN(2) == 0 {
		m.Set(trace, protoreflect.ValueOfString(r.text()))
	}
	r.fill(t.plan, m.Mutable(t.desc).Message(), 0)
}

func (r random) fill(p *plan, m protoreflect.Message, depth int) {
	for _, f := range p.fields {
		if r.IntN(4) == 0 {
			continue
		}
		switch f.shape {
		case single:
			m.Set(f.desc, r.value(f, m.NewField(f.desc), depth))
		case list:
			l := m.Mutable(f.desc).List()
			for range r.IntN(4) {
				l.Append(r.value(f, l.NewElement(), depth))
			}
		case mapping:
			entries := m.Mutable(f.desc).Map()
			for range r.IntN(4) {
				entries.Set(protoreflect.ValueOfString(r.text()).MapKey(), r.value(f, entries.NewValue(), depth))
			}
		}
	}
}

func (r random) value(f *field, v protoreflect.Value, depth int) protoreflect.Value {
	switch f.kind {
	case kindText:
		return protoreflect.ValueOfString(r.text())
	case kindBool:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case kindInt32:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	case kindInt64:
		return protoreflect.ValueOfInt64(r.Int64N(2*maxInteger+1) - maxInteger)
	case kindDouble:
		return protoreflect.ValueOfFloat64(r.NormFloat64())
	case kindBytes:
		return protoreflect.ValueOfBytes([]byte(r.text()))
	case kindData:
		return protoreflect.ValueOfBytes([]byte(r.json(3)))
	case kindTime:
		t := timestamppb.New(time.UnixMilli(r.Int64N(4e12)))
		return protoreflect.ValueOfMessage(t.ProtoReflect())
	case kindFrame:
		types := []string{"chat-message", "room-message", "chat", "message-edited", "message-deleted"}
		if depth < maxNested-1 {
			types = append(types, "message-history")
		}
		t := events.byName[types[r.IntN(len(types))]]
		r.fill(t.plan, v.Message().Mutable(t.desc).Message(), depth+1)
	case kindMessage:
		r.fill(f.plan, v.Message(), depth)
	}
	return v
}

func (r random) text() string {
	var b strings.Builder
	for range r.IntN(8) {
		switch r.IntN(4) {
		case 0:
			b.WriteByte(byte(r.IntN(0x80)))
		case 1:
			if c := rune(r.IntN(utf8.MaxRune + 1)); utf8.ValidRune(c) {
				b.WriteRune(c)
			}
		default:
			b.WriteByte(`ab"\/<é`[r.IntN(6)])
		}
	}
	return b.String()
}

func (r random) json(depth int) string {
	if depth == 0 {
		return []string{"null", "true", "-0", "1.50", "1e9", `"a b"`, `"\ud800"`}[r.IntN(7)]
	}
	var parts []string
	for range r.IntN(3) {
		parts = append(parts, r.json(depth-1))
	}
	if r.IntN(2) == 0 {
		return "[" + strings.Join(parts, ",") + "]"
	}
	for i := range parts {
		parts[i] = `"k":` + parts[i]
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// bothRequests reads b on the direct path and on the one of the descriptors.
func bothRequests(b []byte) (direct, generic *wirev1.ClientFrame, errs [2]*Error) {
	direct, generic = new(wirev1.ClientFrame), new(wirev1.ClientFrame)
	errs[0] = readRequest(b, direct)
	t, err := requests.find(b)
	if errs[1] = err; err == nil {
		errs[1] = readObject(b, t.members, reflected{generic.ProtoReflect().Mutable(t.desc).Message(), 0}, envelope{&generic.Id, &generic.Traceparent})
	}
	return direct, generic, errs
}

func bothEvents(b []byte) (direct, generic *wirev1.ServerFrame, errs [2]*Error) {
	direct, generic = new(wirev1.ServerFrame), new(wirev1.ServerFrame)
	errs[0] = readEvent(b, direct, 0)
	t, err := events.find(b)
	if errs[1] = err; err == nil {
		errs[1] = readObject(b, t.members, reflected{generic.ProtoReflect().Mutable(t.desc).Message(), 0}, envelope{id: &generic.Id})
	}
	return direct, generic, errs
}

// The direct paths are copies of what the descriptors say; this test makes
// them say the same, also about text with a fault in it.
func TestDirectPathsAgree(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	for range 100 {
		for _, ft := range requests.byName {
			f := new(wirev1.ClientFrame)
			r.frame(requests, ft, f)
			text := agreeOnWriting(t, f, f.Id, f.Traceparent, requests, func(e *encoder) bool { return e.directRequest(f) })
			for _, b := range append(r.spoiled(text), text) {
				if direct, generic, errs := bothRequests(b); !reflect.DeepEqual(errs[0], errs[1]) ||
					errs[0] == nil && !proto.Equal(direct, generic) {
					t.Fatalf("%s:\ndirect  %v %v\ngeneric %v %v", b, direct, errs[0], generic, errs[1])
				}
			}
		}
		for _, ft := range events.byName {
			f := new(wirev1.ServerFrame)
			r.frame(events, ft, f)
			text := agreeOnWriting(t, f, f.Id, nil, events, func(e *encoder) bool { return e.directEvent(f) })
			for _, b := range append(r.spoiled(text), text) {
				if direct, generic, errs := bothEvents(b); !reflect.DeepEqual(errs[0], errs[1]) ||
					errs[0] == nil && !proto.Equal(direct, generic) {
					t.Fatalf("%s:\ndirect  %v %v\ngeneric %v %v", b, direct, errs[0], generic, errs[1])
				}
			}
		}
	}
}

func agreeOnWriting(t *testing.T, f proto.Message, id, traceparent *string, d *direction, direct func(*encoder) bool) []byte {
	t.Helper()
	var fast, slow encoder
	slow.frame(d, f.ProtoReflect(), id, traceparent, 0)
	if slow.err != nil {
		t.Fatalf("%v: %v", f, slow.err)
	}
	if direct(&fast) && string(fast.b) != string(slow.b) {
		t.Fatalf("direct  %s\ngeneric %s", fast.b, slow.b)
	}
	return slow.b
}

// spoiled returns versions of text in which something is likely to be wrong.
func (r random) spoiled(text []byte) (out [][]byte) {
	for _, swap := range [][2]string{
		{`:"`, `:["`}, {`"user":{`, `"user":[`}, {`"seq":`, `"seq":1e`}, {`"roomId":"`, `"roomId":1,"x":"`},
		{`"duplicate":`, `"duplicate":1,"y":`}, {`"content":`, `"content":7,"content":`}, {`"timestamp":"`, `"timestamp":"x`},
		{`"data":`, `"data":` + strings.Repeat("[", 70)}, {`"id":`, `"id":null,"z":`}, {`,"`, ` , "`},
	} {
		out = append(out, []byte(strings.ReplaceAll(string(text), swap[0], swap[1])))
	}
	b := bytes.Clone(text)
	b[r.IntN(len(b))] = `{}[]",:1x \`[r.IntN(11)]
	return append(out, bytes.ToValidUTF8(b, nil))
}
