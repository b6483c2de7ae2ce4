package conn

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// breach is what a peer must not do; the connection is closed for it.
type breach struct {
	code   Code
	reason string
}

func (b *breach) Error() string { return b.reason }

func violation(format string, args ...any) error {
	return &breach{Violation, fmt.Sprintf(format, args...)}
}

// goodbye is the close frame of a peer.
type goodbye struct {
	code   Code
	reason string
}

func (g *goodbye) Error() string { return fmt.Sprintf("the peer closed with %d %q", g.code, g.reason) }

// header begins a frame of a client (RFC 6455, section 5.2).
type header struct {
	first  byte
	length uint64
	mask   uint32 // little-endian
}

func (h header) opcode() byte  { return h.first & 0x0f }
func (h header) fin() bool     { return h.first&finBit != 0 }
func (h header) control() bool { return h.first&0x08 != 0 }

// header takes the next header.
func (w *wire) header() (header, error) {
	if err := w.need(2); err != nil {
		return header{}, err
	}
	p := w.input.take(2)
	h := header{first: p[0], length: uint64(p[1] & 0x7f)}
	masked := p[1]&0x80 != 0
	if !masked {
		return h, violation("a frame of a client is not masked")
	}
	extra := 0
	switch h.length {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if err := w.need(extra + 4); err != nil {
		return h, err
	}
	switch p := w.input.take(extra); extra {
	case 2:
		if h.length = uint64(binary.BigEndian.Uint16(p)); h.length < 126 {
			return h, violation("a length is not in its shortest form")
		}
	case 8:
		if h.length = binary.BigEndian.Uint64(p); h.length <= 0xffff || h.length>>63 != 0 {
			return h, violation("a length is too large or not in its shortest form")
		}
	}
	h.mask = binary.LittleEndian.Uint32(w.input.take(4))
	return h, nil
}

// frame takes the next frame, and gives the message that it brings to its end;
// the message is good until the next call.
func (c *Conn) frame() (message []byte, whole bool, err error) {
	h, err := c.wire.header()
	if err != nil {
		return nil, false, err
	}
	if h.first&(0x20|0x10) != 0 || h.first&rsv1Bit != 0 && (!c.deflate || h.control() || h.opcode() == opContinuation) {
		return nil, false, violation("a reserved bit is set")
	}
	if h.control() {
		c.pay(frameCost)
		return nil, false, c.controlFrame(h)
	}
	in := c.wire.input
	switch op := h.opcode(); op {
	case opContinuation:
		if in.opcode == 0 {
			return nil, false, violation("a continuation of nothing")
		}
	case opText, opBinary:
		if in.opcode != 0 {
			return nil, false, violation("a message within a message")
		}
		if (op == opBinary) != c.binary && !c.listener.opts.AnyKind && !c.deaf {
			wanted := "text"
			if c.binary {
				wanted = "binary"
			}
			c.Close(WrongKind, "this subprotocol has "+wanted+" messages")
			c.deaf = true
		}
		in.opcode, in.deflated, in.message = op, h.first&rsv1Bit != 0, in.message[:0]
	default:
		return nil, false, violation("unknown opcode %d", op)
	}
	limit := uint64(c.listener.opts.MaxMessage)
	if in.deflated {
		// What does not compress grows a little.
		limit += limit/8 + 64
	}
	if uint64(len(in.message))+h.length > limit { // neither is near overflowing
		return nil, false, errTooBig
	}
	n := int(h.length)
	c.pay(frameCost + n)
	if !h.fin() {
		c.fragments(true)
	}
	if !in.deflated && h.fin() && len(in.message) == 0 && n <= len(in.buf) {
		if err := c.wire.need(n); err != nil {
			return nil, false, err
		}
		message = in.take(n)
		unmask(message, h.mask)
	} else {
		if err := c.wire.gather(n, h.mask); err != nil || !h.fin() {
			return nil, false, err
		}
		message = in.message
	}
	if in.deflated {
		if message, err = in.inflate(c.listener.opts.MaxMessage); err != nil {
			return nil, false, err
		}
		c.pay(len(message))
	}
	if in.opcode == opText && !c.deaf && !utf8.Valid(message) { // RFC 6455, section 8.1
		c.Close(InvalidUTF8, "text is not UTF-8")
		c.deaf = true
	}
	in.kind, in.opcode = in.opcode, 0
	c.fragments(false)
	return message, true, nil
}

// maxControl is the most that a control frame may carry, bytes.
const maxControl = 125

// controlFrame takes in a ping, a pong or a close (RFC 6455, section 5.5).
func (c *Conn) controlFrame(h header) error {
	if h.length > maxControl || !h.fin() {
		return violation("a control frame is too long or in fragments")
	}
	n := int(h.length)
	if err := c.wire.need(n); err != nil {
		return err
	}
	payload := c.wire.input.take(n)
	unmask(payload, h.mask)
	switch h.opcode() {
	case opPing:
		c.answerPing(append(appendHeader(make([]byte, 0, 2+n), finBit|opPong, n), payload...))
	case opPong:
		c.heard()
	case opClose:
		return c.closeReceived(payload)
	default:
		return violation("unknown opcode %d", h.opcode())
	}
	return nil
}

// closeReceived answers the peer's close frame, and gives the goodbye that
// ends the reading.
func (c *Conn) closeReceived(payload []byte) error {
	g := &goodbye{code: NoCode}
	switch {
	case len(payload) == 1:
		return violation("a close frame has half a code")
	case len(payload) > 1:
		g.code = Code(binary.BigEndian.Uint16(payload))
		if !g.code.sendable() {
			return violation("a close frame has code %d", g.code)
		}
		g.reason = string(payload[2:])
		if !utf8.ValidString(g.reason) {
			g.code, g.reason = InvalidUTF8, "close reason is not UTF-8"
		}
	}
	if err := c.answerClose(g); err != nil {
		return err
	}
	return g
}

// unmask takes the mask off p, which begins a frame's payload.
func unmask(p []byte, mask uint32) {
	wide := uint64(mask)<<32 | uint64(mask)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(mask >> (8 * (i & 3)))
	}
}
