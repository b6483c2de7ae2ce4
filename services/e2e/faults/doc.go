// Package faults breaks a deployment of real processes, three NATS nodes,
// three gateways and the four services, while the delivery checker
// (services/e2e/check) writes and reads through it: each kind of fault once,
// then at random. Whatever single thing fails, no promise of PROTOCOL.md,
// section 5, may be broken.
//
// It has only tests. `make soak` runs them for longer.
package faults
