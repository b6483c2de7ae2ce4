package rpc

import (
	"net"

	"google.golang.org/grpc/test/bufconn"
)

// pipeBuffer is how many bytes may be on their way in each direction of one
// connection.
const pipeBuffer = 256 << 10

// InProcess is a listener without a network: what is served on it is dialed by
// giving it to ClientOptions.InProcess. Who calls over it is trusted as one of
// Parley's own services is.
type InProcess struct{ *bufconn.Listener }

// Pipe makes a listener within this process.
func Pipe() *InProcess { return &InProcess{bufconn.Listen(pipeBuffer)} }

// inProcessConn is a connection that came over such a listener.
type inProcessConn struct{ net.Conn }

// Accept implements net.Listener.
func (p *InProcess) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return inProcessConn{conn}, nil
}
