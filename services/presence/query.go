package presence

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxRooms     = 1000 // of one CountRooms
	maxUsers     = 1000 // of one GetUsers
)

// ListOnline implements the Presence service.
func (s *Service) ListOnline(ctx context.Context, req *presencev1.ListOnlineRequest) (*presencev1.ListOnlineResponse, error) {
	users, next, at, err := s.page(ctx, "", req.Limit, req.Cursor, req.Seen)
	if err != nil {
		return nil, err
	}
	return &presencev1.ListOnlineResponse{Users: users, NextCursor: next, At: at}, nil
}

// ListRoomMembers implements the Presence service.
func (s *Service) ListRoomMembers(ctx context.Context, req *presencev1.ListRoomMembersRequest) (*presencev1.ListRoomMembersResponse, error) {
	if err := ids.CheckRoom("roomId", req.RoomId); err != nil {
		return nil, err
	}
	users, next, at, err := s.page(ctx, req.RoomId, req.Limit, req.Cursor, req.Seen)
	if err != nil {
		return nil, err
	}
	return &presencev1.ListRoomMembersResponse{Members: users, NextCursor: next, At: at}, nil
}

// CountRooms implements the Presence service.
func (s *Service) CountRooms(ctx context.Context, req *presencev1.CountRoomsRequest) (*presencev1.CountRoomsResponse, error) {
	if len(req.RoomIds) > maxRooms {
		return nil, errs.Invalid("roomIds", "are more than %d", maxRooms)
	}
	if err := s.await(ctx, req.Seen); err != nil {
		return nil, err
	}
	counts := make(map[string]int64, len(req.RoomIds))
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, id := range req.RoomIds {
		counts[id] = int64(s.intake.picture.roomCountWithout(id, req.WithoutUserId))
	}
	answer := &presencev1.CountRoomsResponse{Counts: counts, At: s.position()}
	if req.SessionId != "" {
		answer.Status = s.intake.picture.sessionStatus(req.SessionId, req.Seen.GetGatewayId())
	}
	return answer, nil
}

// GetUsers implements the Presence service.
func (s *Service) GetUsers(ctx context.Context, req *presencev1.GetUsersRequest) (*presencev1.GetUsersResponse, error) {
	if len(req.UserIds) == 0 || len(req.UserIds) > maxUsers {
		return nil, errs.Invalid("userIds", "are not between 1 and %d", maxUsers)
	}
	for _, id := range req.UserIds {
		if err := ids.CheckUser("userIds", id); err != nil {
			return nil, err
		}
	}
	if err := s.await(ctx, req.Seen); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	answer, now := &presencev1.GetUsersResponse{At: s.position()}, time.Now()
	for _, id := range req.UserIds {
		is := &presencev1.UserPresence{UserId: id}
		if u, ok := s.intake.picture.users.Get(&user{id: id}); ok {
			is.Online = s.intake.picture.onlineUser(u)
		} else if then := s.lastSeen.of(id, now); !then.IsZero() {
			is.LastSeen = timestamppb.New(then)
		}
		answer.Users = append(answer.Users, is)
	}
	return answer, nil
}

// page is what both lists do: the users of a room, or all where it is "".
func (s *Service) page(ctx context.Context, room string, limit int32, cursor string, seen *presencev1.Seen) (users []*presencev1.OnlineUser, next string, at *presencev1.Position, err error) {
	if limit < 0 || limit > maxLimit {
		return nil, "", nil, errs.Invalid("limit", "is not between 1 and %d", maxLimit)
	}
	if limit == 0 {
		limit = defaultLimit
	}
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || cursor != "" && ids.CheckUser("cursor", string(after)) != nil {
		return nil, "", nil, errs.Invalid("cursor", "is not one that a page gave")
	}
	if err := s.await(ctx, seen); err != nil {
		return nil, "", nil, err
	}
	s.mu.RLock()
	users, more := s.intake.picture.usersAfter(room, string(after), int(limit))
	at = s.position()
	s.mu.RUnlock()
	if more {
		next = base64.RawURLEncoding.EncodeToString([]byte(users[len(users)-1].User.Id))
	}
	return users, next, at, nil
}

// await refuses while the picture is not complete, and waits a moment for what
// the asker has announced itself.
func (s *Service) await(ctx context.Context, seen *presencev1.Seen) error {
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if seen.GetGatewayId() == "" || seen.Delta == 0 {
		return nil
	}
	s.mu.RLock()
	reached := s.intake.reached(seen.GatewayId, seen.Delta)
	s.mu.RUnlock()
	if reached {
		return nil
	}

	w := wait{delta: seen.Delta, done: make(chan struct{})}
	s.mu.Lock()
	if s.intake.reached(seen.GatewayId, seen.Delta) {
		s.mu.Unlock()
		return nil
	}
	s.intake.waits[seen.GatewayId] = append(s.intake.waits[seen.GatewayId], w)
	s.mu.Unlock()

	timer := time.NewTimer(s.opts.SeenWait)
	defer timer.Stop()
	select {
	case <-w.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	case <-s.stopped:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := slices.DeleteFunc(s.intake.waits[seen.GatewayId], func(o wait) bool { return o == w })
	if len(waits) == 0 {
		delete(s.intake.waits, seen.GatewayId)
	} else {
		s.intake.waits[seen.GatewayId] = waits
	}
	return ctx.Err()
}
