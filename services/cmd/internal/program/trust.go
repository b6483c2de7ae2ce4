package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/rpc"
)

// trustSettings say how this process shows the services who it is, and whom its
// own gRPC servers believe.
type trustSettings struct {
	dev          bool
	serviceToken config.Secret
	files        rpc.TLSFiles

	adminToken, backEndToken config.Secret
	callersFile              string
	peers                    []string

	// What load makes of them; tls is nil without files.
	tls         *rpc.TLS
	credentials *access.Credentials
}

// register registers what every program needs that calls the services.
func (t *trustSettings) register(s *config.Set) {
	s.Section("Trust between services")
	s.Bool(&t.dev, "dev", "development: whoever reaches a service is trusted with everything, without credentials")
	s.Secret(&t.serviceToken, "service-token", "what Parley's services show each other; several separated by commas while it is replaced: the first is shown, all are taken")
	s.String(&t.files.Cert, "service-cert", "PEM file with this service's certificate, for mutual TLS; read anew when it changes")
	s.String(&t.files.Key, "service-key", "PEM file with its key")
	s.String(&t.files.CA, "service-ca", "PEM file with the authority of all services' certificates")
	s.String(&t.files.ServerName, "service-name", "what services' certificates have to be for, in place of the host that is called")
	s.Validate(func() error {
		for _, token := range t.serviceTokens() {
			if len(token) < access.MinToken {
				return fmt.Errorf("service-token: shorter than %d characters, which can be guessed", access.MinToken)
			}
		}
		return t.load(slog.New(slog.DiscardHandler))
	})
}

// serving registers what a program needs beside that to serve.
func (t *trustSettings) serving(s *config.Set) {
	s.Secret(&t.adminToken, "admin-token", "an operator's token: may do all but what services ask of each other")
	s.Secret(&t.backEndToken, "backend-token", "a back end's token: may publish, read, make rooms and users")
	s.String(&t.callersFile, "callers-file", "YAML file of further callers with names, tokens and scopes; read anew when it changes")
	s.Validate(func() error {
		if t.files.CA != "" && t.files.Cert == "" {
			return errors.New("service-cert and service-key are missing beside service-ca: nobody could connect here")
		}
		return nil
	})
	s.Strings(&t.peers, "service-peers", "names of which a client certificate must have one to be a service's; without, each that service-ca has signed is")
}

// standalone registers what a service in a program of its own needs, which has
// to know the others by something.
func (t *trustSettings) standalone(s *config.Set, serves bool) {
	t.register(s)
	if serves {
		t.serving(s)
	} else {
		s.Secret(&t.adminToken, "admin-token", "an operator's token: may have this process end, by its admin port")
	}
	s.Validate(func() error {
		if t.dev || !t.serviceToken.IsZero() || t.files.Cert != "" {
			return nil
		}
		return errors.New("service-token is missing, by which Parley's services know each other, or service-cert, service-key and service-ca; " +
			"with --dev (PARLEY_DEV=on), for development, they trust everybody")
	})
}

// load reads the files.
func (t *trustSettings) load(log *slog.Logger) (err error) {
	switch f := t.files; {
	case (f.Cert == "") != (f.Key == ""):
		return errors.New("service-cert and service-key belong together")
	case f.CA != "":
		if t.tls, err = rpc.LoadTLS(f, log); err != nil {
			return fmt.Errorf("service-ca, service-cert, service-key: %w", err)
		}
	case f.Cert != "":
		return errors.New("service-ca is missing, which belongs to service-cert and service-key")
	}
	t.credentials, err = access.New(access.Options{
		Development: t.dev, ServiceTokens: t.serviceTokens(), AdminToken: t.adminToken.Reveal(),
		BackEndToken: t.backEndToken.Reveal(), File: t.callersFile, Peers: t.peers, Logger: log,
	})
	return err
}

// start reads the files for good, and says what the trust is worth.
func (t *trustSettings) start(env *Env) error {
	if err := t.load(env.Logger); err != nil {
		return err
	}
	if t.dev {
		env.Logger.Warn("development mode: whoever reaches a gRPC port may do everything")
	}
	if t.tls == nil {
		return nil
	}
	return t.tls.Measure(env.Metrics.Meter("parley/rpc"))
}

// serviceTokens are those that are taken; the first is shown.
func (t *trustSettings) serviceTokens() []string {
	var tokens []string
	for token := range strings.SplitSeq(t.serviceToken.Reveal(), ",") {
		if token = strings.TrimSpace(token); token != "" {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// shown gives what a call to a service shows: nothing in development.
func (t *trustSettings) shown() func(context.Context) (string, error) {
	tokens := t.serviceTokens()
	if len(tokens) == 0 {
		return nil
	}
	return func(context.Context) (string, error) { return tokens[0], nil }
}
