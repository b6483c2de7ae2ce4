// Package nowait reads and writes sockets without telling Go's scheduler.
//
// Before each system call of package net the runtime notes that a thread may be
// held up in the kernel, and its watcher (runtime/proc.go, sysmon) then looks
// every 20 µs whether one is, for as long as there are such calls. A socket that
// does not block takes a few microseconds and cannot hold anybody up, so for a
// process that does little but read and write sockets the watching is for
// nothing: it was a tenth of a gateway's CPU.
//
// It knows neither what is written nor to whom. On systems other than Linux it is
// what package net does.
package nowait
