package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-im/parley/pkg/errs"
)

const (
	// domain says in an ErrorInfo that its reason is a code of ours.
	domain = "parley"
	// metaField is the ErrorInfo's metadata for the argument at fault.
	metaField = "field"
	// metaRefused is there when it is the call that was refused, because of who
	// made it, and not what was asked.
	metaRefused = "refused"
)

// refusal is why a call may not be made.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// statusCodes gives each code the gRPC status that callers who do not know
// ours act rightly on: what they may try again is Unavailable or
// ResourceExhausted, nothing else is. So too-large, which will be too large
// again, is an InvalidArgument.
var statusCodes = map[errs.Code]codes.Code{
	errs.BadMessage:      codes.InvalidArgument,
	errs.UnknownType:     codes.InvalidArgument,
	errs.Unauthenticated: codes.Unauthenticated,
	errs.Forbidden:       codes.PermissionDenied,
	errs.NotFound:        codes.NotFound,
	errs.NotJoined:       codes.FailedPrecondition,
	errs.AlreadyExists:   codes.AlreadyExists,
	errs.InvalidArgument: codes.InvalidArgument,
	errs.TooLarge:        codes.InvalidArgument,
	errs.RateLimited:     codes.ResourceExhausted,
	errs.Banned:          codes.PermissionDenied,
	errs.Muted:           codes.PermissionDenied,
	errs.ResumeFailed:    codes.Unauthenticated,
	errs.Unavailable:     codes.Unavailable,
	errs.Internal:        codes.Internal,
}

// toStatus writes a coded error as a status. The cause stays here.
func toStatus(e *errs.Error, refused bool) *status.Status {
	code, known := statusCodes[e.Code]
	if !known {
		code = codes.Unknown // a code of a newer version, carried all the same
	}
	// A message or field may quote what somebody sent; protobuf would refuse
	// to carry it, and the details with it.
	st := status.New(code, strings.ToValidUTF8(e.Message, "\uFFFD"))
	info := &errdetails.ErrorInfo{Domain: domain, Reason: string(e.Code)}
	info.Metadata = make(map[string]string)
	if e.Field != "" {
		info.Metadata[metaField] = strings.ToValidUTF8(e.Field, "\uFFFD")
	}
	if refused {
		info.Metadata[metaRefused] = "caller"
	}
	details := []protoadapt.MessageV1{info}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if detailed, err := st.WithDetails(details...); err == nil {
		return detailed
	}
	return st
}

// fromStatus turns what a call to a service ended with into an error of ours:
// the coded one that the service gave, an unavailable one where the service
// could not be reached or did not answer in time, context.Canceled where ctx,
// the caller's own, was canceled. What is left is an ordinary error. Where the
// call was made on behalf of somebody, that the service does not take it from
// us is no answer to them: to them it is out of reach.
func fromStatus(ctx context.Context, service string, onBehalf bool, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // gRPC gives io.EOF as it is
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("asking the %s service: %w", service, err)
	}
	var reason, field string
	var refused bool
	var retryAfter time.Duration
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.Domain == domain {
				reason, field = d.Reason, d.Metadata[metaField]
				refused = d.Metadata[metaRefused] != ""
			}
		case *errdetails.RetryInfo:
			retryAfter = max(d.RetryDelay.AsDuration(), 0)
		}
	}
	if refused && onBehalf {
		return outOfReach(service, fmt.Errorf("it does not accept what this process shows to be known by: %s", st.Message()), 0)
	}
	if reason != "" {
		coded := &errs.Error{Code: errs.Code(reason), Field: field, Message: st.Message(), RetryAfter: retryAfter}
		if coded.Code == errs.Internal {
			coded.Cause = fmt.Errorf("the %s service failed; its log says why", service)
		}
		return coded
	}
	switch st.Code() {
	case codes.Canceled:
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("asking the %s service: %w", service, context.Canceled)
		}
		return outOfReach(service, err, retryAfter)
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return outOfReach(service, err, retryAfter)
	default:
		return fmt.Errorf("asking the %s service: %w", service, err)
	}
}

func outOfReach(service string, cause error, retryAfter time.Duration) error {
	e := errs.Missing("the "+service+" service", cause)
	if retryAfter > 0 {
		e.RetryAfter = retryAfter
	}
	return e
}
