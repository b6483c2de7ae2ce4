// Package load is the client side of the bench: thousands of connections on
// one thread, which must cost less than any server it measures.
//
// It speaks the wire protocol (JSON or protobuf) over raw sockets behind an epoll, with one
// buffer for all of them, and reads of each frame only its beginning, by which
// it tells the types apart, and the number that the content of each message
// begins with. By that number the Verifier follows every delivery to every
// member: each message that was sent reaches each member of its room once, in
// one order. The same code measures the floor, which speaks the little of
// the protocol that is needed for it.
//
// It knows nothing of processes and reports: what is started and compared is
// package bench's.
package load
