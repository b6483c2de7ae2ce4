package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Upgrades are the requests that a Listener serves itself: those for a
// WebSocket, of which a storm of clients makes thousands at once.
//
// What net/http does for a request, it does for whatever may follow on the same
// socket: buffers of 8 KiB that a hijacker is given for good, two contexts, and a
// goroutine that reads ahead and has to be called back. An upgrade has none of
// that to come. So whatever is plainly one, as nearly all are (see plain), is taken
// here, and everything else goes to net/http as if nobody had looked at it: who
// comes with a query, by another protocol, with a head in pieces, or with anything
// that would have to be judged.
//
// An upgrade has the server's ReadHeaderTimeout, from when its socket is taken, its
// WriteTimeout for a refusal, which ends the socket, and its ErrorLog for panics.
// Of what net/http gives its handlers it lacks these: its context is
// context.Background(), without BaseContext, ConnContext and the server's and the
// socket's keys, and does not end with the peer; Server.Shutdown does not wait for a
// handler that has not hijacked yet, but Serve does; there is no Flush.
type Upgrades struct {
	// Paths are where WebSockets are.
	Paths []string
	// Handler hijacks, or refuses.
	Handler http.Handler
}

// Serve serves upgrades, and has an HTTP server serve all the rest, until that is
// shut down or closed; it returns what the server's own Serve does. When it returns
// no upgrade is being answered any more.
func (l *Listener) Serve(server *http.Server, u Upgrades) error {
	rest := &rest{Listener: l, Upgrades: u, server: server, accepted: make(chan accepted), ended: make(chan struct{})}
	rest.wg.Go(rest.accept)
	err := server.Serve(rest)
	_ = rest.Close() // it is closed already, but where the server has failed
	rest.wg.Wait()
	return err
}

// rest is a listener's sockets without those that want to be WebSockets at once.
type rest struct {
	*Listener
	Upgrades
	server   *http.Server
	accepted chan accepted
	ended    chan struct{}
	end      sync.Once
	wg       sync.WaitGroup
}

type accepted struct {
	socket net.Conn
	err    error
}

// Accept implements net.Listener.
func (r *rest) Accept() (net.Conn, error) {
	select {
	case a := <-r.accepted:
		return a.socket, a.err
	case <-r.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Who has not said anything yet is not waited for.
func (r *rest) Close() (err error) {
	r.end.Do(func() {
		err = r.Listener.Close()
		close(r.ended)
		r.endSilent()
	})
	return err
}

// endSilent ends the sockets from which nothing has come.
func (l *Listener) endSilent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*socket); s.silent {
			_ = s.TCPConn.Close() // its reader finds out
		}
	}
}

// accept takes sockets until the listener is closed. An error is the server's,
// which waits before it accepts again where that helps.
func (r *rest) accept() {
	for {
		c, err := r.Listener.Accept()
		if err != nil {
			if !r.pass(nil, err) {
				return
			}
			continue
		}
		r.wg.Go(func() { r.take(c) })
	}
}

// pass hands a socket, or an error, to the server; false when that has ended.
func (r *rest) pass(c net.Conn, err error) bool {
	select {
	case r.accepted <- accepted{c, err}:
		return true
	case <-r.ended:
		return false
	}
}

// headSize is how much of a request is looked at, bytes: what net/http's buffer
// takes, and as much as comes behind the request is carried over.
const headSize = 4 << 10

var heads = sync.Pool{New: func() any { return new([headSize]byte) }}

// take serves a socket, or leaves it to the server.
func (r *rest) take(c net.Conn) {
	head := heads.Get().(*[headSize]byte)
	defer heads.Put(head)
	s, ours := c.(*socket)
	if !ours { // of a test
		r.leave(c, nil)
		return
	}
	n, err := 0, s.begins(r)
	if err == nil {
		n, err = s.Read(head[:])
	}
	if n == 0 && err != nil {
		_ = s.Close() // there was nothing to answer
		return
	}
	if s.header != nil && !bytes.Contains(head[:n], emptyLine) { // some of it came with the PROXY header
		more, _ := s.Read(head[n:]) // its error comes again
		n += more
	}
	s.said()
	request, behind := plain(head[:n], r.Paths)
	if request == nil {
		r.leave(s, head[:n])
		return
	}
	request.RemoteAddr = s.RemoteAddr().String()
	r.upgrade(s, request, behind)
}

// leave hands a socket to the server, with what was read of it.
func (r *rest) leave(c net.Conn, read []byte) {
	if s, ok := c.(*socket); ok {
		s.read = slices.Clone(read)
		_ = s.SetReadDeadline(time.Time{}) // the server finds out whether it is closed
	}
	if !r.pass(c, nil) {
		_ = c.Close() // nobody is there to tell
	}
}

// begins prepares for the first read of a socket.
func (s *socket) begins(r *rest) error {
	select {
	case <-r.ended: // maybe behind endSilent
		return net.ErrClosed
	default:
	}
	s.RemoteAddr() // reads the PROXY header, which has a deadline of its own
	return s.SetReadDeadline(within(r.server.ReadHeaderTimeout))
}

// within gives the end of a time; none where that is 0.
func within(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// said notes that something has come.
func (s *socket) said() {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	s.silent = false
	if s.place != nil {
		s.door.waiting.MoveToBack(s.place)
	}
	if s.among != nil {
		s.door.from[s.network].MoveToBack(s.among)
	}
}

// upgrade answers a request.
func (r *rest) upgrade(s *socket, request *http.Request, behind []byte) {
	a := &reply{socket: s, behind: behind, header: make(http.Header, 8)}
	defer func() {
		why := recover()
		if why == nil {
			return
		}
		_ = s.Close() // one way or the other
		if why != http.ErrAbortHandler {
			r.log("an upgrade of %s: panic: %v\n%s", request.RemoteAddr, why, debug.Stack())
		}
	}()
	r.Handler.ServeHTTP(a, request)
	if a.hijacked {
		return
	}
	if s.SetWriteDeadline(within(r.server.WriteTimeout)) == nil {
		_ = a.write() // the peer may be gone
	}
	_ = s.Close()
}

func (r *rest) log(format string, args ...any) {
	if to := r.server.ErrorLog; to != nil {
		to.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}

// reply is the http.ResponseWriter of an upgrade.
type reply struct {
	socket   *socket
	behind   []byte // what came behind the request
	header   http.Header
	status   int
	body     bytes.Buffer
	hijacked bool
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	if a.hijacked {
		return 0, http.ErrHijacked
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// write sends what is no upgrade; the socket ends with it.
func (a *reply) write() error {
	a.WriteHeader(http.StatusOK)
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	response := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Close: true,
	}
	var whole bytes.Buffer
	if err := response.Write(&whole); err != nil {
		return fmt.Errorf("writing an answer: %w", err)
	}
	_, err := a.socket.Write(whole.Bytes())
	return err
}

// Hijack implements http.Hijacker.
func (a *reply) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.hijacked {
		return nil, nil, http.ErrHijacked
	}
	a.hijacked = true
	if err := a.socket.SetDeadline(time.Time{}); err != nil {
		_ = a.socket.Close()
		return nil, nil, fmt.Errorf("hijacking: %w", err)
	}
	a.socket.door.mu.Lock()
	a.socket.door.remove(a.socket)
	a.socket.door.mu.Unlock()
	var from io.Reader = a.socket
	if len(a.behind) > 0 {
		from = io.MultiReader(bytes.NewReader(a.behind), a.socket)
	}
	in := bufio.NewReaderSize(from, max(len(a.behind), 16))
	if _, err := in.Peek(len(a.behind)); err != nil { // what was read is another's again soon
		return nil, nil, errors.Join(fmt.Errorf("hijacking: %w", err), a.socket.Close())
	}
	return a.socket, bufio.NewReadWriter(in, bufio.NewWriterSize(a.socket, 16)), nil
}

// plain reads the head of an upgrade, and gives what came behind it; nil for a
// request that is not plainly one: GET one of the paths as it stands there, by
// HTTP/1.1, with a head that has come as a whole, in printable ASCII, with one
// Host and no body. Whether it is a good one is for others to find out.
func plain(b []byte, paths []string) (request *http.Request, behind []byte) {
	line, b, ok := bytes.Cut(b, newline)
	if !ok {
		return nil, nil
	}
	line, ok = bytes.CutPrefix(line, []byte("GET "))
	if !ok {
		return nil, nil
	}
	line, ok = bytes.CutSuffix(line, []byte(" HTTP/1.1"))
	i := slices.IndexFunc(paths, func(p string) bool { return string(line) == p })
	if !ok || i < 0 {
		return nil, nil
	}
	end := bytes.Index(b, emptyLine)
	if end < 0 {
		return nil, nil
	}
	fields, behind := b[:end+len(newline)], b[end+2*len(newline):]
	n := bytes.Count(fields, newline)
	header, values := make(http.Header, n), make([]string, 0, n)
	for len(fields) > 0 {
		field, after, _ := bytes.Cut(fields, newline)
		name, value, ok := bytes.Cut(field, []byte(":"))
		if !ok || !isToken(name) || !isPrintable(value) {
			return nil, nil
		}
		key := known[string(name)]
		if key == "" {
			key = http.CanonicalHeaderKey(string(name))
		}
		if have := header[key]; have != nil {
			header[key] = append(have, string(bytes.TrimSpace(value)))
		} else {
			values = append(values, string(bytes.TrimSpace(value)))
			header[key] = values[len(values)-1 : len(values) : len(values)]
		}
		fields = after
	}
	if len(header["Host"]) != 1 || !isHost(header["Host"][0]) {
		return nil, nil
	}
	for _, more := range []string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect"} {
		if header[more] != nil {
			return nil, nil
		}
	}
	host := header["Host"][0]
	delete(header, "Host")
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: paths[i]}, RequestURI: paths[i],
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: host, Header: header, Body: http.NoBody,
	}, behind
}

var newline, emptyLine = []byte("\r\n"), []byte("\r\n\r\n")

// known are the names that clients write often, some not in the form that net/http
// keeps them by.
var known = map[string]string{
	"Host": "Host", "Upgrade": "Upgrade", "Connection": "Connection", "Origin": "Origin",
	"Authorization": "Authorization", "User-Agent": "User-Agent", "X-Forwarded-For": "X-Forwarded-For",
	"Sec-WebSocket-Key": "Sec-Websocket-Key", "Sec-WebSocket-Version": "Sec-Websocket-Version",
	"Sec-WebSocket-Protocol": "Sec-Websocket-Protocol", "Sec-WebSocket-Extensions": "Sec-Websocket-Extensions",
}

func isToken(name []byte) bool {
	for _, c := range name {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return len(name) > 0
}

func isPrintable(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isHost says whether a Host is made of what names, addresses and ports are made of.
func isHost(host string) bool {
	for _, c := range []byte(host) {
		if c != '-' && c != '.' && c != ':' && c != '_' && c != '[' && c != ']' && !isToken([]byte{c}) {
			return false
		}
	}
	return true
}
