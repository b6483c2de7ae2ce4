package frame

import (
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// encoder writes JSON behind what b holds, and keeps the first error.
type encoder struct {
	b     []byte
	field string // the lead of the field being written
	err   *Error
}

// finish returns what was written, or dst and the error.
func (e *encoder) finish(dst []byte) ([]byte, error) {
	if e.err == nil && !utf8.Valid(e.b[len(dst):]) {
		e.err = &Error{Code: InvalidArgument, Message: "text is not valid UTF-8"}
	}
	if e.err != nil {
		return dst, e.err.named()
	}
	return e.b, nil
}

func (e *encoder) fail(err *Error) {
	if e.err != nil || err == nil {
		return
	}
	if name := strings.Trim(e.field, `,":`); name != "" && err.Field == "" {
		err = err.in(name)
	}
	e.err = err
}

func (e *encoder) request(f *wirev1.ClientFrame) {
	if f.GetRequest() == nil {
		e.fail(errNoType)
		return
	}
	if e.directRequest(f) {
		return
	}
	e.frame(requests, f.ProtoReflect(), f.Id, f.Traceparent, 0)
}

func (e *encoder) event(f *wirev1.ServerFrame) { e.nestedEvent(f, 0) }

func (e *encoder) nestedEvent(f *wirev1.ServerFrame, depth int) {
	if depth > maxNested {
		e.fail(errTooDeep)
		return
	}
	if f.GetEvent() == nil {
		e.fail(errNoType)
		return
	}
	if e.directEvent(f) {
		return
	}
	e.frame(events, f.ProtoReflect(), f.Id, nil, depth)
}

// frame writes any frame through its descriptor.
func (e *encoder) frame(d *direction, m protoreflect.Message, id, traceparent *string, depth int) {
	t := d.typeOf(m)
	e.head(t.head, id)
	e.trace(traceparent)
	e.fields(t.plan, m.Get(t.desc).Message(), depth)
	e.b = append(e.b, '}')
}

// head begins a frame: head is {"type":"…".
func (e *encoder) head(head string, id *string) {
	e.b = append(e.b, head...)
	if id != nil {
		e.at(`,"id":`).text(*id)
	}
}

func (e *encoder) trace(traceparent *string) {
	if traceparent != nil {
		e.at(`,"traceparent":`).text(*traceparent)
	}
}

// fields writes the members of the object that is open.
func (e *encoder) fields(p *plan, m protoreflect.Message, depth int) {
	for _, f := range p.fields {
		if f.desc.HasPresence() && !m.Has(f.desc) {
			continue
		}
		v := m.Get(f.desc)
		e.at(f.lead)
		switch f.shape {
		case single:
			e.value(f, v, depth)
		case list:
			e.list(f, v.List(), depth)
		case mapping:
			e.mapping(f, v.Map(), depth)
		}
	}
}

func (e *encoder) list(f *field, l protoreflect.List, depth int) {
	e.b = append(e.b, '[')
	for i := range l.Len() {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.value(f, l.Get(i), depth)
	}
	e.b = append(e.b, ']')
}

// mapping writes the entries by key, so that one frame has one form.
func (e *encoder) mapping(f *field, m protoreflect.Map, depth int) {
	entries := make(map[string]protoreflect.Value, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries[k.String()] = v
		return true
	})
	e.b = append(e.b, '{')
	for i, key := range slices.Sorted(maps.Keys(entries)) {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.text(key)
		e.b = append(e.b, ':')
		e.value(f, entries[key], depth)
	}
	e.b = append(e.b, '}')
}

func (e *encoder) value(f *field, v protoreflect.Value, depth int) {
	switch f.kind {
	case kindText:
		e.text(v.String())
	case kindBool:
		e.boolean(v.Bool())
	case kindInt32, kindInt64:
		e.integer(v.Int())
	case kindDouble:
		e.double(v.Float())
	case kindBytes:
		e.b = append(e.b, '"')
		e.b = base64.StdEncoding.AppendEncode(e.b, v.Bytes())
		e.b = append(e.b, '"')
	case kindData:
		e.data(v.Bytes())
	case kindTime:
		e.time(v.Message().Interface().(*timestamppb.Timestamp))
	case kindFrame:
		e.nestedEvent(v.Message().Interface().(*wirev1.ServerFrame), depth+1)
	case kindMessage:
		e.b = append(e.b, '{')
		e.fields(f.plan, v.Message(), depth)
		e.b = append(e.b, '}')
	}
}

// at writes the name of a field; lead is ,"name": and loses its comma at the
// beginning of an object.
func (e *encoder) at(lead string) *encoder {
	e.field = lead
	if e.b[len(e.b)-1] == '{' {
		lead = lead[1:]
	}
	e.b = append(e.b, lead...)
	return e
}

// text writes a string as JavaScript's JSON.stringify does.
func (e *encoder) text(s string) {
	const hex = "0123456789abcdef"
	e.b = append(e.b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if !special[c] {
			continue
		}
		e.b = append(e.b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			e.b = append(e.b, '\\', c)
		case '\b':
			e.b = append(e.b, '\\', 'b')
		case '\f':
			e.b = append(e.b, '\\', 'f')
		case '\n':
			e.b = append(e.b, '\\', 'n')
		case '\r':
			e.b = append(e.b, '\\', 'r')
		case '\t':
			e.b = append(e.b, '\\', 't')
		default:
			e.b = append(e.b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	e.b = append(e.b, s[start:]...)
	e.b = append(e.b, '"')
}

func (e *encoder) boolean(v bool) { e.b = strconv.AppendBool(e.b, v) }

func (e *encoder) integer(n int64) {
	e.fail(checkInteger(n))
	e.b = strconv.AppendInt(e.b, n, 10)
}

// double writes the shortest number that reads as n, without an exponent where
// JavaScript has none.
func (e *encoder) double(n float64) {
	e.fail(checkDouble(n))
	format := byte('f')
	if abs := math.Abs(n); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	e.b = strconv.AppendFloat(e.b, n, format, -1, 64)
}

// data writes the bytes of a json_value field as themselves. They are checked
// again: not all come through a decoder, and one wrong byte would break the
// frame for a whole room.
func (e *encoder) data(b []byte) {
	e.fail(validData(b))
	start := len(e.b)
	e.b = append(e.b, b...)
	e.b = e.b[:start+len(compact(e.b[start:]))]
}

func (e *encoder) time(t *timestamppb.Timestamp) {
	if err := checkTime(t); err != nil {
		e.fail(err)
		return
	}
	e.b = append(e.b, '"')
	// Package time is fast for this layout, which has no milliseconds.
	e.b = t.AsTime().AppendFormat(e.b, time.RFC3339)
	ms := t.Nanos / 1e6
	e.b = append(e.b[:len(e.b)-len("Z")], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z', '"')
}
