package session

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// may gives the session's place in a room, where it may post or signal now.
// What the registry has said is kept with the place, so that nobody is asked.
func (s *Session) may(action rights.Action, room string) (*fanout.Membership, error) {
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
	if !place.May(action) {
		return nil, errs.New(errs.Forbidden, "the room %q does not let you %s", room, action)
	}
	if action != rights.Post {
		return place, nil
	}
	if wait := place.Pace(); wait > 0 {
		return nil, &errs.Error{Code: errs.RateLimited, Message: fmt.Sprintf("the room %q takes your messages slower", room), RetryAfter: wait}
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
// its rights there; it is let in without the registry, too.
const lobbyTimeout = time.Second

// lobbyStanding is what a user may do in the lobby beside what all may.
type lobbyStanding struct {
	muted int64 // until when
	role  registryv1.Role
}

// askLobby finds out what the user may do in the lobby. It runs in the lane, so
// that what is sent to the lobby waits for it and nothing else does.
func (s *Session) askLobby(place *fanout.Membership) {
	s.lane.add(ids.Lobby, func() {
		ctx, cancel := context.WithTimeout(context.Background(), lobbyTimeout)
		defer cancel()
		standing, err := s.hub.lobbyStandings.Ask(ctx, s.UserID())
		if err != nil {
			s.log.Debug("asking who may do what in the lobby", "error", err)
			return
		}
		place.Mute(standing.muted)
		if standing.role == place.Role() {
			return
		}
		if err := s.hub.opts.Rooms.Appoint(ctx, ids.Lobby, s.UserID(), standing.role); err != nil {
			s.log.Debug("taking in a role in the lobby", "error", err)
		}
	})
}

// askLobbyStandings tells what each of some users may do in the lobby. What all
// may there comes with it, for nobody is admitted to the lobby.
func (h *Hub) askLobbyStandings(ctx context.Context, users []string) ([]lobbyStanding, error) {
	answer, err := h.opts.Registry.GetMembers(ctx, &registryv1.GetMembersRequest{
		RoomId: ids.Lobby, UserIds: users, Sanctioned: true, WithRoom: true,
	})
	if err != nil {
		return nil, err
	}
	if record := answer.Room; record.GetRevision() > h.lobbyRevision {
		changed := &busv1.LiveEvent{Event: &busv1.LiveEvent_Changed{Changed: &busv1.RoomChanged{Revision: record.Revision, Record: record}}}
		if err := h.opts.Rooms.Tell(ctx, ids.Lobby, changed); err != nil {
			return nil, err
		}
		h.lobbyRevision = record.Revision
	}
	found := make(map[string]lobbyStanding, len(answer.Members))
	for _, m := range answer.Members {
		found[m.User.GetId()] = lobbyStanding{mutedUntil(m.Mute), m.Role}
	}
	standings := make([]lobbyStanding, len(users))
	for i, user := range users {
		standings[i] = found[user]
	}
	return standings, nil
}
