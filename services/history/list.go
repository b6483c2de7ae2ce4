package history

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

const (
	defaultLimit = 50
	// maxSeq is the greatest seq that all clients can count to: JavaScript's
	// numbers end there.
	maxSeq = 1 << 53
	// maxAnswer bounds the bytes of one page, well below the 4 MiB that a gRPC
	// message may have: 1000 messages of the greatest size would be 33 MiB.
	maxAnswer = 3 << 20
)

// ListMessages implements historyv1.HistoryServer. A page has fewer messages
// than were asked for where they would be more than 3 MiB; has_more tells.
func (s *Service) ListMessages(ctx context.Context, r *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	limit := int(r.Limit)
	if limit == 0 {
		limit = defaultLimit
	}
	if err := ids.CheckRoom("roomId", r.RoomId); err != nil {
		return nil, err
	}
	switch {
	case limit < 1 || limit > bus.MaxPage:
		return nil, errs.Invalid("limit", "must be between 1 and %d", bus.MaxPage)
	case r.Before != 0 && r.After != nil:
		return nil, errs.Invalid("before", "may not be given together with after")
	case r.GetAfter() > maxSeq:
		return nil, errs.Invalid("after", "is greater than 2^53")
	}
	// The leader tells what there is; the replica that is read from may lag.
	tail, err := s.bus.Tail(ctx, r.RoomId)
	if err != nil || tail == 0 {
		return &historyv1.ListMessagesResponse{}, err
	}
	var page bus.Page
	if r.After != nil {
		page, err = s.bus.ReadAfter(ctx, r.RoomId, r.GetAfter(), limit, tail)
	} else {
		page, err = s.bus.ReadNewest(ctx, r.RoomId, r.Before, limit, tail)
	}
	if err != nil {
		return nil, err
	}
	var deleted []uint64
	page.Entries, deleted = bus.WithoutDeleted(page.Entries)
	if len(deleted) > 0 {
		// Somebody is erasing them at this moment, or has been cut off doing so.
		if err := s.erase(ctx, r.RoomId, deleted); err != nil {
			s.log.WarnContext(ctx, "a deleted message is still in the log", "room", r.RoomId, "error", err)
		}
	}
	return fit(page, r.After != nil), nil
}

// fit makes a page's answer. What does not fit into it is left away at the end
// that the caller goes on from.
func fit(page bus.Page, forward bool) *historyv1.ListMessagesResponse {
	if !forward {
		slices.Reverse(page.Entries)
	}
	answer := &historyv1.ListMessagesResponse{HasMore: page.More}
	size := 0
	for _, e := range page.Entries {
		m := message(e)
		if size += proto.Size(m) + 8; size > maxAnswer { // 8: its tag and length
			answer.HasMore = true
			break
		}
		answer.Messages = append(answer.Messages, m)
	}
	if !forward {
		slices.Reverse(answer.Messages)
	}
	return answer
}

// Erase implements historyv1.HistoryServer.
func (s *Service) Erase(ctx context.Context, r *historyv1.EraseRequest) (*historyv1.EraseResponse, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	if err := ids.CheckRoom("roomId", r.RoomId); err != nil {
		return nil, err
	}
	erased, err := s.bus.Erase(ctx, r.RoomId)
	if err != nil {
		return nil, err
	}
	return &historyv1.EraseResponse{Erased: erased}, nil
}

// Trim implements historyv1.HistoryServer.
func (s *Service) Trim(ctx context.Context, r *historyv1.TrimRequest) (*historyv1.TrimResponse, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	if err := ids.CheckRoom("roomId", r.RoomId); err != nil {
		return nil, err
	}
	if r.Keep == 0 {
		return nil, errs.Invalid("keep", "is missing")
	}
	erased, err := s.bus.Trim(ctx, r.RoomId, r.Keep)
	if err != nil {
		return nil, err
	}
	return &historyv1.TrimResponse{Erased: erased}, nil
}
