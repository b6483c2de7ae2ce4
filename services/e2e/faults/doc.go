// Package faults breaks a deployment of real processes, three NATS nodes,
// three gateways and the four services, while the delivery checker
// (services/e2e/check) writes and reads through it: each kind of fault once,
// then all again and again, in other orders. Whatever single thing fails, no
// promise of PROTOCOL.md, section 5, may be broken. A crowd of connections
// (services/e2e/bench/load) is there beside it, and what each process holds is
// looked at: what grows for as long as a process lives is a failure of a run that
// is long enough.
//
// It has only tests. `make soak` runs them for longer, `make report` writes down
// what came of them (package services/e2e/report).
package faults
