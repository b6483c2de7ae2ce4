package program

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/rpc"
	hookv1 "github.com/parley-im/parley/proto/hook/v1"
)

// hookSettings say where a gateway's hook is and how the gateway shows it who
// it is: not by what Parley's own services show each other.
type hookSettings struct {
	addr  string
	token config.Secret
	files rpc.TLSFiles
}

func (h *hookSettings) register(s *config.Set, g *GatewaySettings) {
	s.Section("Hook")
	g.HookEvents = []string{"connect", "join", "publish"}
	g.HookOnFailure = []string{"refuse"}
	s.String(&h.addr, "hook-addr", "a service of yours that is asked before things happen (proto/hook/v1): host:port, several separated by commas; empty for none")
	s.Strings(&g.HookEvents, "hook-events", "what it is asked about")
	s.Duration(&g.HookTimeout, "hook-timeout", "how long it has to answer")
	s.Strings(&g.HookOnFailure, "hook-on-failure", "what happens when it does not: refuse or allow, or for one event like publish=allow")
	s.Secret(&h.token, "hook-token", "what gateways show it, as a bearer token")
	s.String(&h.files.CA, "hook-ca", "PEM file with the authority of its certificate, for TLS; read anew when it changes, as the others")
	s.String(&h.files.Cert, "hook-cert", "PEM file with the certificate that gateways show it")
	s.String(&h.files.Key, "hook-key", "PEM file with its key")
	s.Validate(func() error {
		switch {
		case h.addr == "":
			return nil
		case len(g.HookEvents) == 0:
			return errors.New("hook-events: hook-addr is asked about nothing")
		case h.files.CA == "" && h.files.Cert+h.files.Key != "":
			return errors.New("hook-ca is missing, which belongs to hook-cert and hook-key")
		}
		return nil
	})
}

// dial reaches the hook, nil where there is none. It may start later, and is no
// reason not to be ready.
func (h *hookSettings) dial(env *Env) (*grpc.ClientConn, error) {
	if h.addr == "" {
		return nil, nil
	}
	o := rpc.ClientOptions{
		// A question may be asked twice (proto/hook/v1).
		Idempotent: []string{hookv1.Hook_Connect_FullMethodName, hookv1.Hook_Join_FullMethodName, hookv1.Hook_Publish_FullMethodName},
		Logger:     env.Logger, Meter: env.Metrics.Meter("parley/rpc"), Traces: env.Traces.Provider(),
	}
	if token := h.token.Reveal(); token != "" {
		o.Token = func(context.Context) (string, error) { return token, nil }
	}
	if h.files.CA != "" {
		var err error
		if o.TLS, err = rpc.LoadTLS(h.files, env.Logger); err != nil {
			return nil, fmt.Errorf("hook-ca, hook-cert, hook-key: %w", err)
		}
	}
	conn, err := rpc.Dial("hook", h.addr, o)
	if err != nil {
		return nil, fmt.Errorf("hook-addr: %w", err)
	}
	return conn, nil
}

// hanging runs a service and closes a connection behind it.
func hanging(conn *grpc.ClientConn, run func(context.Context) error) func(context.Context) error {
	if conn == nil {
		return run
	}
	return func(ctx context.Context) error {
		defer conn.Close() //nolint:errcheck // fails only when it is closed already
		return run(ctx)
	}
}
