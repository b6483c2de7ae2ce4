// Package gateway terminates WebSocket: it takes clients' connections, checks
// their tokens, publishes what they say to the log, and delivers what the log
// sends out. It owns connections and nothing else, so any gateway can serve any
// client, and one that ends loses nothing.
//
// The way of a message goes through internal/conn (bytes), internal/session
// (commands) and internal/fanout (rooms); internal/announce tells presence who
// is here. The other services are reached over gRPC, for requests that need
// them; no message does. Only where there is a hook (internal/hook) that wants
// to be asked about messages, each waits for its answer.
package gateway
