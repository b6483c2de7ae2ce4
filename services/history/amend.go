package history

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Edits and deletions are entries of their own. A deletion also erases what it
// is about, in this order:
//
//  1. The deletion is stored, and members are told of it.
//  2. The message is erased.
//  3. The edits of it that the log holds by then are erased, for they have its
//     content.
//
// An edit looks for its message again after it was stored. So whichever of the
// two comes first, no edit outlives its message: it was stored before step 3
// begins, which finds it, or else looks after step 2 and takes itself away.
//
// A process may end between any two steps. Then the caller, who got no answer,
// repeats the call under the same id, which finds the deletion stored and goes
// on; and a page that has both a deletion and its message erases the message
// (ListMessages) and shows only the deletion.

const (
	// eraseTimeout is how long erasing is tried, whether or not the caller
	// waits; a leader is elected within a second or two.
	eraseTimeout = 8 * time.Second
	// eraseAttempt bounds one attempt: who was the leader may never answer.
	eraseAttempt = 1500 * time.Millisecond
	// spareErases is how many edits may come in, while their message is being
	// deleted, beyond those that LogEntry.erases has counted.
	spareErases = 8
)

// EditMessage implements historyv1.HistoryServer.
func (s *Service) EditMessage(ctx context.Context, r *historyv1.EditMessageRequest) (*historyv1.AmendResponse, error) {
	user, err := s.checkAmend(r.RoomId, r.Id, r.Target, r.User)
	if err != nil {
		return nil, err
	}
	if err := s.checkContent(r.Content); err != nil {
		return nil, err
	}
	target, err := s.target(ctx, r.RoomId, r.Target, user, r.Moderator)
	if err != nil {
		return nil, err
	}
	if r.Content == "" && target.Data == nil {
		return nil, errs.Invalid("content", "is empty, and the message has no data")
	}
	answer, err := s.amend(ctx, r.RoomId, &busv1.LogEntry{
		Kind: busv1.LogEntry_KIND_EDIT, Id: r.Id, User: user, Content: proto.String(r.Content), Target: r.Target,
	})
	if err != nil {
		return nil, err
	}
	_, err = s.bus.Get(ctx, r.RoomId, r.Target)
	if errors.Is(err, bus.ErrNotFound) {
		if err := s.erase(ctx, r.RoomId, []uint64{answer.Seq}); err != nil {
			return nil, err
		}
		return nil, noMessage(r.Target)
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// DeleteMessage implements historyv1.HistoryServer.
func (s *Service) DeleteMessage(ctx context.Context, r *historyv1.DeleteMessageRequest) (*historyv1.AmendResponse, error) {
	user, err := s.checkAmend(r.RoomId, r.Id, r.Target, r.User)
	if err != nil {
		return nil, err
	}
	_, missing := s.target(ctx, r.RoomId, r.Target, user, r.Moderator)
	if missing != nil && (errs.CodeOf(missing) != errs.NotFound || r.Id == "") {
		return nil, missing
	}
	amended, err := s.amendments(ctx, r.RoomId, r.Target, r.Target)
	if err != nil {
		return nil, err
	}
	if missing != nil {
		// The same call may have come before and its answer been lost.
		for _, d := range amended.deletions {
			if d.Entry.Id == r.Id && d.Entry.User.GetId() == user.Id {
				return &historyv1.AmendResponse{Seq: d.Seq, Duplicate: true}, s.erase(ctx, r.RoomId, amended.edits)
			}
		}
		return nil, missing
	}
	answer, err := s.amend(ctx, r.RoomId, &busv1.LogEntry{
		Kind: busv1.LogEntry_KIND_DELETION, Id: r.Id, User: user, Target: r.Target,
		Erases: uint32(1 + len(amended.edits) + spareErases),
	})
	if err != nil {
		return nil, err
	}
	// From here on it is deleted, whether or not the caller waits.
	ctx = context.WithoutCancel(ctx)
	if err := s.erase(ctx, r.RoomId, []uint64{r.Target}); err != nil {
		return nil, err
	}
	later, err := s.amendments(ctx, r.RoomId, r.Target, amended.tail)
	if err != nil {
		return nil, err
	}
	return answer, s.erase(ctx, r.RoomId, append(amended.edits, later.edits...))
}

// checkAmend looks at what an edit and a deletion have in common.
func (s *Service) checkAmend(room, id string, target uint64, user *wirev1.User) (*wirev1.User, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	if err := ids.CheckRoom("roomId", room); err != nil {
		return nil, err
	}
	if id != "" {
		if err := ids.CheckRequest("id", id); err != nil {
			return nil, err
		}
	}
	if target < 1 || target > maxSeq {
		return nil, errs.Invalid("target", "is not between 1 and 2^53")
	}
	return checkUser(user)
}

// target gives the message that a user wants to amend. Errors: not-found,
// invalid-argument where it is no message, forbidden, unavailable.
func (s *Service) target(ctx context.Context, room string, seq uint64, user *wirev1.User, moderator bool) (*busv1.LogEntry, error) {
	stored, err := s.bus.Get(ctx, room, seq)
	switch {
	case errors.Is(err, bus.ErrNotFound) || err == nil && stored.Entry == nil:
		return nil, noMessage(seq)
	case err != nil:
		return nil, err
	}
	switch entry := stored.Entry; {
	case entry.Kind == busv1.LogEntry_KIND_EDIT || entry.Kind == busv1.LogEntry_KIND_DELETION:
		return nil, errs.Invalid("target", "is an edit or a deletion, not a message")
	case entry.User.GetId() != user.Id && !moderator:
		return nil, errs.New(errs.Forbidden, "the message is somebody else's")
	default:
		return entry, nil
	}
}

func noMessage(seq uint64) error {
	err := errs.New(errs.NotFound, "target: the room has no message %d", seq)
	err.Field = "target"
	return err
}

// amend stores an edit or a deletion.
func (s *Service) amend(ctx context.Context, room string, entry *busv1.LogEntry) (*historyv1.AmendResponse, error) {
	entry.TimeMs = time.Now().UnixMilli()
	var id string
	if entry.Id != "" {
		id = ids.Message(room, entry.User.Id, entry.Id)
	}
	ack, err := s.bus.Publish(ctx, room, id, entry)
	if err != nil {
		return nil, err
	}
	if !ack.Duplicate {
		s.metrics.amended.Add(ctx, 1)
		return &historyv1.AmendResponse{Seq: ack.Seq, Timestamp: timestamppb.New(time.UnixMilli(entry.TimeMs))}, nil
	}
	// Messages share the ids: nothing may be erased on the word of one.
	first, err := s.bus.Get(ctx, room, ack.Seq)
	switch {
	case errors.Is(err, bus.ErrNotFound): // erased since, or fallen to retention
	case err != nil:
		return nil, err
	case first.Entry.GetKind() != entry.Kind || first.Entry.GetTarget() != entry.Target:
		return nil, errs.Invalid("id", "was used for something else in this room")
	}
	return &historyv1.AmendResponse{Seq: ack.Seq, Duplicate: true}, nil
}

// amendments are what the log holds about one message.
type amendments struct {
	edits     []uint64
	deletions []bus.Stored
	tail      uint64 // the room's, up to which was looked
}

// amendments looks for edits and deletions of a message after a place.
func (s *Service) amendments(ctx context.Context, room string, target, after uint64) (a amendments, err error) {
	if a.tail, err = s.bus.Tail(ctx, room); err != nil {
		return a, err
	}
	for after < a.tail {
		page, err := s.bus.ReadAfter(ctx, room, after, bus.MaxPage, a.tail)
		if err != nil {
			return a, err
		}
		for _, e := range page.Entries {
			after = e.Seq
			switch {
			case e.Entry.Target != target:
			case e.Entry.Kind == busv1.LogEntry_KIND_EDIT:
				a.edits = append(a.edits, e.Seq)
			case e.Entry.Kind == busv1.LogEntry_KIND_DELETION:
				a.deletions = append(a.deletions, e)
			}
		}
		if !page.More {
			break
		}
	}
	return a, nil
}

// erase takes entries out of the log. It goes on when the caller has gone: of
// what is deleted nothing is to stay. Errors: unavailable.
func (s *Service) erase(ctx context.Context, room string, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eraseTimeout)
	defer cancel()
	for _, seq := range seqs {
		for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
			attempt, cancel := context.WithTimeout(ctx, eraseAttempt)
			err := s.bus.EraseEntry(attempt, room, seq)
			cancel()
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(pause):
			}
		}
	}
	return nil
}
