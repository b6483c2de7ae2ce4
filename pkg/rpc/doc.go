// Package rpc is how Parley's services speak gRPC: one way to build a server,
// one way to build a client, and one way for a coded error (package errs) to
// get from one to the other unharmed.
//
// It owns deadlines, retries, keepalives, load balancing, health, and what is
// logged and counted of a call. It must not know any service: what is served
// is registered, and what is called is made, by whoever uses this package.
// Services return package errs' errors and never import this package.
//
// # Time
//
// A unary call without a deadline gets one, 3 s at the client and 10 s at the
// server. A client gives its server a little less time than it has itself, so
// that what went wrong far down is told before everybody on the way up has
// given up. Streams live until one side ends them.
//
// # Trust
//
// A server asks who calls (package access) before a handler hears of it, and
// lets it call what its scopes allow. Handlers get the caller by
// access.From(ctx). A stream is asked about once, when it is opened.
// Certificates are looked at when a connection is made: one that is open
// outlives a change of the files.
//
// # A service that is down
//
// Calls are answered unavailable at once where no replica is in reach and
// healthy; only while the first connection is being made do they wait, up to
// 2 s. A replica that refuses connections is left in the same moment; one
// that hangs without closing its connections (a stopped process, a cable
// pulled) is left after 13 s, 10 s for gRPC's shortest keepalive interval and
// 3 s for the answer, and until then the calls it gets run into their
// deadlines.
package rpc
