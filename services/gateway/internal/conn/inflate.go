package conn

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"sync"
)

var (
	errTooBig      = &breach{TooBig, "message too big"}
	errNotInflated = &breach{InvalidUTF8, "message cannot be inflated"}
)

type inflater struct {
	from bytes.Reader
	r    io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	d := new(inflater)
	d.r = flate.NewReader(&d.from)
	return d
}}

const (
	// inflateTail is what a sender has left out of the end of a message (RFC
	// 7692, section 7.2.2), and an empty final block, so that the end of what is
	// compressed is known from its being cut off.
	inflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	// maxFinals is how many blocks of a message may call themselves final. Some
	// senders end each message with one (section 7.2.3.4); each costs a new
	// window.
	maxFinals = 8
	// flateWindow is how far back compressed data refers, bytes.
	flateWindow = 32 << 10
)

// inflate gives what in.message holds compressed, at most limit bytes.
func (in *input) inflate(limit int64) ([]byte, error) {
	out := in.inflated[:0]
	if len(in.message) == 0 {
		return out, nil // strictly one zero byte (RFC 7692, section 7.2.3.6)
	}
	d := inflaters.Get().(*inflater)
	defer func() {
		in.inflated = out[:0]
		d.from.Reset(nil)
		inflaters.Put(d)
	}()
	in.message = append(in.message, inflateTail...)
	d.from.Reset(in.message)
	for finals := 0; ; finals++ {
		if finals > maxFinals || d.r.(flate.Resetter).Reset(&d.from, out[max(0, len(out)-flateWindow):]) != nil {
			return nil, errNotInflated
		}
		for err := error(nil); err != io.EOF; {
			var n int
			out = slices.Grow(out, 512)
			n, err = d.r.Read(out[len(out):cap(out)])
			out = out[:len(out)+n]
			if int64(len(out)) > limit {
				return nil, errTooBig
			}
			if err != nil && err != io.EOF {
				return nil, errNotInflated
			}
		}
		if d.from.Len() == 0 {
			return out, nil
		}
	}
}
