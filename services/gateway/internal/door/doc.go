// Package door is what stands between the network and the HTTP server: it takes
// the clients' sockets, hears from trusted load balancers whose they are, by the
// PROXY protocol, and bounds those that have not become WebSockets, so that who
// opens sockets and says nothing, or says it a byte at a time, does not keep
// others out.
//
// Upgrades that are plainly such it takes itself, and leaves the rest to the HTTP
// server (Upgrades).
//
// It knows sockets, addresses and the head of a request, and nothing of what is said
// on a WebSocket; package conn has those that have become one.
package door
