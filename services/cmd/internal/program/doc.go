// Package program is what Parley's programs have in common: their settings
// under the same names, logs, metrics, the admin port, the connection to NATS,
// and the order in which all of it starts and stops. A program is a few lines
// that say which services it runs; what a service is, its own package says.
package program
