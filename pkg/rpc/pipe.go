package rpc

import "google.golang.org/grpc/test/bufconn"

// pipeBuffer is how many bytes may be on their way in each direction of one
// connection.
const pipeBuffer = 256 << 10

// InProcess is a listener without a network: what is served on it is dialed by
// giving it to ClientOptions.InProcess.
type InProcess struct{ *bufconn.Listener }

// Pipe makes a listener within this process.
func Pipe() *InProcess { return &InProcess{bufconn.Listen(pipeBuffer)} }
