package conformance

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/client"
)

// patience bounds every wait for a peer's answer; it is never waited out where
// all is well.
const patience = 30 * time.Second

// Opcodes (RFC 6455, section 11.8) and bits of a frame's first byte.
const (
	continuation, text, binaryKind = 0x0, 0x1, 0x2
	closing, ping, pong            = 0x8, 0x9, 0xa

	fin, rsv1, rsv2, rsv3 = 0x80, 0x40, 0x20, 0x10
)

// peer is a client that sends the bytes it is told to and nothing else.
type peer struct {
	socket     *net.TCPConn
	r          *bufio.Reader
	extensions string // that the server agreed to
	window     []byte // of what came compressed, where the server refers back to it
}

// dial opens a WebSocket with these header lines beside the necessary ones.
func dial(address, path string, header ...string) (*peer, error) {
	const key = "AAECAwQFBgcICQoLDA0ODw=="
	socket, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	p := &peer{socket: socket.(*net.TCPConn), r: bufio.NewReader(socket)}
	if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	lines := append([]string{
		"GET " + path + " HTTP/1.1", "Host: " + address, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key,
	}, header...)
	if err := p.write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n")); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.end()
		return nil, fmt.Errorf("reading the answer to the upgrade: %w", err)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	want := base64.StdEncoding.EncodeToString(sum[:])
	if got := response.Header.Get("Sec-WebSocket-Accept"); response.StatusCode != http.StatusSwitchingProtocols || got != want {
		p.end()
		return nil, fmt.Errorf("the upgrade was answered %s with the key %q, want %q", response.Status, got, want)
	}
	p.extensions = response.Header.Get("Sec-WebSocket-Extensions")
	return p, nil
}

func (p *peer) end() { _ = p.socket.Close() }

func (p *peer) write(b []byte) error {
	_, err := p.socket.Write(b)
	return err
}

// masked frames a payload as a client has to.
func masked(first byte, payload []byte) []byte { return client.Frame(first, payload) }

// received is a frame of the server.
type received struct {
	first   byte
	payload []byte
}

func (f received) opcode() byte { return f.first & 0x0f }

// frame reads one, and refuses what a server must not send (RFC 6455, sections
// 5.1, 5.2 and 5.5).
func (p *peer) frame() (received, error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return received{}, err
	}
	f := received{first: head[0]}
	if head[1]&0x80 != 0 {
		return f, errors.New("the server masked a frame")
	}
	n := uint64(head[1])
	var long [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(p.r, long[:2]); err != nil {
			return f, err
		}
		if n = uint64(binary.BigEndian.Uint16(long[:])); n < 126 {
			return f, errors.New("the server wrote a length longer than need be")
		}
	case 127:
		if _, err := io.ReadFull(p.r, long[:]); err != nil {
			return f, err
		}
		if n = binary.BigEndian.Uint64(long[:]); n < 1<<16 || n > 1<<30 {
			return f, fmt.Errorf("the server wrote the length %d", n)
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(p.r, f.payload); err != nil {
		return f, err
	}
	switch f.opcode() {
	case closing, ping, pong:
		if f.first&0x70 != 0 || f.first&fin == 0 || n > 125 {
			return f, fmt.Errorf("the server sent a control frame %#x of %d bytes", f.first, n)
		}
	case continuation, text, binaryKind:
		if f.first&(rsv2|rsv3) != 0 || f.first&rsv1 != 0 && p.extensions == "" {
			return f, fmt.Errorf("the server sent a frame %#x with nothing agreed", f.first)
		}
	default:
		return f, fmt.Errorf("the server sent opcode %#x", f.opcode())
	}
	return f, nil
}

// message reads the next message, and what controls came before and within it.
func (p *peer) message() (kind byte, payload []byte, controls []received, err error) {
	var compressed bool
	for kind = 0; ; {
		f, err := p.frame()
		if err != nil {
			return 0, nil, controls, err
		}
		switch op := f.opcode(); {
		case op&0x08 != 0:
			controls = append(controls, f)
			if op == closing {
				return 0, nil, controls, fmt.Errorf("closed with %s", closeText(f.payload))
			}
			continue
		case (op == continuation) != (kind != 0):
			return 0, nil, controls, fmt.Errorf("a frame %#x in a message of kind %#x", f.first, kind)
		case op != continuation:
			kind, compressed = op, f.first&rsv1 != 0
		}
		payload = append(payload, f.payload...)
		if f.first&fin == 0 {
			continue
		}
		if compressed {
			payload, err = p.inflate(payload)
		}
		return kind, payload, controls, err
	}
}

// inflate takes a message that came compressed; nothing is taken over from the
// one before where the server has said so (RFC 7692, section 7.1.1.1).
func (p *peer) inflate(b []byte) ([]byte, error) {
	r := flate.NewReaderDict(bytes.NewReader(append(b, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)), p.window)
	out, err := io.ReadAll(r)
	if err == nil && !strings.Contains(p.extensions, "server_no_context_takeover") {
		p.window = append(p.window, out...)
		p.window = p.window[max(0, len(p.window)-32<<10):]
	}
	return out, err
}

// closed reads until the server's close frame, answers it where it is no answer
// itself, reads to the end of the connection, and gives the code (1005 for none);
// 1006 where no frame came.
func (p *peer) closed(answers bool) (code int, reason string, err error) {
	for {
		f, err := p.frame()
		if errors.Is(err, io.EOF) {
			return 1006, "", nil
		}
		if err != nil {
			return 0, "", err
		}
		if f.opcode() != closing {
			continue
		}
		switch len(f.payload) {
		case 0:
			code = 1005
		case 1:
			return 0, "", errors.New("the server's close frame has half a code")
		default:
			code, reason = int(binary.BigEndian.Uint16(f.payload)), string(f.payload[2:])
		}
		if answers {
			_ = p.write(masked(fin|closing, f.payload[:min(2, len(f.payload))])) // it may have gone
		}
		// The server ends first (RFC 6455, section 7.1.1).
		for {
			if _, err := p.r.ReadByte(); errors.Is(err, io.EOF) {
				return code, reason, nil
			} else if err != nil {
				return 0, "", fmt.Errorf("after the close frame %d: %w", code, err)
			} else {
				return 0, "", errors.New("something came behind the close frame")
			}
		}
	}
}

func closeText(payload []byte) string {
	if len(payload) < 2 {
		return fmt.Sprintf("%q", payload)
	}
	return fmt.Sprintf("%d %q", binary.BigEndian.Uint16(payload), payload[2:])
}

// closePayload is what a close frame carries.
func closePayload(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}
