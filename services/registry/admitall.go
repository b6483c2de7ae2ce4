package registry

import (
	"context"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// maxAdmissions is how many may be asked for in one call.
const maxAdmissions = 256

// AdmitAll answers from the picture alone. A refusal there may be out of date
// (optimistic), and a room may have to be made or brought back into the lists:
// that is Admit's, so that nobody waits here for what somebody else's join takes.
func (s *Service) AdmitAll(ctx context.Context, req *registryv1.AdmitAllRequest) (*registryv1.AdmitAllResponse, error) {
	if n := len(req.Requests); n < 1 || n > maxAdmissions {
		return nil, errs.Invalid("requests", "has %d elements, and not between 1 and %d", n, maxAdmissions)
	}
	if err := s.Ready(ctx); err != nil {
		return nil, err
	}
	answer := &registryv1.AdmitAllResponse{Admissions: make([]*registryv1.Admission, len(req.Requests))}
	var (
		marked []*registryv1.AdmitResponse
		keys   []string // of their read marks
	)
	for i, r := range req.Requests {
		admitted := s.admitKnown(ctx, r)
		answer.Admissions[i] = &registryv1.Admission{Admitted: admitted}
		if user := r.Actor.GetUser(); admitted != nil && user != nil && r.ReadMark {
			marked, keys = append(marked, admitted), append(keys, readsKey(r.RoomId, user.Id))
		}
	}
	for i, mark := range s.marksNow(ctx, keys) {
		marked[i].ReadSeq = mark.in(marked[i].Room)
	}
	return answer, nil
}

// admitKnown is Admit as far as the picture tells; nil where more is needed.
func (s *Service) admitKnown(ctx context.Context, req *registryv1.AdmitRequest) *registryv1.AdmitResponse {
	a, room, err := s.find(ctx, req.RoomId, req.Actor)
	if err != nil || room == nil || room.HiddenAt != nil || s.admits(a, req.RoomId, room) != nil {
		return nil
	}
	answer := &registryv1.AdmitResponse{Room: room}
	if a.user != nil {
		s.standIn(answer, a.user.Id)
	}
	return answer
}
