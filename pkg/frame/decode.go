package frame

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// maxNested bounds how deep frames stand in frames. The protocol puts stored
// messages into a message-history or message-batch, and those into nothing.
const maxNested = 4

// setter takes in the fields of one message as they come.
type setter interface {
	set(f *field, v value) *Error
}

// envelope is where those fields of a frame go that are not its message's.
type envelope struct{ id, traceparent **string }

func readRequest(b []byte, f *wirev1.ClientFrame) *Error {
	if !utf8.Valid(b) {
		return errNotUTF8
	}
	t, err := requests.find(b)
	if err != nil {
		return err
	}
	to := directRequest(t, f)
	if to == nil {
		to = reflected{f.ProtoReflect().Mutable(t.desc).Message(), 0}
	}
	return readObject(b, t.members, to, envelope{&f.Id, &f.Traceparent})
}

func readWholeEvent(b []byte, f *wirev1.ServerFrame) *Error {
	if !utf8.Valid(b) {
		return errNotUTF8
	}
	return readEvent(b, f, 0)
}

func readEvent(b []byte, f *wirev1.ServerFrame, depth int) *Error {
	if depth > maxNested {
		return errTooDeep
	}
	t, err := events.find(b)
	if err != nil {
		return err
	}
	to := directEvent(t, f)
	if to == nil {
		to = reflected{f.ProtoReflect().Mutable(t.desc).Message(), depth}
	}
	return readObject(b, t.members, to, envelope{id: &f.Id})
}

// find returns the type of a frame, wherever in the object it stands. Most
// often it comes first, and then the rest is not looked at.
func (d *direction) find(b []byte) (*frameType, *Error) {
	s := scanner{b: b}
	if s.space(); !s.eat('{') {
		return nil, errNotFrame
	}
	for {
		name, raw, ok := s.member(maxDepth)
		if !ok {
			break
		}
		if string(name) != "type" {
			continue
		}
		if raw[0] == '"' {
			if t := d.byName[string(raw[1:len(raw)-1])]; t != nil {
				return t, nil
			}
		}
		return d.spelled(raw)
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	return nil, errNoType
}

// spelled returns the type whose name may be written with escapes.
func (d *direction) spelled(raw value) (*frameType, *Error) {
	if raw.null() {
		return nil, errNoType
	}
	wire, err := raw.text()
	if err != nil {
		return nil, err.in("type")
	}
	if t := d.byName[wire]; t != nil {
		return t, nil
	}
	return nil, unknownType(wire)
}

// readObject reads the object that raw is, with nothing but space around it.
// What belongs to a frame itself goes to its envelope.
func readObject(raw []byte, p *plan, to setter, own envelope) *Error {
	s := scanner{b: raw}
	s.space()
	s.i++ // the '{' that the caller has seen
	var seen uint64
	for {
		text, raw, ok := s.member(maxDepth)
		if !ok {
			break
		}
		n := p.named(text)
		if n == nil {
			if n = p.escaped(text); n == nil {
				continue // additions are welcome
			}
		}
		if seen&n.bit != 0 {
			return (&Error{Code: BadMessage, Message: "given twice"}).in(n.text)
		}
		seen |= n.bit
		v := value(raw)
		if v.null() && n.field.kind != kindData {
			continue
		}
		var err *Error
		switch n.field {
		case typeField: // known already
		case idField:
			*own.id, err = v.optional()
		case traceField:
			*own.traceparent, err = v.optional()
		default:
			err = to.set(n.field, v)
		}
		if err != nil {
			return err.in(n.text)
		}
	}
	s.end()
	return s.err()
}

// escaped is named for a name that is written with escapes.
func (p *plan) escaped(text []byte) *name {
	for _, c := range text {
		if c == '\\' {
			return p.named([]byte(unquote(text)))
		}
	}
	return nil
}

// refuse looks at the whole of a refused frame: for its id, which may stand
// behind the fault, and for a fault in the JSON itself, which goes before what
// was wrong with one field.
func refuse(b []byte, err *Error) (*string, *Error) {
	if !utf8.Valid(b) {
		return nil, err
	}
	s := scanner{b: b}
	if s.space(); !s.eat('{') {
		if bad := whole(b, maxDepth); bad != nil {
			err = bad
		}
		return nil, err
	}
	var id *string
	for {
		text, raw, ok := s.member(maxDepth)
		if !ok {
			break
		}
		if id == nil && (string(text) == "id" || unquote(text) == "id") && raw[0] == '"' {
			id, _ = value(raw).optional()
		}
	}
	s.end()
	if bad := s.err(); bad != nil {
		err = bad
	}
	return id, err
}

// reflected sets the fields of any message through its descriptor.
type reflected struct {
	m     protoreflect.Message
	depth int // of frames in frames
}

func (r reflected) set(f *field, v value) *Error {
	switch f.shape {
	case list:
		return r.setList(f, v)
	case mapping:
		return r.setMap(f, v)
	}
	x, err := r.read(f, v, func() protoreflect.Value { return r.m.NewField(f.desc) })
	if err != nil {
		return err
	}
	r.m.Set(f.desc, x)
	return nil
}

func (r reflected) setList(f *field, v value) *Error {
	if err := v.want("an array"); err != nil {
		return err
	}
	to := r.m.Mutable(f.desc).List()
	s := open(v)
	for {
		raw, ok := s.element(maxDepth)
		if !ok {
			return s.err()
		}
		x, err := r.read(f, raw, to.NewElement)
		if err != nil && err.Code == UnknownType && f.kind == kindFrame {
			continue
		}
		if err != nil {
			return err
		}
		to.Append(x)
	}
}

func (r reflected) setMap(f *field, v value) *Error {
	if err := v.want("an object"); err != nil {
		return err
	}
	to := r.m.Mutable(f.desc).Map()
	s := open(v)
	for {
		text, raw, ok := s.member(maxDepth)
		if !ok {
			return s.err()
		}
		key := protoreflect.ValueOfString(unquote(text)).MapKey()
		if to.Has(key) {
			return &Error{Code: BadMessage, Message: quote(key.String()) + " given twice"}
		}
		x, err := r.read(f, raw, to.NewValue)
		if err != nil {
			return err
		}
		to.Set(key, x)
	}
}

// read returns one value; empty makes the message that it may be.
func (r reflected) read(f *field, v value, empty func() protoreflect.Value) (protoreflect.Value, *Error) {
	switch f.kind {
	case kindText:
		s, err := v.text()
		return protoreflect.ValueOfString(s), err
	case kindBool:
		b, err := v.boolean()
		return protoreflect.ValueOfBool(b), err
	case kindInt32:
		n, err := v.integer(math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case kindInt64:
		n, err := v.int64()
		return protoreflect.ValueOfInt64(n), err
	case kindDouble:
		n, err := v.double()
		return protoreflect.ValueOfFloat64(n), err
	case kindBytes:
		b, err := v.bytes()
		return protoreflect.ValueOfBytes(b), err
	case kindData:
		b, err := v.data()
		return protoreflect.ValueOfBytes(b), err
	case kindTime:
		t, err := v.time()
		return protoreflect.ValueOfMessage(t.ProtoReflect()), err
	}
	x := empty()
	return x, r.readMessage(f, v, x.Message())
}

func (r reflected) readMessage(f *field, v value, m protoreflect.Message) *Error {
	in := reflected{m, r.depth}
	if f.bare != nil && v.kind() == "a number" {
		return in.set(f.bare, v)
	}
	if err := v.want("an object"); err != nil {
		return err
	}
	if f.kind == kindFrame {
		return readEvent(v, m.Interface().(*wirev1.ServerFrame), r.depth+1)
	}
	return readObject(v, f.plan, in, envelope{})
}
