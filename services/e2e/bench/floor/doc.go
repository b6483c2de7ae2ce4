// Package floor is the least that a server has to do to deliver messages to
// the members of rooms: what Parley's cost is compared with.
//
// It takes WebSocket upgrades and join-room, and sends each chat-message of a
// member, as it came, to all members of the room, the sender too: one frame is
// made for each message, and one write(2) for each member. Coalescing
// ("floor+"), it first reads from all sockets that have something, puts what
// came together for each room, and then writes once to each member. One thread
// does all of it, in a process of its own, with Go's garbage collector off and
// system calls that its scheduler does not see.
//
// Two floors tell each other each message: what a server must do at least whose
// members are spread over two processes.
//
// It does nothing else: no accounts, no rights, no log, no order between
// servers, no acknowledgements, no idempotence, no history, no limits, no
// pings, no compression. Its frames are shorter than Parley's by what those put
// into them: the place in the log, the user and the time. What a slow reader
// does not take waits without a bound. Nobody should serve anybody with it.
package floor
