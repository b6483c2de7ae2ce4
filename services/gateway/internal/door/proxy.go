package door

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// header is the PROXY header, version 1 or 2, that a trusted peer's connection
// begins with. The library reads it; its own Conn is not used, for a WebSocket
// reads and writes by the socket's number, which it does not give.
type header struct {
	once   sync.Once
	r      *bufio.Reader // what came with the header; nil when that is taken
	client net.Addr      // nil for the peer itself
	err    error
}

// headerBuffer is as much as is read at once, bytes: what a header takes without
// long extensions, and less than net/http's own buffer, into which what comes
// with it goes with the first read.
const headerBuffer = 256

func newHeader(c *net.TCPConn) *header {
	return &header{r: bufio.NewReaderSize(c, headerBuffer)}
}

// read reads the header, the first time it is called, and gives the client's
// address, nil where the peer's is.
func (h *header) read(s *socket) net.Addr {
	h.once.Do(func() {
		if h.err = h.take(s); h.err == nil {
			return
		}
		if !errors.Is(h.err, net.ErrClosed) { // for another reason, which was told
			s.door.refused(s, h.err)
		}
		_ = s.Close() // it may be closed already
	})
	return h.client
}

func (h *header) take(s *socket) error {
	if err := s.SetReadDeadline(time.Now().Add(s.door.opts.HeaderTimeout)); err != nil {
		return err
	}
	found, err := proxyproto.Read(h.r)
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
		if s.door.opts.Proxy == Required {
			return errNoHeader
		}
	case err != nil:
		return fmt.Errorf("reading the PROXY header: %w", err)
	case found.Command.IsLocal(): // the peer speaks for itself, as in a health check
	default:
		// Of a family that is no TCP over IP there is no address to go by.
		if client, ok := found.SourceAddr.(*net.TCPAddr); ok {
			h.client = client
		}
	}
	whose := s.TCPConn.RemoteAddr()
	if h.client != nil {
		whose = h.client
	}
	s.door.told(s, addressOf(whose))
	return s.SetReadDeadline(time.Time{})
}

// behind reads what comes behind the header.
func (h *header) behind(s *socket, b []byte) (int, error) {
	switch {
	case h.err != nil:
		return 0, h.err
	case h.r == nil:
		return s.TCPConn.Read(b)
	case h.r.Buffered() == 0:
		h.r = nil
		return s.TCPConn.Read(b)
	}
	return h.r.Read(b) // no more than has come
}
