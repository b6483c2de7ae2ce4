package session

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// maxAskedUsers bounds how many users one get-presence may name.
const maxAskedUsers = 100

// getPresenceCommand tells how some users are: online, or when they were last.
var getPresenceCommand = &command{
	slow: true,
	check: func(_ *Session, f *wirev1.ClientFrame) error {
		users := f.GetGetPresence().UserIds
		switch {
		case len(users) == 0:
			return errs.Invalid("userIds", "are missing")
		case len(users) > maxAskedUsers:
			return errs.Invalid("userIds", "are more than %d", maxAskedUsers)
		}
		for _, id := range users {
			if err := ids.CheckUser("userIds", id); err != nil {
				return err
			}
		}
		return nil
	},
	run: func(ctx context.Context, s *Session, f *wirev1.ClientFrame) error {
		known, err := s.hub.opts.Presence.GetUsers(ctx, &presencev1.GetUsersRequest{
			UserIds: f.GetGetPresence().UserIds, Seen: s.hub.seen(),
		})
		if err != nil {
			return err
		}
		answer := new(wirev1.PresenceList)
		for _, u := range known.Users {
			is := &wirev1.UserPresence{Id: u.UserId, Online: u.Online != nil, LastSeen: u.LastSeen}
			if on := u.Online; on != nil {
				is.Username, is.Status, is.Text = &on.User.Username, &on.Status, optionalText(on.Text)
			}
			answer.Users = append(answer.Users, is)
		}
		s.reply(f.Id, &wirev1.ServerFrame{Event: &wirev1.ServerFrame_PresenceList{PresenceList: answer}})
		return nil
	},
}
