// Package conformance holds what a gateway does on the wire against RFC 6455 and
// RFC 7692, frame by frame over raw sockets: framing, fragments, control frames,
// reserved bits and opcodes, UTF-8, close codes, limits, compression. Its peer
// (peer_test.go) is written from the RFCs and shares no code with what it judges.
//
// Every case is run on a whole gateway, whose messages are pings of the JSON
// protocol, and, where a case needs messages of its own making, on the same
// connection code behind `parley echo`, which Autobahn's suite can be run against too.
package conformance
