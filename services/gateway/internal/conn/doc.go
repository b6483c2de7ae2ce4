// Package conn is the bytes of a connection: it takes WebSocket upgrades,
// reads whole messages with limits and deadlines, and writes prepared frames
// from a bounded queue. It knows RFC 6455 and 7692 and nothing of what the
// messages say; package session gives them their meaning.
//
// Reading, the opening handshake and knowing what control frames ask for are
// coder/websocket's. Writing is ours, because every member of a room gets the
// same bytes: server frames carry no mask (RFC 6455, 5.1), so a message is
// framed once and those bytes are written to everybody. All that the library
// would write goes through our net.Conn (wire.go) into the same queue
// (outgoing.go). The queue is written by whoever sends, as far as the socket takes
// it at once (flush.go), and for the rest by a goroutine (write.go).
package conn
