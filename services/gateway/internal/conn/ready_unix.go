//go:build unix

package conn

import (
	"io"
	"os"
	"syscall"

	"github.com/parley-im/parley/pkg/nowait"
)

// writeNow hands bytes to a socket and tells how many it took, without waiting
// for it to take more.
func writeNow(socket uintptr, out []byte) (int, error) {
	n, err := nowait.Write(socket, out)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return n, err
}

// listen has the wire wait for the socket to be readable before it borrows an
// input.
func (w *wire) listen() { w.ready = w.read }

// read is called when the socket may be readable, and says whether it was.
func (w *wire) read(fd uintptr) bool {
	in := borrow()
	n, err := nowait.Read(fd, in.buf[:])
	switch {
	case err == syscall.EAGAIN:
		in.give()
		return false
	case err != nil:
		in.err = os.NewSyscallError("read", err)
	case n == 0:
		in.err = io.EOF
	default:
		in.w = n
	}
	w.input = in
	return true
}
