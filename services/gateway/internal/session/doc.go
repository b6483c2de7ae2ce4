// Package session is what a connection means: it decodes a client's requests,
// checks them, and carries them out, each command in a file of its own (the
// table is in commands.go). It knows the protocol, whom a connection belongs
// to and which rooms it is in; bytes are package conn's, rooms package
// fanout's, and what a room allows is the registry's to say.
//
// # Order
//
// Requests that are answered from the gateway's own knowledge run on the
// reading goroutine, one after the other. Those that have to ask a service run
// in a lane beside it, also one after the other, so that a service that hangs
// does not hold up the chat. A request about a room that has requests in the
// lane queues up behind them: join and message, sent in one breath, work.
// Where a hook is asked about messages, they run in the lane, too, so that one
// that hangs holds up what is said and nothing else.
package session
