package bus

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/ids"
)

// Every subject, stream and bucket of Parley is named here.
//
//	parley.log.<shard>.<room>        messages on their way into the log
//	parley.out.<shard>.<room>        to a room's members: stored messages, which the
//	                                 log republishes with their place in a header,
//	                                 and signals, roster events and room changes,
//	                                 which have none
//	parley.all                       to every connection
//	parley.user.<user>               to one user's connections
//	parley.presence.beat.<gateway>   a gateway is alive
//	parley.presence.delta.<gateway>  what happened to its sessions
//	parley.presence.ask              a replica wants every gateway's snapshot
//	parley.presence.ask.<gateway>    a replica wants this gateway's snapshot
//	parley.presence.replica          a presence replica is alive
//	parley.events.<kind>.<of>        events for back ends; proto/events/v1
//
// A room id is one subject token as it is (ids.CheckRoom); user ids may hold
// anything and travel as ids.Token.
const (
	subjectLog      = "parley.log."
	subjectOut      = "parley.out."
	subjectAll      = "parley.all"
	subjectUser     = "parley.user."
	subjectBeat     = "parley.presence.beat."
	subjectDelta    = "parley.presence.delta."
	subjectAsk      = "parley.presence.ask"
	subjectReplica  = "parley.presence.replica"
	subjectEvents   = "parley.events."
	streamLogPrefix = "PARLEY_LOG_"
	// streamEvents has the events, streamChanges every revision of the bucket of
	// rooms, from which some of them are made.
	streamEvents  = "PARLEY_EVENTS"
	streamChanges = "PARLEY_CHANGES"
)

// Headers that the server adds to republished and directly read messages, and
// that we add to published ones (NATS ADR-8, ADR-28, ADR-31, ADR-50).
const (
	headerMsgID        = "Nats-Msg-Id"
	headerSequence     = "Nats-Sequence"
	headerPrevious     = "Nats-Last-Sequence"
	headerNumPending   = "Nats-Num-Pending"
	headerExpectedLast = "Nats-Expected-Last-Sequence"
	headerBatch        = "Nats-Batch-Id"
	headerTime         = "Nats-Time-Stamp"

	// headerTrace is W3C Trace Context's, in lower case as NATS's own tracing and
	// OpenTelemetry write it.
	headerTrace = "traceparent"
)

// Bucket names one KV bucket.
type Bucket string

// The buckets.
const (
	// Rooms holds room records and users' standing in rooms.
	Rooms Bucket = "parley_rooms"
	// Reads holds how far users have read in rooms: "<room>.<user>".
	Reads Bucket = "parley_reads"
	// Users holds accounts, which of them are disabled, and invite codes.
	Users Bucket = "parley_users"
	// Sessions holds sign-ins, revocations and changes of roles; all end by the
	// bucket's TTL.
	Sessions Bucket = "parley_sessions"
	// Keys holds signing keys: "private.<kid>" and "public.<kid>"; "current" and
	// "next" name the one that signs and the one that will, "until.<kid>" says
	// when an old one is taken away.
	Keys Bucket = "parley_keys"
	// Config holds the deployment's own record.
	Config Bucket = "parley_config"
	// Events holds how far events have been made, and by whom.
	Events Bucket = "parley_events"
)

// SessionTTL is how long a sign-in lasts after its last use, and how long a
// revocation is remembered; no token may live longer than this.
const SessionTTL = time.Hour

// shardOf gives the shard of the log that a room is in. FNV-1a spreads short
// ids well enough and is the same in every language.
func shardOf(room string, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(room))
	return int(h.Sum32() % uint32(shards))
}

func streamLog(shard int) string { return streamLogPrefix + strconv.Itoa(shard) }

func (b *Bus) logSubject(room string) string { return b.roomSubject(subjectLog, room) }
func (b *Bus) outSubject(room string) string { return b.roomSubject(subjectOut, room) }

func (b *Bus) roomSubject(prefix, room string) string {
	return prefix + strconv.Itoa(shardOf(room, b.deployment.Shards)) + "." + room
}

func userSubject(user string) string { return subjectUser + ids.Token(user) }

// roomOf cuts the room off the end of a subject of the log or of what comes out
// of it.
func roomOf(subject string) (string, error) {
	i := strings.LastIndexByte(subject, '.')
	if i < 0 || i == len(subject)-1 {
		return "", fmt.Errorf("subject %q names no room", subject)
	}
	return subject[i+1:], nil
}
