// Package process runs Parley's real programs, and a real NATS server, as
// operating-system processes for tests: it builds them once, starts them on
// loopback ports, kills and restarts them, and sees that none outlives its test.
//
// It knows the programs by their command line, environment, ports and exit
// statuses alone, as an operator does; of what they are made of, nothing.
package process
