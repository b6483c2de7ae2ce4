package session

import (
	"context"
	"math"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// mayWrite gives the session's place in a room, where it may write now. What
// the registry has said is kept with the place, so that nobody is asked.
func (s *Session) mayWrite(room string) (*fanout.Membership, error) {
	place := s.room(room)
	if place == nil {
		return nil, notJoined(room)
	}
	if until := place.MutedUntil(); until != 0 {
		if left := time.Until(time.UnixMilli(until)); left > 0 {
			err := errs.New(errs.Muted, "you are muted in room %q", room)
			if until != math.MaxInt64 {
				err.RetryAfter = left
			}
			return nil, err
		}
	}
	return place, nil
}

// mutedUntil is until when a muting lasts, milliseconds since 1970; 0 for none.
func mutedUntil(mute *registryv1.Sanction) int64 {
	switch {
	case mute == nil:
		return 0
	case mute.Until == nil:
		return math.MaxInt64
	}
	return mute.Until.AsTime().UnixMilli()
}

// lobbyTimeout bounds how long a session's requests about the lobby wait for
// whether it is muted there; it is let in without the registry, too.
const lobbyTimeout = time.Second

// askLobby finds out whether the user is muted in the lobby. It runs in the
// lane, so that what is sent to the lobby waits for it and nothing else does.
func (s *Session) askLobby(place *fanout.Membership) {
	s.lane.add(ids.Lobby, func() {
		ctx, cancel := context.WithTimeout(context.Background(), lobbyTimeout)
		defer cancel()
		until, err := s.hub.lobbyMutes.Ask(ctx, s.UserID())
		if err != nil {
			s.log.Debug("asking who is muted in the lobby", "error", err)
			return
		}
		place.Mute(until)
	})
}

// askLobbyMutes tells until when each of some users is muted in the lobby.
func (h *Hub) askLobbyMutes(ctx context.Context, users []string) ([]int64, error) {
	answer, err := h.opts.Registry.GetMembers(ctx, &registryv1.GetMembersRequest{RoomId: ids.Lobby, UserIds: users, Sanctioned: true})
	if err != nil {
		return nil, err
	}
	found := make(map[string]int64, len(answer.Members))
	for _, m := range answer.Members {
		found[m.User.GetId()] = mutedUntil(m.Mute)
	}
	untils := make([]int64, len(users))
	for i, user := range users {
		untils[i] = found[user]
	}
	return untils, nil
}
