package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Get reads one entry of a room's log from the stream's leader, so it sees
// every entry that was acknowledged and none that was erased before. Entry is
// nil where the entry is not ours. Errors: ErrNotFound, when the room has no
// entry of this seq; unavailable.
func (b *Bus) Get(ctx context.Context, room string, seq uint64) (Stored, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(map[string]uint64{"seq": seq})
	if err != nil {
		return Stored{}, err
	}
	var answer struct {
		apiAnswer
		Message struct {
			Subject string `json:"subject"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if seq == 0 { // JetStream takes it for a request without a seq
		return Stored{}, ErrNotFound
	}
	err = b.askLeader(ctx, "STREAM.MSG.GET."+b.streamOf(room), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if errors.Is(err, ErrNotFound) {
		return Stored{}, ErrNotFound
	}
	if err != nil {
		return Stored{}, errs.Missing("the log", fmt.Errorf("reading %d of %s: %w", seq, room, err))
	}
	if answer.Message.Subject != b.logSubject(room) {
		return Stored{}, ErrNotFound // another room's: they share their shard's seqs
	}
	return Stored{Room: room, Seq: seq, Entry: b.entryOf(answer.Message.Subject, answer.Message.Data)}, nil
}

// EraseEntry takes one entry out of a room's log and overwrites its bytes.
// What is not there is erased already. A replica may still answer a direct
// read with the entry for the moment by which it is behind. Errors:
// unavailable.
func (b *Bus) EraseEntry(ctx context.Context, room string, seq uint64) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	// The stream would erase any room's; and asking first tells what is gone,
	// which the deletion answers with several different errors.
	if _, err := b.Get(ctx, room, seq); err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	request, err := json.Marshal(map[string]uint64{"seq": seq})
	if err != nil {
		return err
	}
	var answer apiAnswer
	err = b.api(ctx, "STREAM.MSG.DELETE."+b.streamOf(room), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if err == nil {
		return nil
	}
	if _, gone := b.Get(ctx, room, seq); errors.Is(gone, ErrNotFound) {
		return nil // somebody else was faster, or only the answer was lost
	}
	return errs.Missing("the log", fmt.Errorf("erasing %d of %s: %w", seq, room, err))
}

// CountAfter tells how many entries with a greater seq the log holds of a
// room. Errors: unavailable.
func (b *Bus) CountAfter(ctx context.Context, room string, seq uint64) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	_, count, err := b.probe(ctx, room, seq+1)
	if err != nil {
		return 0, errs.Missing("the log", fmt.Errorf("counting %s after %d: %w", room, seq, err))
	}
	return count, nil
}

// WithoutDeleted leaves away, of entries read in order, what a deletion among
// them says to be gone: the message and the edits of it. They are erased only
// after the deletion is stored, so a read may still give them. deleted are the
// seqs of what it left away; entries is not changed.
func WithoutDeleted(entries []Stored) (kept []Stored, deleted []uint64) {
	var targets map[uint64]bool
	for _, s := range entries {
		if s.Entry.GetKind() == busv1.LogEntry_KIND_DELETION {
			if targets == nil {
				targets = make(map[uint64]bool)
			}
			targets[s.Entry.Target] = true
		}
	}
	if targets == nil {
		return entries, nil
	}
	kept = make([]Stored, 0, len(entries))
	for _, s := range entries {
		if targets[s.Seq] || s.Entry.GetKind() == busv1.LogEntry_KIND_EDIT && targets[s.Entry.Target] {
			deleted = append(deleted, s.Seq)
		} else {
			kept = append(kept, s)
		}
	}
	return kept, deleted
}
