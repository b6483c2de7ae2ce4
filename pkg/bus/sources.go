package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/ids"
)

// What events are made of: the streams of the log, and every revision of the
// bucket of rooms.

// Place is where something stands in what is read in order.
type Place struct {
	// Seq is its own, and greater than that of all before.
	Seq uint64
	// Stored is when NATS stored it.
	Stored time.Time
	// Pending is how many followed when NATS sent this one. Not all of them need
	// come: what is erased meanwhile does not.
	Pending uint64
}

// LogReader reads one shard of the log, all rooms in the order in which their
// entries were stored. One goroutine has it.
type LogReader struct{ cursor cursor }

// ReadLog begins to read a shard behind a seq.
func (b *Bus) ReadLog(shard int, after uint64) *LogReader {
	return &LogReader{cursor{b: b, stream: streamLog(shard), last: after}}
}

// Next gives the next entry, and waits for it until ctx ends. With a patience it
// waits no longer, and fails with ErrQuiet then. Entry is nil where it is not
// ours.
func (r *LogReader) Next(ctx context.Context, patience time.Duration) (Stored, Place, error) {
	msg, meta, err := r.cursor.next(ctx, patience)
	if err != nil {
		return Stored{}, Place{}, err
	}
	place := placeOf(meta)
	room, err := roomOf(msg.Subject())
	if err != nil {
		return Stored{Seq: place.Seq}, place, nil
	}
	return Stored{Room: room, Seq: place.Seq, Entry: r.cursor.b.entryOf(msg.Subject(), msg.Data())}, place, nil
}

// Close ends the reading.
func (r *LogReader) Close() { r.cursor.close() }

func placeOf(meta *jetstream.MsgMetadata) Place {
	return Place{Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Pending: meta.NumPending}
}

// ShardBounds gives the seq of the oldest entry that a shard of the log has, and
// the greatest that it has given away, as its leader knows them. Where it has no
// entries, first is the one that comes next.
func (b *Bus) ShardBounds(ctx context.Context, shard int) (first, last uint64, err error) {
	info, err := b.streamState(ctx, streamLog(shard))
	return info.FirstSeq, info.LastSeq, err
}

// streamState reads what a stream's leader knows of it.
func (b *Bus) streamState(ctx context.Context, name string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("asking for stream %s: %w", name, err)
	}
	return stream.CachedInfo().State, nil
}

// Change is one revision of the bucket of rooms. Of a deletion, Value is the
// note that Remove was given.
type Change struct {
	Entry
	// Kind is what the key begins with (services/registry/keys.go): "r" is a
	// room's record, "m" a standing, "e" the end of a room; "" is a key of a
	// newer version.
	Kind string
	// Room, and of a standing User, are whom it is about.
	Room, User string
}

// parseChange takes a key apart.
func parseChange(key string) (kind, room, user string) {
	parts := strings.Split(key, ".")
	if len(parts) != 2 && !(len(parts) == 3 && parts[0] == "m") {
		return "", "", ""
	}
	room, err := ids.FromToken(parts[1])
	if err == nil && len(parts) == 3 {
		user, err = ids.FromToken(parts[2])
	}
	if err != nil || ids.CheckRoom("roomId", room) != nil {
		return "", "", ""
	}
	return parts[0], room, user
}

// ChangeReader reads the changes of the bucket of rooms in the order of their
// revisions. One goroutine has it.
type ChangeReader struct{ cursor cursor }

// ReadChanges begins to read behind a place.
func (b *Bus) ReadChanges(after uint64) *ChangeReader {
	return &ChangeReader{cursor{b: b, stream: streamChanges, last: after}}
}

// Next gives the next change, and waits for it until ctx ends. With a patience
// it waits no longer, and fails with ErrQuiet then. Revisions that were over
// before NATS could copy them are left out: a hole in Revision.
func (r *ChangeReader) Next(ctx context.Context, patience time.Duration) (Change, Place, error) {
	for {
		msg, meta, err := r.cursor.next(ctx, patience)
		if err != nil {
			return Change{}, Place{}, err
		}
		key, ok := strings.CutPrefix(msg.Subject(), "$KV."+string(Rooms)+".")
		revision, err := sourceSeq(msg.Headers())
		if !ok || err != nil {
			r.cursor.b.PassOver(msg.Subject(), err)
			continue
		}
		change := Change{Entry: Entry{
			Key: key, Value: msg.Data(), Revision: revision,
			Deleted: isMarker(msg.Headers()), Stored: meta.Timestamp,
		}}
		change.Kind, change.Room, change.User = parseChange(key)
		return change, placeOf(meta), nil
	}
}

// Close ends the reading.
func (r *ChangeReader) Close() { r.cursor.close() }

// sourceSeq reads from where a stream has a message that it copied (NATS
// ADR-60): "<stream> <seq> …".
func sourceSeq(h nats.Header) (uint64, error) {
	fields := strings.Fields(h.Get("Nats-Stream-Source"))
	if len(fields) < 2 {
		return 0, errors.New("a copied record does not say which revision it is")
	}
	return strconv.ParseUint(fields[1], 10, 64)
}

// ChangesBegin gives the first revision that ReadChanges can know of.
func (b *Bus) ChangesBegin(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, streamChanges)
	if err != nil {
		return 0, fmt.Errorf("asking for stream %s: %w", streamChanges, err)
	}
	for _, source := range stream.CachedInfo().Config.Sources {
		return source.OptStartSeq, nil
	}
	return 0, fmt.Errorf("stream %s copies nothing", streamChanges)
}
