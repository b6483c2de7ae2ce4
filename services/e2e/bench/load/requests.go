package load

import (
	"bytes"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

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
	i := bytes.IndexByte(b, mark)
	if i < 0 {
		return 0, nil, false
	}
	b = b[i+1:]
	n, ok = number(b)
	return n, b, ok
}

// appendMessage appends the frame of a message.
func appendMessage(b []byte, room string, n uint32) []byte {
	const a, c, d, e = `{"type":"chat-message","id":"`, `","roomId":"`, `","content":"~`, `"}`
	b = socket.AppendClient(b, socket.Text, len(a)+8+len(c)+len(room)+len(d)+8+len(padding)+len(e))
	b = append(appendNumber(append(b, a...), n), c...)
	b = append(append(append(b, room...), d...), ""...)
	return append(append(appendNumber(b, n), padding...), e...)
}

func joinRequest(room string, history int) []byte {
	return textFrame(`{"type":"join-room","id":"join","roomId":"` + room + `","history":` + strconv.Itoa(history) + `}`)
}

func textFrame(s string) []byte {
	return append(socket.AppendClient(nil, socket.Text, len(s)), s...)
}

// upgradeRequest signs in by header where there is a token.
func upgradeRequest(host, token string, deflate bool) []byte {
	var b bytes.Buffer
	b.WriteString("GET /ws HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cGFybGV5IGJlbmNoIGtleQ==\r\nSec-WebSocket-Protocol: parley.v1.json\r\n")
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
