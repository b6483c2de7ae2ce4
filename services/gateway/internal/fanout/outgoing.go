package fanout

import (
	"bytes"
	"compress/gzip"
	"sync"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// gzipFrom is the size of a frame, in bytes, above which it is sent gzipped to
// who has configured that.
const gzipFrom = 1024

// Outgoing is one frame on its way to any number of connections; it is encoded
// at most once in each form that one of them wants.
type Outgoing struct {
	// Frame must not be changed any more.
	Frame *wirev1.ServerFrame
	// Ephemeral frames may be dropped for a peer that reads too slowly.
	Ephemeral bool
	// History is what a client has asked for, and may be larger than what may
	// wait for it otherwise.
	History bool

	plain, gzipped [2]form // by frame.Encoding
}

type form struct {
	once     sync.Once
	prepared *conn.Prepared
}

// NewOutgoing makes an Outgoing of a frame.
func NewOutgoing(f *wirev1.ServerFrame) *Outgoing { return &Outgoing{Frame: f} }

// Prepared gives the frame in an encoding. The error is about the frame, so
// another try gives it again.
func (o *Outgoing) Prepared(encoding frame.Encoding) (*conn.Prepared, error) {
	var err error
	p := &o.plain[encoding]
	p.once.Do(func() { p.prepared, err = encode(encoding, o.Frame) })
	return p.prepared, err
}

// Gzipped gives the frame in an encoding, as a `compressed` frame where it is
// large enough.
func (o *Outgoing) Gzipped(encoding frame.Encoding) (*conn.Prepared, error) {
	plain, err := o.Prepared(encoding)
	if err != nil || plain == nil || len(plain.Payload()) <= gzipFrom {
		return plain, err
	}
	p := &o.gzipped[encoding]
	p.once.Do(func() {
		p.prepared, err = encode(encoding, &wirev1.ServerFrame{
			Event: &wirev1.ServerFrame_Compressed{Compressed: &wirev1.Compressed{Data: gzipBytes(plain.Payload())}},
		})
	})
	return p.prepared, err
}

// scratches are buffers for payloads, which are copied behind their headers: a
// frame of its own costs one allocation, of its size.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// keptScratch bounds what a scratch keeps, bytes; a page of history may be larger.
const keptScratch = 64 << 10

func encode(encoding frame.Encoding, f *wirev1.ServerFrame) (*conn.Prepared, error) {
	scratch := scratches.Get().(*[]byte)
	payload, err := frame.AppendServer((*scratch)[:0], encoding, f)
	if cap(payload) <= keptScratch {
		*scratch = payload[:0]
		defer scratches.Put(scratch)
	}
	if err != nil {
		return nil, err
	}
	if encoding == frame.Proto {
		return conn.Binary(payload), nil
	}
	return conn.Text(payload), nil
}

var gzipWriters = sync.Pool{New: func() any {
	// The error is about the level, which is right.
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

func gzipBytes(b []byte) []byte {
	var out bytes.Buffer
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	w.Reset(&out)
	// Writes to a bytes.Buffer do not fail.
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}
