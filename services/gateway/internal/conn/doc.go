// Package conn is the bytes of a connection: it takes WebSocket upgrades,
// reads whole messages with limits and deadlines, and writes prepared frames
// from a bounded queue. It knows RFC 6455 and 7692 and nothing of what the
// messages say; package session gives them their meaning.
//
// The opening handshake is coder/websocket's. Writing is ours, because every
// member of a room gets the same bytes: server frames carry no mask (RFC 6455,
// 5.1), so a message is framed once and those bytes are written to everybody.
// What waits is in a queue (outgoing.go), which is written by whoever sends, as
// far as the socket takes it at once (flush.go), and for the rest by a goroutine
// (write.go). Reading is ours (wire.go, input.go, frame.go), so that a connection
// on which nothing happens, as on most, holds no buffer and the smallest stack.
package conn
