package door

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/limit"
)

// Options say what a Listener bounds and whom it believes.
type Options struct {
	// Trusted are the networks of load balancers.
	Trusted []netip.Prefix
	// Proxy is whether those begin a connection with a PROXY header.
	Proxy Proxy
	// HeaderTimeout is how long they may take for it; default 5 s.
	HeaderTimeout time.Duration
	// Most is how many sockets may be open at once that have not become
	// WebSockets, 1 at least. Each limited address may have an eighth of them, but
	// 16 at least. Beyond either, the one goes that has been silent longest.
	Most int
	// Limited says whether an address is one client's, and not a load balancer's
	// with many behind it; nil says so of all that are not Trusted.
	Limited func(netip.Addr) bool
	// Refused is told of each connection that is ended because of its PROXY
	// header, or for want of one, and with ErrCrowded of each for others that came;
	// nil is told nothing. It must not call the Listener.
	Refused func(peer net.Addr, err error)
}

// ErrCrowded: the socket had waited longest of too many.
var ErrCrowded = errors.New("too many sockets have not become WebSockets")

// Listener gives the sockets that another one takes. Serve serves them; whoever
// does that in another way has Track be the http.Server's ConnState.
type Listener struct {
	net.Listener
	opts Options
	each int // of one address

	mu      sync.Mutex
	waiting *list.List                  // of *socket, the one that was busy last at the end
	from    map[netip.Prefix]*list.List // the same, of each limited address
}

// Listen makes a Listener of one that takes TCP connections.
func Listen(l net.Listener, o Options) *Listener {
	if o.HeaderTimeout == 0 {
		o.HeaderTimeout = 5 * time.Second
	}
	return &Listener{
		Listener: l, opts: o, each: max(o.Most/8, 16),
		waiting: list.New(), from: make(map[netip.Prefix]*list.List),
	}
}

// Accept implements net.Listener. It waits for no peer: a PROXY header is read
// when somebody first asks for the address, or reads.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil // of a test
	}
	s := &socket{TCPConn: tcp, door: l, silent: true}
	peer := addressOf(tcp.RemoteAddr())
	if l.opts.Proxy != Off && l.trusts(peer) {
		s.header = newHeader(tcp)
		l.enter(s, netip.Addr{})
	} else {
		l.enter(s, peer)
	}
	return s, nil
}

func (l *Listener) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(l.opts.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (l *Listener) limits(a netip.Addr) bool {
	return a.IsValid() && !l.trusts(a) && (l.opts.Limited == nil || l.opts.Limited(a))
}

// Waiting is how many sockets are open that have not become WebSockets.
func (l *Listener) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}

// Track follows what becomes of a socket.
func (l *Listener) Track(c net.Conn, state http.ConnState) {
	s, ok := c.(*socket)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateActive, http.StateIdle:
		if s.place != nil {
			l.waiting.MoveToBack(s.place)
		}
		if s.among != nil {
			l.from[s.network].MoveToBack(s.among)
		}
	case http.StateHijacked, http.StateClosed:
		l.remove(s)
	}
}

// enter lets a socket in, of an address that is not valid where nobody knows it
// yet.
func (l *Listener) enter(s *socket, of netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.place = l.waiting.PushBack(s)
	l.belong(s, of)
	if l.waiting.Len() > l.opts.Most {
		l.crowdOut(l.waiting.Front().Value.(*socket))
	}
}

// belong counts a socket as an address's; l.mu is held.
func (l *Listener) belong(s *socket, of netip.Addr) {
	if !l.limits(of) {
		return
	}
	s.network = limit.Network(of)
	its := l.from[s.network]
	if its == nil {
		its = list.New()
		l.from[s.network] = its
	}
	s.among = its.PushBack(s)
	if its.Len() > l.each {
		l.crowdOut(its.Front().Value.(*socket))
	}
}

// told says whose a socket is that a load balancer has opened.
func (l *Listener) told(s *socket, of netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.place != nil { // it has not ended meanwhile
		l.belong(s, of)
	}
}

// crowdOut ends a socket at once, also for the kernel; l.mu is held.
func (l *Listener) crowdOut(s *socket) {
	l.remove(s)
	l.refused(s, ErrCrowded)
	_ = s.SetLinger(0) // it may be closed already, as in the next line
	_ = s.TCPConn.Close()
}

// refused tells of a socket that is ended.
func (l *Listener) refused(s *socket, err error) {
	if l.opts.Refused != nil {
		l.opts.Refused(s.TCPConn.RemoteAddr(), err)
	}
}

// remove forgets a socket; l.mu is held.
func (l *Listener) remove(s *socket) {
	if s.among != nil {
		its := l.from[s.network]
		its.Remove(s.among)
		s.among = nil
		if its.Len() == 0 {
			delete(l.from, s.network)
		}
	}
	if s.place != nil {
		l.waiting.Remove(s.place)
		s.place = nil
	}
}

// socket is a client's, or a load balancer's for one.
type socket struct {
	*net.TCPConn
	door   *Listener
	header *header // nil where none is expected
	read   []byte  // what Serve has read ahead of who reads

	// The door's mutex is held for these.
	silent       bool          // nothing has come, as far as Serve knows
	place, among *list.Element // nil where it is in none
	network      netip.Prefix  // whose list among is of
}

// RemoteAddr implements net.Conn: the client's, where a load balancer has told it.
func (s *socket) RemoteAddr() net.Addr {
	if s.header != nil {
		if client := s.header.read(s); client != nil {
			return client
		}
	}
	return s.TCPConn.RemoteAddr()
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	if len(s.read) > 0 {
		n := copy(b, s.read)
		if s.read = s.read[n:]; len(s.read) == 0 {
			s.read = nil
		}
		return n, nil
	}
	if s.header == nil {
		return s.TCPConn.Read(b)
	}
	s.header.read(s)
	return s.header.behind(s, b)
}

// WriteTo implements io.WriterTo in place of TCPConn's, which would pass by what
// was read with the header.
func (s *socket) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{s}) }

// Close implements net.Conn. A socket that was hijacked is its WebSocket's, and
// not in any list.
func (s *socket) Close() error {
	s.door.mu.Lock()
	s.door.remove(s)
	s.door.mu.Unlock()
	return s.TCPConn.Close()
}

// addressOf is not valid where a peer has none.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// Proxy is what is expected of trusted load balancers.
type Proxy int

// Without a header, a trusted peer's connection is served as its own where that
// is Optional, and ended where it is Required. Others' is served as theirs, and
// a header of theirs is no HTTP.
const (
	Off Proxy = iota
	Optional
	Required
)

// proxies are the words for them.
var proxies = [...]string{"off", "optional", "required"}

func (p Proxy) String() string { return proxies[p] }

// ParseProxy reads one of "off", "optional" and "required"; empty is off.
func ParseProxy(word string) (Proxy, error) {
	if i := slices.Index(proxies[:], word); i >= 0 {
		return Proxy(i), nil
	}
	if word == "" {
		return Off, nil
	}
	return Off, fmt.Errorf("want off, optional or required, and not %q", word)
}

var errNoHeader = errors.New("a trusted proxy sent no PROXY header")
