package check

import (
	"math"
	"time"
)

// Key names a message of a run: who wrote it, and which of the writer's
// messages it is.
type Key uint64

const (
	keyBits    = 40
	maxWriters = 100_000
)

func makeKey(writer, n int) Key { return Key(writer)<<keyBits | Key(n) }

// Writer is the number of the client that wrote it.
func (k Key) Writer() int { return int(k >> keyBits) }

// N counts the writer's messages from 0.
func (k Key) N() int { return int(k & (1<<keyBits - 1)) }

// Record is what happened in a run. Times count from its beginning.
type Record struct {
	Rooms []string
	// Retention is how many messages the log keeps of each room.
	Retention int
	// Messages are those that were sent, by writer and in the order of N.
	Messages [][]Message
	// Again are the acknowledgements of a message after its first.
	Again []Again
	// Places are every client's in every room it is in.
	Places []*Place
	// Logs are what the log held of each room at the end.
	Logs []Log
	// Windows are the times in which something was broken on purpose.
	Windows []Window
	// Seen are violations that showed during the run already.
	Seen []Violation
}

// Message is what its writer knows of one message.
type Message struct {
	Room int32
	// Resent: it was sent more than once.
	Resent bool
	// Duplicate is what the first acknowledgement said.
	Duplicate bool
	// Unknown: it was given up without an acknowledgement. It may have been
	// stored or not.
	Unknown bool
	// Sent is when it was due, Acked when its first acknowledgement came; 0 is
	// never.
	Sent, Acked time.Duration
	Seq         uint64
}

// Again is a further acknowledgement.
type Again struct {
	Key       Key
	Seq       uint64
	Duplicate bool
}

// How says by which way a message came.
type How uint8

// The ways.
const (
	Live     How = iota
	History      // in what a first join, or one that could not be continued, was told of the past
	Recovery     // in what a resume or a join was told of what it missed
)

// Delivery is a message as it came.
type Delivery struct {
	Key       Key
	Seq, Prev uint64 // Prev of live ones only
	At        time.Duration
	Link      int32 // the client's connections, counted from 1
	How       How
}

// Place is one client's membership of one room.
type Place struct {
	Client, Room int
	// From: every message after this seq should have come.
	From uint64
	// Since is when the client became a member.
	Since      time.Duration
	Deliveries []Delivery
	Gaps       []Gap
}

// Gap is where a client that came back was told that it could not be brought
// up: what lies between After and Before did not come.
type Gap struct {
	After, Before uint64 // both exclusive
	// Seq is the room's newest at that time.
	Seq uint64
}

// never is a gap's end that has not been seen.
const never = math.MaxUint64

// Log is what get-history gave of a room, oldest first.
type Log struct {
	Entries []Entry
	// Unread: it could not be read, and nothing follows from it.
	Unread bool
}

// Entry is one message in a Log.
type Entry struct {
	Seq uint64
	Key Key
}

// Window is a time in which something was broken.
type Window struct {
	Kind  string        `json:"kind"`
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
}

// Violation is a promise that was not kept.
type Violation struct {
	Kind   Kind   `json:"kind"`
	Room   string `json:"room,omitempty"`
	Client int    `json:"client,omitempty"`
	Seq    uint64 `json:"seq,omitempty"`
	Detail string `json:"detail"`
}

// Kind is a kind of violation.
type Kind string

// The kinds.
const (
	Lost         Kind = "lost"          // acknowledged, and missing for a member or in the log
	Duplicated   Kind = "duplicated"    // delivered twice, or stored twice
	Reordered    Kind = "reordered"     // delivered after a newer one
	Hole         Kind = "gap"           // the chain was broken, or something stored did not come
	Phantom      Kind = "phantom"       // delivered, and not in the log
	Changed      Kind = "changed"       // another content, seq or epoch than before
	NotRecovered Kind = "not-recovered" // recovered:false though the log still held everything
	Late         Kind = "late"          // came to a connected member only when it reconnected
	Refused      Kind = "refused"       // a client was sent away, or a request refused, without a reason
)
