// Package presence knows who is online and in which rooms, on all gateways
// together, and serves proto/presence/v1.
//
// It owns one picture in memory, built from what the gateways announce on NATS:
// beats, numbered deltas, and snapshots where a delta was missed. It needs no
// store: a replica that starts asks every gateway and answers unavailable until
// it has heard them all. Any number of replicas hold the same picture; one of
// them tells the members of a room who came and who left.
//
// It must not know who may do what (that is the registry's), nor anything of
// clients' connections or of the log.
//
// The files, from the inside out, the first of which know neither NATS nor a
// clock: picture.go, places.go, rollup.go and leases.go (sessions, users, rooms),
// sweep.go (what concerns all sessions of a gateway, bit by bit), intake.go (each
// gateway's numbering), roster.go and statuses.go (gathering of what rooms are
// told), floor.go (which replica speaks), journal.go (the newest changes, for
// watchers), lastseen.go (who went when); then watch.go and query.go (gRPC),
// service.go, snapshot.go and standin.go (NATS, time, the lock).
package presence
