package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/config"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

func createInvite(s *config.Set) action {
	uses, life := 1, 7*24*time.Hour
	s.Int(&uses, "uses", "how many may register with it, at most 10000").Check(func() error {
		if uses < 1 || uses > 10_000 {
			return errors.New("want 1 to 10000")
		}
		return nil
	})
	s.Duration(&life, "life", "how long it is good")
	return func(ctx context.Context, d *deployment, _ []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		made, err := auth.CreateInvite(ctx, &authv1.CreateInviteRequest{Uses: uint32(uses), Life: durationpb.New(life)})
		if err != nil {
			return err
		}
		return d.tell(made, "%s\nis good until %s; it is not told again. To end it before: parley admin revoke-invite %s",
			made.Code, when(made.Invite.ExpiresAt), made.Invite.Id)
	}
}

func listInvites(*config.Set) action {
	return func(ctx context.Context, d *deployment, _ []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		list, err := auth.ListInvites(ctx, new(authv1.ListInvitesRequest))
		if err != nil {
			return err
		}
		t := d.table("ID", "USES LEFT", "MADE", "GOOD UNTIL")
		for _, i := range list.Invites {
			if err := t.line(i, i.Id, fmt.Sprint(i.UsesLeft), when(i.CreatedAt), when(i.ExpiresAt)); err != nil {
				return err
			}
		}
		return t.end()
	}
}

func revokeInvite(*config.Set) action {
	return func(ctx context.Context, d *deployment, arguments []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		answer, err := auth.RevokeInvite(ctx, &authv1.RevokeInviteRequest{Id: arguments[0]})
		if err != nil {
			return err
		}
		return d.tell(answer, "Nobody can register with it any more.")
	}
}
