package load

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// event is the type of a server's frame, as far as the load cares.
type event uint8

const (
	other event = iota // needs nothing done
	chatMessage
	ack
	authSuccess
	messageHistory
	refusal
)

// types are those of the protocol that are events.
var types = []struct {
	name  protoreflect.Name
	event event
}{
	{"chat_message", chatMessage}, {"ack", ack}, {"auth_success", authSuccess}, {"message_history", messageHistory},
	{"error", refusal}, {"auth_failed", refusal}, {"kicked", refusal}, {"going_away", refusal},
}

// prefixes are how frames begin as JSON, and numbers their fields as protobuf.
var prefixes, numbers = func() (prefixes [][]byte, numbers map[protowire.Number]event) {
	fields := new(wirev1.ServerFrame).ProtoReflect().Descriptor().Fields()
	numbers = make(map[protowire.Number]event)
	for _, t := range types {
		prefixes = append(prefixes, append([]byte(`{"type":"`), bytes.ReplaceAll([]byte(t.name), []byte("_"), []byte("-"))...))
		numbers[fields.ByName(t.name).Number()] = t.event
	}
	return prefixes, numbers
}()

// look tells what a frame is, by its beginning, and its id where there is one
// and it is an acknowledgement. The rest is not looked at.
func look(encoding frame.Encoding, payload []byte) (e event, id []byte) {
	if encoding == frame.Proto {
		return lookProto(payload)
	}
	for i, prefix := range prefixes {
		if len(payload) > len(prefix) && payload[len(prefix)] == '"' && bytes.HasPrefix(payload, prefix) {
			e = types[i].event
			if e == ack {
				_, id, _ = bytes.Cut(payload[len(prefix):], []byte(`"id":"`))
			}
			return e, id
		}
	}
	return other, nil
}

func lookProto(b []byte) (e event, id []byte) {
	const idField = 1
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return other, nil
		}
		if b = b[n:]; kind == protowire.BytesType && field == idField {
			id, _ = protowire.ConsumeBytes(b)
		} else if found, ok := numbers[field]; ok {
			e = found
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return other, nil
		}
		b = b[n:]
	}
	return e, id
}
