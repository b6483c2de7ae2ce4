package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/config"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

func rotateKeys(s *config.Set) action {
	lead := 90 * time.Second
	s.Duration(&lead, "lead", "how long the new key is published before it signs: who checks tokens may keep the published keys for a minute")
	return func(ctx context.Context, d *deployment, _ []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		next, err := auth.RotateKeys(ctx, &authv1.RotateKeysRequest{Lead: durationpb.New(lead)})
		if err != nil {
			return err
		}
		return d.tell(next, "Key %s is published, and signs from %s on.\nUntil then %s does; it goes an hour later, when its last token has expired. Nobody is signed out.",
			next.Kid, when(next.SignsAt), next.OldKid)
	}
}
