// Package bus is the one door to NATS. It owns every subject, stream and
// bucket name (names.go), the connection (bus.go), the durable log of rooms
// (log*.go, publish.go), what is only said and not stored (live.go,
// presence.go), the records in KV (kv.go) and the feed of a gateway's rooms
// (feed.go). Nothing else in Parley imports nats.go, and no type of nats.go
// leaves this package.
//
// It knows how things travel and are stored, and nothing of what they mean:
// who may say what in which room is decided elsewhere.
package bus
