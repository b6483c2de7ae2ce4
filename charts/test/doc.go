// Package test holds the chart to what can be known of it without a cluster:
// that every configuration of its matrix (charts/parley/ci) renders to objects
// which the API server of Kubernetes would take, that they fit each other, that
// the programs and NATS take the settings they are given, and that wrong values
// are refused by name.
//
// Helm's engine and linter, the API server's own decoding, defaulting and
// validation, and the checks of the pod security standards are libraries here,
// so one build serves all of it.
package test
