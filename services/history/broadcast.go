package history

import (
	"context"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

// Broadcast implements historyv1.HistoryServer.
func (s *Service) Broadcast(_ context.Context, r *historyv1.BroadcastRequest) (*historyv1.BroadcastResponse, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	if r.Content == "" {
		return nil, errs.Invalid("content", "is missing")
	}
	if err := s.checkContent(r.Content); err != nil {
		return nil, err
	}
	from, err := checkUser(r.From)
	if err != nil {
		return nil, err
	}
	err = s.bus.PublishAll(&busv1.Broadcast{Content: r.Content, From: from, TimeMs: time.Now().UnixMilli()})
	if err != nil {
		return nil, errs.Missing("the gateways", err)
	}
	return new(historyv1.BroadcastResponse), nil
}
