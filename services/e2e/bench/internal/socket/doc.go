// Package socket is what the load and the floor have in common: nonblocking
// TCP sockets behind an epoll, served by one thread, and the frames of RFC 6455
// on them.
//
// It owns bytes: what the kernel would not take yet, and what of a frame has
// not come yet. It knows nothing of rooms and messages. It is for programs that
// measure others and have to cost less than those, so it is Linux's alone and
// leaves out what they do not need: TLS, fragments, and the checking of what a
// peer sends.
package socket
