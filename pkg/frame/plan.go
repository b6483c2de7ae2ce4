package frame

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// requests and events are the frames of the two directions.
var (
	requests = newDirection((*wirev1.ClientFrame)(nil).ProtoReflect().Descriptor())
	events   = newDirection((*wirev1.ServerFrame)(nil).ProtoReflect().Descriptor())
)

// direction knows the frames that one side sends.
type direction struct {
	oneof    protoreflect.OneofDescriptor
	byName   map[string]*frameType
	byNumber map[protoreflect.FieldNumber]*frameType
}

// frameType is one field of a direction's oneof.
type frameType struct {
	name    string // on the wire: kebab-case
	head    string // how its JSON begins: {"type":"…"
	desc    protoreflect.FieldDescriptor
	plan    *plan // of its message
	members *plan // the same, with the names of the envelope
}

// plan says how a message stands in JSON.
type plan struct {
	fields []*field
	names  []name // what a sender may call them
}

type name struct {
	text  string
	field *field
	bit   uint64 // the field's, to notice one that is given twice
}

// field is one field of a message.
type field struct {
	desc   protoreflect.FieldDescriptor
	number protoreflect.FieldNumber
	name   string // lowerCamelCase
	lead   string // what comes before its value: ,"name":
	kind   kind   // of the value, of each element, or of each value of a map
	shape  shape
	plan   *plan  // of a kindMessage
	bare   *field // of the message, what may stand for all of it
}

type shape int

const (
	single shape = iota
	list
	mapping // from strings
)

type kind int

const (
	kindText kind = iota
	kindBool
	kindInt32
	kindInt64
	kindDouble
	kindBytes
	kindData // json_value
	kindTime
	kindMessage
	kindFrame    // a ServerFrame inside of another
	kindEnvelope // "type", "id" and "traceparent", which are the frame's and not its message's
)

var (
	typeField = &field{name: "type", kind: kindEnvelope}
	idField   = &field{name: "id", kind: kindEnvelope}
	// traceField is one of requests alone.
	traceField = &field{name: "traceparent", kind: kindEnvelope}
)

func newDirection(frame protoreflect.MessageDescriptor) *direction {
	d := &direction{
		byName:   make(map[string]*frameType),
		byNumber: make(map[protoreflect.FieldNumber]*frameType),
	}
	for i := range frame.Oneofs().Len() {
		if o := frame.Oneofs().Get(i); !o.IsSynthetic() {
			d.oneof = o
		}
	}
	plans := make(map[protoreflect.FullName]*plan)
	for i := range d.oneof.Fields().Len() {
		desc := d.oneof.Fields().Get(i)
		wire := strings.ReplaceAll(string(desc.Name()), "_", "-")
		t := &frameType{name: wire, head: `{"type":"` + wire + `"`, desc: desc}
		t.plan = newPlan(plans, desc.Message())
		t.members = &plan{fields: t.plan.fields}
		t.members.call(typeField, "type")
		t.members.call(idField, "id")
		if frame.Fields().ByName("traceparent") != nil {
			t.members.call(traceField, "traceparent")
		}
		for _, n := range t.plan.names {
			t.members.call(n.field, n.text)
		}
		d.byName[wire] = t
		d.byNumber[desc.Number()] = t
	}
	return d
}

// typeOf returns the type of a frame, or nil if it has none.
func (d *direction) typeOf(m protoreflect.Message) *frameType {
	desc := m.WhichOneof(d.oneof)
	if desc == nil {
		return nil
	}
	return d.byNumber[desc.Number()]
}

// newPlan returns the plan of a message. The map holds those made already,
// which is what ends the recursion of messages that contain themselves.
func newPlan(made map[protoreflect.FullName]*plan, message protoreflect.MessageDescriptor) *plan {
	if p := made[message.FullName()]; p != nil {
		return p
	}
	p := new(plan)
	made[message.FullName()] = p
	for i := range message.Fields().Len() {
		f := newField(made, message.Fields().Get(i))
		p.fields = append(p.fields, f)
		p.call(f, f.name)
		if alias, ok := option(f.desc, wirev1.E_JsonAlias).(string); ok && alias != "" {
			p.call(f, alias)
		}
	}
	return p
}

// call gives a field a name, or one more.
func (p *plan) call(f *field, text string) {
	bit := uint64(1) << len(p.names)
	for _, n := range p.names {
		if n.text == text {
			panic("frame: two fields are called " + text)
		}
		if n.field == f {
			bit = n.bit
		}
	}
	if len(p.names) == 64 {
		panic("frame: more than 64 names in one message")
	}
	p.names = append(p.names, name{text, f, bit})
}

// named returns the field that has the name, and nil if none has. With as few
// names as a message has, comparing them all is faster than a map.
func (p *plan) named(text []byte) *name {
	for i := range p.names {
		if n := &p.names[i]; n.text == string(text) {
			return n
		}
	}
	return nil
}

func newField(made map[protoreflect.FullName]*plan, desc protoreflect.FieldDescriptor) *field {
	f := &field{desc: desc, number: desc.Number(), name: desc.JSONName(), lead: `,"` + desc.JSONName() + `":`}
	value := desc
	switch {
	case desc.IsMap():
		f.shape, value = mapping, desc.MapValue()
		if desc.MapKey().Kind() != protoreflect.StringKind {
			panic(fmt.Sprintf("frame: %s: only strings are keys in JSON", desc.FullName()))
		}
	case desc.IsList():
		f.shape = list
	}
	f.kind = kindOf(value, option(desc, wirev1.E_JsonValue) == true)
	if f.kind == kindMessage {
		f.plan = newPlan(made, value.Message())
		if bare := option(desc, wirev1.E_JsonBare).(string); bare != "" {
			f.bare = newField(made, value.Message().Fields().ByName(protoreflect.Name(bare)))
		}
	}
	return f
}

func kindOf(desc protoreflect.FieldDescriptor, jsonValue bool) kind {
	switch desc.Kind() {
	case protoreflect.StringKind:
		return kindText
	case protoreflect.BoolKind:
		return kindBool
	case protoreflect.Int32Kind:
		return kindInt32
	case protoreflect.Int64Kind:
		return kindInt64
	case protoreflect.DoubleKind:
		return kindDouble
	case protoreflect.BytesKind:
		if jsonValue {
			return kindData
		}
		return kindBytes
	case protoreflect.MessageKind:
		switch desc.Message().FullName() {
		case "google.protobuf.Timestamp":
			return kindTime
		case "parley.wire.v1.ServerFrame":
			return kindFrame
		}
		return kindMessage
	}
	panic(fmt.Sprintf("frame: %s: no JSON form for a %s", desc.FullName(), desc.Kind()))
}

// option returns the value of one of the options of wire/v1/options.proto.
func option(desc protoreflect.FieldDescriptor, ext protoreflect.ExtensionType) any {
	return proto.GetExtension(desc.Options(), ext)
}
