package presence

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-im/parley/pkg/bus"
)

// Options says what the service works with. Only Bus is needed; the durations
// fit gateways that beat once a second.
type Options struct {
	Bus *bus.Bus
	// Logger gets a line when the picture is complete, when a gateway falls
	// silent and when the speaker changes; nil discards.
	Logger *slog.Logger
	// Meter records what metrics.go lists; nil records nothing.
	Meter metric.Meter

	// GatewayTimeout is how long a gateway may be silent before its sessions
	// are gone; default 15 s.
	GatewayTimeout time.Duration
	// Lease is how long sessions stay after their gateway has said that it
	// ends; default 15 s.
	Lease time.Duration
	// StartWait is how long a start listens for gateways' beats before it may
	// call its picture complete; default 2.5 s, which is two beats.
	StartWait time.Duration
	// HoleWait is how long a delta may be late before the gateway's snapshot is
	// asked for, and the time between two asks; and how long a gateway may tell
	// of fewer deltas than are known before it is believed to have begun anew;
	// default 1 s.
	HoleWait time.Duration
	// SeenWait is how long a query waits for the delta it names; default 250 ms.
	SeenWait time.Duration

	// BeatEvery is how often this replica tells the others that it is there;
	// default 1 s.
	BeatEvery time.Duration
	// ReplicaTimeout is how long a replica may be silent before another speaks
	// in its place; default 3 s.
	ReplicaTimeout time.Duration

	// LargeRoom is the number of members above which a room is told counts in
	// place of who came and who left; default 200.
	LargeRoom int
	// StatsEvery is the time between two counts of a large room; default 1 s.
	StatsEvery time.Duration
	// Gather is the least time between two roster events of any other room;
	// default 250 ms, which nobody who watches people come and go minds, and
	// which makes a storm of joins few writes to each member (PROTOCOL.md,
	// section 4). Behind an event that told of many it is longer, up to
	// StatsEvery.
	Gather time.Duration

	// WatchBuffer is how many of the newest changes are kept for watchers: one
	// that has fallen further behind is ended, one that is back within them goes
	// on where it was; default 65,536, which is 3 MiB.
	WatchBuffer int

	// LastSeenUsers is of how many users who have gone it is remembered when
	// that was, at most; default 1,000,000, which takes up to 90 MB.
	LastSeenUsers int
	// LastSeenFor is for how long; default 7 days.
	LastSeenFor time.Duration
}

func (o *Options) complete() error {
	if o.Bus == nil {
		return errors.New("bus: is missing")
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"gateway timeout", &o.GatewayTimeout, 15 * time.Second},
		{"lease", &o.Lease, 15 * time.Second},
		{"start wait", &o.StartWait, 2500 * time.Millisecond},
		{"hole wait", &o.HoleWait, time.Second},
		{"seen wait", &o.SeenWait, 250 * time.Millisecond},
		{"beat every", &o.BeatEvery, time.Second},
		{"replica timeout", &o.ReplicaTimeout, 3 * time.Second},
		{"stats every", &o.StatsEvery, time.Second},
		{"gather", &o.Gather, 250 * time.Millisecond},
		{"last seen for", &o.LastSeenFor, 7 * 24 * time.Hour},
	} {
		if *d.value < 0 {
			return fmt.Errorf("%s: %v is negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.LargeRoom < 0 || o.WatchBuffer < 0 || o.LastSeenUsers < 0 {
		return errors.New("large room, watch buffer and last seen users: must not be negative")
	}
	if o.ReplicaTimeout <= o.BeatEvery {
		return fmt.Errorf("replica timeout: %v is not longer than a beat of %v", o.ReplicaTimeout, o.BeatEvery)
	}
	if o.LargeRoom == 0 {
		o.LargeRoom = 200
	}
	if o.WatchBuffer == 0 {
		o.WatchBuffer = 1 << 16
	}
	if o.LastSeenUsers == 0 {
		o.LastSeenUsers = 1_000_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	return nil
}
