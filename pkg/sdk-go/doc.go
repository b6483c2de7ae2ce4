// Package parley is the Go client of Parley: rooms over one WebSocket that comes
// back by itself.
//
// [Dial] signs in and gives a [Client], [Client.Room] a [Room] of it. What is said
// in a room is read with a loop over [Room.Messages] or [Room.Events]: each message
// once and in the order of the room, over reconnects and restarts of gateways;
// where the log has dropped something, a [Gap] says so. What is sent with
// [Room.Send] keeps its id from the first try to the ack, and is sent again after a
// reconnect, which the gateway recognises (PROTOCOL.md, section 5).
//
// A client has one goroutine for its connection and one for each room that was
// joined; [Client.Close] ends them and waits for them. Everything may be called
// from any goroutine. Nothing waits without a bound: a room whose events nobody
// reads is read again from the log later, instead of being kept in memory.
//
// The package knows the protocol and nothing of how gateways work. Frames are
// those of proto/wire/v1, read and written by pkg/frame.
package parley
