// Package bench measures what Parley costs: CPU for each delivery, memory for
// each connection, how late messages are and how many there can be, beside a
// floor that does the least a server must (package floor), in the same run and
// under the same load (package load).
//
// It starts every server as processes of its own, on 127.0.0.1 with data in a
// temporary directory, reads what the kernel charged them for the time that
// counts, ends them, and reports. A run also verifies: a message that was lost,
// doubled or out of order is a failure, however fast it was.
//
// It knows the programs by their command line and settings, as an operator
// does, and nothing of what is in them. It needs Linux.
package bench

// ProcessCommand is the command of the parley program that runs one process of
// a deployment: its arguments are the program's name (nats, floor, gateway,
// auth, registry, history, presence) and that one's flags.
const ProcessCommand = "bench-process"
