//go:build linux

package bench

// legend says what the figures are.
const legend = `Each server is started for each load, with an empty data directory, and ended behind it. Parley has its
default settings but for those above. *parley serve* is one process, NATS in it; where NATS is apart, so are the gateway and each of the
four services ("rest"). All messages are stored, acknowledged, ordered and idempotent.

The *floor* makes one frame for each message and one write(2) for each member, on one thread; the *floor+* reads first from all sockets
that have something, and makes one write of what came together. *2 floors* tell each other each message, and each writes to its own members, in an order of its own.
None of them signs anybody in, stores, acknowledges or limits (package services/e2e/bench/floor).

- **Load**: rooms × members, and either deliveries per second, evenly spaced, or how many messages are on their way: each that has come back to its
  sender is followed by the next. A content has 128 bytes; each member sends in its turn.
- **CPU** is what the kernel charged to the server's processes, user and system, in microseconds for each delivery, or join. **To floor** divides that
  by the floor's, or, where a load is saturated, the deliveries per second.
- **p50, p99, p99.9** are of all deliveries, from when the message was due to when the load read it.
- **Faults** are messages lost, doubled or out of order, for any member, and messages without an acknowledgement.
- **KiB/connection** is what the gateway's process has more in RAM with the connections than before.
- **Load's cores**: what the load itself used of a core, beside the servers.
`
