package registry

import (
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/limit"
)

// maxRoomsPerHour keeps a limit one.
const maxRoomsPerHour = 1_000_000

// making bounds how many rooms one user makes over time, for each leaves a
// record: a day at least, and for ever where it is persistent or direct. What
// back ends and admins make is not counted. Every replica counts for itself, for
// the users that were active last.
type making struct{ users *limit.Keyed }

func newMaking(perHour int) (making, error) {
	if perHour == 0 {
		return making{}, nil
	}
	users, err := limit.NewKeyed(limit.Options{Every: time.Hour / time.Duration(perHour), Burst: perHour})
	return making{users}, err
}

// len is how many users are counted.
func (m making) len() int {
	if m.users == nil {
		return 0
	}
	return m.users.Len()
}

// mayMake counts a room that the actor is about to make; field is what named it.
// A room that then turns out to be there counts all the same. Errors:
// rate-limited.
func (s *Service) mayMake(a actor, field string) error {
	if s.making.users == nil || a.all {
		return nil
	}
	ok, after := s.making.users.Allow(a.user.GetId())
	if ok {
		return nil
	}
	return &errs.Error{
		Code: errs.RateLimited, Field: field, RetryAfter: after,
		Message: field + ": you have made too many rooms lately",
	}
}
