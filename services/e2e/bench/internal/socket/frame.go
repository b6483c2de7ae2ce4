package socket

import "encoding/binary"

// The opcodes of RFC 6455, section 5.2, in a frame's first byte with FIN.
const (
	Text   = 0x81
	Binary = 0x82
	Close  = 0x88
	Ping   = 0x89
	Pong   = 0x8A
)

// AppendServer appends the header of a server's frame.
func AppendServer(b []byte, first byte, size int) []byte { return appendHeader(b, first, size, 0) }

// AppendClient appends the header of a client's frame, with a key that masks
// nothing: what a key is for, proxies (RFC 6455, section 10.3), is not here, and
// the server cannot tell.
func AppendClient(b []byte, first byte, size int) []byte {
	return append(appendHeader(b, first, size, 0x80), 0, 0, 0, 0)
}

func appendHeader(b []byte, first byte, size int, mask byte) []byte {
	switch {
	case size < 126:
		return append(b, first, mask|byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, first, mask|126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(b, first, mask|127), uint64(size))
}

// Next finds the first frame in b, and takes its mask off in place. Size is
// what it takes up in all, 0 where it is not whole.
func Next(b []byte) (first byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, length := 2, int(b[1]&0x7F)
	switch length {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	masked := b[1]&0x80 != 0
	if masked {
		head += 4
	}
	if len(b) < head {
		return 0, nil, 0
	}
	switch length {
	case 126:
		length = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		length = int(binary.BigEndian.Uint64(b[2:]))
	}
	if length < 0 || len(b)-head < length {
		return 0, nil, 0
	}
	payload = b[head : head+length]
	if masked {
		unmask(payload, [4]byte(b[head-4:head]))
	}
	return b[0], payload, head + length
}

func unmask(b []byte, key [4]byte) {
	four := uint64(binary.LittleEndian.Uint32(key[:]))
	eight := four | four<<32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^eight)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}
