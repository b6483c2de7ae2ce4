package conn

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"sync"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	finBit  = 0x80
	rsv1Bit = 0x40 // the message is compressed (RFC 7692, section 7.2.3.1)
)

// deflateFrom is the size of a message, in bytes, from which on it is worth
// compressing.
const deflateFrom = 1024

// Prepared is a message framed for the wire, or several in a row, once for all
// connections that get it. It must not be changed after it was made.
type Prepared struct {
	opcode  byte
	payload []byte // within plain
	plain   []byte
	parts   []*Prepared // of several that may be compressed

	once     sync.Once
	deflated []byte // nil where compressing does not pay
}

// Join makes one of several messages, which are sent together.
func Join(parts []*Prepared) *Prepared {
	size, worth := 0, false
	for _, p := range parts {
		size += len(p.plain)
		worth = worth || len(p.payload) >= deflateFrom
	}
	joined := &Prepared{plain: make([]byte, 0, size)}
	for _, p := range parts {
		joined.plain = append(joined.plain, p.plain...)
	}
	if worth {
		joined.parts = parts
	}
	return joined
}

// Text prepares a text message; payload must be UTF-8.
func Text(payload []byte) *Prepared { return prepare(opText, payload) }

// Binary prepares a binary message.
func Binary(payload []byte) *Prepared { return prepare(opBinary, payload) }

func prepare(opcode byte, payload []byte) *Prepared {
	plain := appendHeader(make([]byte, 0, 10+len(payload)), finBit|opcode, len(payload))
	head := len(plain)
	plain = append(plain, payload...)
	return &Prepared{opcode: opcode, plain: plain, payload: plain[head:]}
}

// appendHeader writes a frame header without a mask (RFC 6455, section 5.2).
func appendHeader(dst []byte, first byte, length int) []byte {
	switch {
	case length <= 125:
		return append(dst, first, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(length))
	}
}

// Payload is the message without its frame; nil for several.
func (p *Prepared) Payload() []byte { return p.payload }

// frame gives the bytes to write to a connection that has agreed to
// permessage-deflate, or has not.
func (p *Prepared) frame(deflate bool) []byte {
	if !deflate || len(p.payload) < deflateFrom && p.parts == nil {
		return p.plain
	}
	p.once.Do(p.compress)
	if p.deflated == nil {
		return p.plain
	}
	return p.deflated
}

type deflater struct {
	buf bytes.Buffer
	w   *flate.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	// The error is about the level, which is right.
	d.w, _ = flate.NewWriter(&d.buf, flate.BestSpeed)
	return d
}}

// compress deflates the payload by itself, without the context of earlier
// messages, so that the result serves every connection (RFC 7692, 7.2.1: the
// message ends with a sync flush whose last four bytes are left out).
func (p *Prepared) compress() {
	if p.parts != nil {
		for _, part := range p.parts {
			p.deflated = append(p.deflated, part.frame(true)...)
		}
		return
	}
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.buf.Reset()
	d.w.Reset(&d.buf)
	// Writes to a bytes.Buffer do not fail.
	_, _ = d.w.Write(p.payload)
	_ = d.w.Flush()
	body := bytes.TrimSuffix(d.buf.Bytes(), []byte{0, 0, 0xff, 0xff})
	if len(body) >= len(p.payload) {
		return
	}
	p.deflated = append(appendHeader(make([]byte, 0, 10+len(body)), finBit|rsv1Bit|p.opcode, len(body)), body...)
}
