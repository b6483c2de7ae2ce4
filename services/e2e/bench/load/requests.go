package load

import (
	"bytes"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/bench/internal/socket"
)

// ContentBytes is how long the content of each message is.
const ContentBytes = 128

// mark begins a content; it stands nowhere else in a frame. The number of the
// message follows as 8 hexadecimal digits.
const mark = '~'

var padding = bytes.Repeat([]byte{'x'}, ContentBytes-1-8)

const digits = "0123456789abcdef"

func appendNumber(b []byte, n uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}

// number reads 8 hexadecimal digits.
func number(b []byte) (n uint32, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	for _, c := range b[:8] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// marked finds the first content in a frame and gives its number, and what
// follows it.
func marked(b []byte) (n uint32, rest []byte, ok bool) {
	for {
		i := bytes.IndexByte(b, mark)
		if i < 0 {
			return 0, nil, false
		}
		b = b[i+1:]
		if n, ok := number(b); ok { // in a protobuf frame it can be part of a number
			return n, b, true
		}
	}
}

// requests writes the frames of clients.
type requests struct {
	encoding     frame.Encoding
	payload, out []byte
	id, content  []byte
}

// message is the frame of a message, good until the next.
func (r *requests) message(room string, n uint32) ([]byte, error) {
	r.id = appendNumber(r.id[:0], n)
	r.content = append(append(append(r.content[:0], mark), r.id...), padding...)
	id, content := string(r.id), string(r.content)
	return r.frame(&wirev1.ClientFrame{Id: &id, Request: &wirev1.ClientFrame_ChatMessage{
		ChatMessage: &wirev1.SendMessage{RoomId: room, Content: &content},
	}})
}

func (r *requests) join(room string, history int) ([]byte, error) {
	count := int32(history)
	return r.frame(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_JoinRoom{
		JoinRoom: &wirev1.JoinRoom{RoomId: room, History: &count},
	}})
}

func (r *requests) frame(f *wirev1.ClientFrame) (b []byte, err error) {
	if r.payload, err = frame.AppendClient(r.payload[:0], r.encoding, f); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", frame.RequestType(f), err)
	}
	r.out = append(socket.AppendClient(r.out[:0], opcode(r.encoding), len(r.payload)), r.payload...)
	return r.out, nil
}

// opcode is what the frames of an encoding begin with.
func opcode(encoding frame.Encoding) byte {
	if encoding == frame.Proto {
		return socket.Binary
	}
	return socket.Text
}

// upgradeRequest signs in by header where there is a token.
func upgradeRequest(host, token, subprotocol string, deflate bool) []byte {
	var b bytes.Buffer
	b.WriteString("GET /ws HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cGFybGV5IGJlbmNoIGtleQ==\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n")
	if deflate {
		b.WriteString("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n")
	}
	if token != "" {
		b.WriteString("Authorization: Bearer " + token + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// sign makes a token that is good for as long as any run takes.
func sign(secret []byte, user string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"userId": user, "username": user, "exp": time.Now().Add(2 * time.Hour).Unix(),
	}).SignedString(secret)
}
