package frame

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// unmarshal drops unknown fields as JSON does, and is bounded like it.
var unmarshal = proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxDepth}

var errNotProto = &Error{Code: BadMessage, Message: "not a valid protobuf frame"}

func readBinaryRequest(b []byte, f *wirev1.ClientFrame) *Error {
	if unmarshal.Unmarshal(b, f) != nil {
		return errNotProto
	}
	switch r := f.Request.(type) {
	case nil:
		return noType(b, 1, 35) // id, traceparent
	case *wirev1.ClientFrame_ChatMessage:
		return checkOwnData(&r.ChatMessage.Data)
	case *wirev1.ClientFrame_RoomMessage:
		return checkOwnData(&r.RoomMessage.Data)
	case *wirev1.ClientFrame_Signal:
		return checkOwnData(&r.Signal.Data)
	case *wirev1.ClientFrame_Chat, *wirev1.ClientFrame_Ping:
		return nil // text only
	}
	return checkFrame(requests, f.ProtoReflect(), 0)
}

func readBinaryEvent(b []byte, f *wirev1.ServerFrame) *Error {
	if unmarshal.Unmarshal(b, f) != nil {
		return errNotProto
	}
	if f.Event == nil {
		return noType(b, 1) // id
	}
	return checkFrame(events, f.ProtoReflect(), 0)
}

// noType says why a frame that is valid protobuf has no request or event: it
// may be one that a newer peer has. own are the fields of its envelope.
func noType(b []byte, own ...protowire.Number) *Error {
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return errNotProto
		}
		if !slices.Contains(own, number) {
			return &Error{Code: UnknownType, Message: "unknown frame, field " + strconv.Itoa(int(number))}
		}
		b = b[n:]
	}
	return &Error{Code: BadMessage, Message: "a frame without content"}
}

// checkOwnData checks a request's field "data", and makes it compact.
func checkOwnData(data *[]byte) *Error {
	if *data == nil {
		return nil
	}
	if err := validData(*data); err != nil {
		return err.in("data")
	}
	*data = compact(*data)
	return nil
}

// checkFrame refuses what protobuf can say and a frame cannot: what JSON could
// not carry. It makes data compact, and takes frames of unknown type out of
// the lists they stand in.
func checkFrame(d *direction, m protoreflect.Message, depth int) *Error {
	if depth > maxNested {
		return errTooDeep
	}
	t := d.typeOf(m)
	return checkMessage(t.plan, m.Mutable(t.desc).Message(), depth)
}

func checkMessage(p *plan, m protoreflect.Message, depth int) *Error {
	for _, f := range p.fields {
		if f.kind == kindText || f.kind == kindBool || f.kind == kindBytes || f.kind == kindInt32 || !m.Has(f.desc) {
			continue
		}
		if err := checkField(f, m, depth); err != nil {
			return err.in(f.name)
		}
	}
	return nil
}

func checkField(f *field, m protoreflect.Message, depth int) (err *Error) {
	switch {
	case f.shape == mapping:
		m.Get(f.desc).Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			err = checkValue(f, v, depth)
			return err == nil
		})
		return err
	case f.shape == list:
		l := m.Mutable(f.desc).List()
		kept := 0
		for i := range l.Len() {
			v := l.Get(i)
			if f.kind == kindFrame && events.typeOf(v.Message()) == nil {
				continue
			}
			if err := checkValue(f, v, depth); err != nil {
				return err
			}
			l.Set(kept, v)
			kept++
		}
		l.Truncate(kept)
		return nil
	case f.kind == kindData:
		b := m.Get(f.desc).Bytes()
		if err := validData(b); err != nil {
			return err
		}
		m.Set(f.desc, protoreflect.ValueOfBytes(compact(b)))
		return nil
	}
	return checkValue(f, m.Get(f.desc), depth)
}

func checkValue(f *field, v protoreflect.Value, depth int) *Error {
	switch f.kind {
	case kindInt64:
		return checkInteger(v.Int())
	case kindDouble:
		return checkDouble(v.Float())
	case kindTime:
		return checkTime(v.Message().Interface().(*timestamppb.Timestamp))
	case kindFrame:
		return checkFrame(events, v.Message(), depth+1)
	case kindMessage:
		return checkMessage(f.plan, v.Message(), depth)
	}
	return nil
}

func checkInteger(n int64) *Error {
	if n < -maxInteger || n > maxInteger {
		return malformed("must not be beyond 2^53")
	}
	return nil
}

func checkDouble(n float64) *Error {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return malformed("must be a number")
	}
	return nil
}
