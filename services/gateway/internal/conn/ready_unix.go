//go:build unix

package conn

import (
	"io"
	"os"
	"syscall"
)

// listen has the wire wait for the socket to be readable before it borrows an
// input.
func (w *wire) listen() { w.ready = w.read }

// read is called when the socket may be readable, and says whether it was.
func (w *wire) read(fd uintptr) bool {
	in := borrow()
	for {
		n, err := readNow(fd, in.buf[:])
		switch {
		case err == syscall.EINTR:
			continue
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
}
