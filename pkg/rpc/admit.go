package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/parley-im/parley/pkg/access"
)

const (
	healthMethods     = "/" + healthName + "/"
	healthName        = "grpc.health.v1.Health"
	reflectionMethods = "/grpc.reflection."
)

// needs tells what each method that is registered needs, by its contract.
func (s *Server) needs() map[string]access.Scope {
	needs := make(map[string]access.Scope)
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			needs[method] = access.Needs(method)
		}
	}
	return needs
}

// admit says whether a call may be made, and gives a context that tells the
// handler who makes it.
func (s *Server) admit(ctx context.Context, method string) (context.Context, error) {
	// The probes of an orchestrator cannot sign in.
	if strings.HasPrefix(method, healthMethods) {
		return ctx, nil
	}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("a call without a connection")
	}
	proof := access.Proof{Token: bearer(ctx)}
	switch info := from.AuthInfo.(type) {
	case inProcess:
		proof.InProcess = true
	case byOwner:
		proof.Owner = true
	case credentials.TLSInfo:
		if len(info.State.VerifiedChains) > 0 {
			proof.Certificate = info.State.PeerCertificates[0]
		}
	}
	who, err := s.opts.Credentials.Caller(proof)
	if err == nil && !strings.HasPrefix(method, reflectionMethods) {
		err = access.Check(who, method, s.needed[method])
	}
	if err != nil {
		if s.refusals.allow() {
			s.opts.Logger.WarnContext(ctx, "a call was refused", "method", method, "caller", who.Name, "from", from.Addr.String(), "error", err)
		}
		return nil, refusal{err}
	}
	return access.With(ctx, who), nil
}

// bearer gives the token that a call came with (RFC 6750, section 2.1).
func bearer(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 0 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}

// noCredentials are those of a server that was given none: only calls within
// the process are let in.
func noCredentials() *access.Credentials {
	c, err := access.New(access.Options{})
	if err != nil {
		panic(err) // nothing was given that could be wrong
	}
	return c
}
