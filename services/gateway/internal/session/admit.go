package session

import (
	"context"

	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// admit asks the registry whether somebody may join a room, together with all
// that join at the same moment: in a storm calls of their own took a sixth of what
// joins cost. What the registry cannot answer there, and where it
// answers nothing, is asked alone, so that no join waits for another's and each
// has the error of its own.
func (h *Hub) admit(ctx context.Context, request *registryv1.AdmitRequest) (*registryv1.AdmitResponse, error) {
	if admitted, err := h.admissions.Ask(ctx, request); err == nil && admitted != nil {
		return admitted, nil
	}
	return h.opts.Registry.Admit(ctx, request)
}

// maxAdmissions is how many the registry answers at once.
const maxAdmissions = 256

// admitAll answers some requests, with nil for what has to be asked alone.
func (h *Hub) admitAll(ctx context.Context, requests []*registryv1.AdmitRequest) ([]*registryv1.AdmitResponse, error) {
	answer, err := h.opts.Registry.AdmitAll(ctx, &registryv1.AdmitAllRequest{Requests: requests})
	if err != nil {
		return nil, err
	}
	admitted := make([]*registryv1.AdmitResponse, len(answer.Admissions))
	for i, a := range answer.Admissions {
		admitted[i] = a.Admitted
	}
	return admitted, nil
}
