package admin

import (
	"context"

	"github.com/parley-im/parley/pkg/config"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

func broadcast(s *config.Set) action {
	from := "admin"
	s.String(&from, "from", "as whom: a username that is shown")
	return func(ctx context.Context, d *deployment, arguments []string) error {
		conn, err := d.dial("history")
		if err != nil {
			return err
		}
		answer, err := historyv1.NewHistoryClient(conn).Broadcast(ctx, &historyv1.BroadcastRequest{
			Content: arguments[0], From: &wirev1.User{Id: from, Username: from},
		})
		if err != nil {
			return err
		}
		return d.tell(answer, "Told every connection.")
	}
}
