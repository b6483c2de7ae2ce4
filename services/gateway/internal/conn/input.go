package conn

import (
	"errors"
	"io"
	"slices"
)

// input is what a connection works with while bytes of its peer are there. It
// is borrowed when some have come and given back when all are taken, so that a
// connection whose peer says nothing holds none.
type input struct {
	buf  [inputSize]byte
	r, w int   // buf[r:w] has come and is not taken yet
	err  error // of the read that has filled it

	opcode   byte   // of the message whose fragments are coming, 0 for none
	deflated bool   // and whether it is compressed
	kind     byte   // opcode of the message that was given last
	message  []byte // what has come of it
	inflated []byte
}

const (
	// inputSize is how much is read at once, bytes; net/http has read no more
	// behind the request. Most messages fit, and are not copied.
	inputSize = 4 << 10
	// maxKeptBuffer bounds, in bytes, what a borrowed input keeps for the next.
	maxKeptBuffer = 128 << 10
)

// inputs are those that nobody works with. It is no sync.Pool, which the
// garbage collector empties: to make an input takes more stack than a waiting
// goroutine has to have (see await).
var inputs = make(chan *input, 64)

func borrow() *input {
	select {
	case in := <-inputs:
		return in
	default:
		return new(input)
	}
}

// give puts an input back.
func (in *input) give() {
	if cap(in.message) > maxKeptBuffer {
		in.message = nil
	}
	if cap(in.inflated) > maxKeptBuffer {
		in.inflated = nil
	}
	in.r, in.w, in.err, in.opcode = 0, 0, nil, 0
	select {
	case inputs <- in:
	default:
	}
}

// await waits until the peer has sent something, and holds no input meanwhile.
//
// Here is where almost all goroutines of a gateway are almost all of the time,
// so what they have called to get here must fit into the 2 KiB that a stack
// begins with; TestIdleIsSmall looks after that.
func (w *wire) await() error {
	if w.ready == nil {
		w.input = borrow()
		w.input.w, w.input.err = w.Conn.Read(w.input.buf[:])
		if w.input.w > 0 {
			w.input.err = nil // it comes again
		}
	} else if err := w.raw.Read(w.ready); err != nil {
		return err
	}
	if err := w.input.err; err != nil {
		w.drop()
		return err
	}
	return nil
}

// drop gives the input back, whatever it holds.
func (w *wire) drop() {
	if w.input != nil {
		w.input.give()
		w.input = nil
	}
}

// release gives the input back when nothing in it is waiting to be taken.
func (w *wire) release() {
	if in := w.input; in.r == in.w && in.opcode == 0 {
		w.drop()
	}
}

// need waits until n bytes, at most inputSize, lie in the input.
func (w *wire) need(n int) error {
	in := w.input
	if in.w-in.r >= n {
		return nil
	}
	if len(in.buf)-in.r < n {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
	for in.w-in.r < n {
		got, err := w.Conn.Read(in.buf[in.w:])
		in.w += got
		if got == 0 && err != nil {
			return cutOff(err)
		}
	}
	return nil
}

// take gives the next n bytes of the input, which must be there.
func (in *input) take(n int) []byte {
	p := in.buf[in.r : in.r+n : in.r+n]
	in.r += n
	return p
}

// gather moves the n bytes that come next behind in.message, without their
// mask. It makes room for no more than has come already, so that a peer cannot
// have memory by announcing a message.
func (w *wire) gather(n int, mask uint32) error {
	in := w.input
	begin := len(in.message)
	have := min(n, in.w-in.r)
	in.message = append(in.message, in.take(have)...)
	for end := begin + n; len(in.message) < end; {
		size := len(in.message)
		in.message = slices.Grow(in.message, min(end-size, max(size, inputSize)))
		got, err := w.Conn.Read(in.message[size:min(end, cap(in.message))])
		in.message = in.message[:size+got]
		if got == 0 && err != nil {
			return cutOff(err)
		}
	}
	unmask(in.message[begin:], mask)
	return nil
}

// cutOff tells the end of a connection that comes within a frame from one
// between two.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
