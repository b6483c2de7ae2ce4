// Package frame turns the frames of the wire protocol into bytes and back, in
// both subprotocols: parley.v1.json and parley.v1.proto.
//
// It owns how a frame looks as bytes, and refuses bytes that are no frame. It
// must not know what a frame means: rooms, rights, limits on the length of a
// content and what is required of a request belong to whoever decodes it.
//
// As JSON a frame is one flat object: "type", "id", a request's "traceparent",
// and the fields of the message that the type names. Which fields these are comes from the protobuf
// descriptors of proto/wire/v1 and their options, read once at start, so that
// a new field there needs no line here. The few frames that make up nearly all
// traffic have a direct path beside the descriptors' one (direct_decode.go,
// direct_encode.go); a test holds the two together.
//
// Every function may be called concurrently, keeps nothing of the bytes given
// to it, and answers any input with a frame or an *Error.
package frame

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Encoding is how the frames of one connection are written.
type Encoding int

const (
	// JSON is the encoding of text frames, and of clients that name none.
	JSON Encoding = iota
	// Proto is the encoding of binary frames.
	Proto
)

// Subprotocol returns the name a WebSocket handshake has for the encoding.
func (e Encoding) Subprotocol() string {
	if e == Proto {
		return "parley.v1.proto"
	}
	return "parley.v1.json"
}

// String returns "json" or "proto".
func (e Encoding) String() string {
	if e == Proto {
		return "proto"
	}
	return "json"
}

// maxID is the longest id of a request, in bytes.
const maxID = 64

// DecodeClient reads one request. An error is an *Error; the frame beside it
// is never nil, has no request, and has the id where that could be read and is
// valid, so that the refusal can carry it.
func DecodeClient(enc Encoding, b []byte) (*wirev1.ClientFrame, error) {
	f := new(wirev1.ClientFrame)
	var err *Error
	if enc == Proto {
		err = readBinaryRequest(b, f)
	} else {
		err = readRequest(b, f)
		if err != nil {
			f.Id, err = refuse(b, err)
		}
	}
	if f.Id != nil && (len(*f.Id) == 0 || len(*f.Id) > maxID) {
		f.Id = nil
		if err == nil {
			err = &Error{Code: InvalidArgument, Field: "id", Message: "id: must be 1 to 64 bytes long"}
		}
	}
	if err != nil {
		return &wirev1.ClientFrame{Id: f.Id}, err.named()
	}
	return f, nil
}

// DecodeServer reads one frame of a gateway. A frame of a type that is newer
// than this package is the error UnknownType, which a client passes over;
// inside a message-history or message-batch such a frame is left out.
func DecodeServer(enc Encoding, b []byte) (*wirev1.ServerFrame, error) {
	f := new(wirev1.ServerFrame)
	var err *Error
	if enc == Proto {
		err = readBinaryEvent(b, f)
	} else {
		err = readWholeEvent(b, f)
		if err != nil {
			f.Id, err = refuse(b, err)
		}
	}
	if err != nil {
		return &wirev1.ServerFrame{Id: f.Id}, err.named()
	}
	return f, nil
}

// AppendServer appends the frame to dst. It refuses, with an *Error, a frame
// without an event and values that the encoding cannot carry: text that is not
// UTF-8, and in JSON integers beyond 2^53, data that is not JSON, times
// outside of the years 1 to 9999. On an error dst comes back as it was.
func AppendServer(dst []byte, enc Encoding, f *wirev1.ServerFrame) ([]byte, error) {
	if enc == Proto {
		if f.GetEvent() == nil {
			return dst, errNoType.named()
		}
		return appendBinary(dst, f)
	}
	e := encoder{b: dst}
	e.event(f)
	return e.finish(dst)
}

// AppendClient appends the frame to dst, in the manner of AppendServer.
func AppendClient(dst []byte, enc Encoding, f *wirev1.ClientFrame) ([]byte, error) {
	if enc == Proto {
		if f.GetRequest() == nil {
			return dst, errNoType.named()
		}
		return appendBinary(dst, f)
	}
	e := encoder{b: dst}
	e.request(f)
	return e.finish(dst)
}

// RequestType returns the wire type of the request, such as "join-room", and
// "" for a frame without one.
func RequestType(f *wirev1.ClientFrame) string {
	if f.GetRequest() == nil {
		return ""
	}
	return requests.nameOf(f.ProtoReflect())
}

// EventType returns the wire type of the event, such as "room-joined", and ""
// for a frame without one.
func EventType(f *wirev1.ServerFrame) string {
	if f.GetEvent() == nil {
		return ""
	}
	return events.nameOf(f.ProtoReflect())
}

func (d *direction) nameOf(m protoreflect.Message) string {
	if t := d.typeOf(m); t != nil {
		return t.name
	}
	return ""
}

func appendBinary(dst []byte, f proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{}.MarshalAppend(dst, f)
	if err != nil {
		return dst, &Error{Code: InvalidArgument, Message: err.Error()}
	}
	return b, nil
}
