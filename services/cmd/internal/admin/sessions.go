package admin

import (
	"context"
	"errors"

	"github.com/parley-im/parley/pkg/config"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

func listSessions(*config.Set) action {
	return onUser(func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error {
		q := &authv1.ListSessionsRequest{UserId: id, Limit: 1000}
		t := d.table("LAST USED", "FROM", "SIGNED IN", "DEVICE", "SESSION")
		for {
			page, err := auth.ListSessions(ctx, q)
			if err != nil {
				return err
			}
			for _, in := range page.Sessions {
				from := in.GetClient()
				if err := t.line(in, when(in.UsedAt), from.GetAddress(), when(in.CreatedAt), from.GetUserAgent(), in.Id); err != nil {
					return err
				}
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return t.end()
			}
		}
	})
}

func revoke(s *config.Set) action {
	var session string
	s.String(&session, "session", "the id of the one session to end, as parley admin sessions tells it")
	return func(ctx context.Context, d *deployment, arguments []string) error {
		if (session == "") == (len(arguments) == 0) {
			return errors.New("want either a USER, all of whose sessions are to end, or --session")
		}
		auth, err := d.auth()
		if err != nil {
			return err
		}
		q := &authv1.RevokeRequest{What: &authv1.RevokeRequest_SessionId{SessionId: session}}
		if session == "" {
			id, err := user(ctx, auth, arguments[0])
			if err != nil {
				return err
			}
			q.What = &authv1.RevokeRequest_UserId{UserId: id}
		}
		answer, err := auth.Revoke(ctx, q)
		if err != nil {
			return err
		}
		return d.tell(answer, "Sessions ended: %d; their connections close within a second.", answer.Revoked)
	}
}
