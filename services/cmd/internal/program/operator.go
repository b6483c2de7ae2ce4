package program

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
)

// defaultDataDir is where parley serve keeps its data when nothing is said.
const defaultDataDir = "data"

// Operator is how an operator's command reaches a deployment's services: those
// of a parley serve on this machine by the socket beside its data, which needs
// no credentials, others by their addresses.
type Operator struct {
	dataDir  string
	services addresses
	trust    trustSettings
}

// Register registers the settings. They have the names that they have for the
// services, so that an environment which starts these is good for it, too.
func (o *Operator) Register(s *config.Set) {
	t := &o.trust
	s.Section("The deployment")
	s.String(&o.dataDir, "data-dir", "that of the parley serve on this machine to talk to; \""+defaultDataDir+"\" where no address is given either")
	for _, service := range o.named() {
		s.String(service.addr, service.name+"-addr", fmt.Sprintf(addressHelp, service.name))
	}
	s.Secret(&t.adminToken, "admin-token", "an operator's token, as the services know it")
	s.Secret(&t.serviceToken, "service-token", "what Parley's services show each other, where there is no admin-token")
	s.String(&t.files.CA, "service-ca", "PEM file with the authority of the services' certificates")
	s.String(&t.files.Cert, "service-cert", "PEM file with a certificate that they know")
	s.String(&t.files.Key, "service-key", "PEM file with its key")
	s.String(&t.files.ServerName, "service-name", "what services' certificates have to be for, in place of the host that is called")
	s.Validate(func() error { return t.load(slog.New(slog.DiscardHandler)) })
}

type namedAddress struct {
	name string
	addr *string
}

func (o *Operator) named() []namedAddress {
	return []namedAddress{
		{"auth", &o.services.auth}, {"registry", &o.services.registry},
		{"history", &o.services.history}, {"presence", &o.services.presence},
	}
}

// Dial makes a connection to a service: "auth", "registry", "history" or
// "presence". Errors say what an operator can do about them.
func (o *Operator) Dial(service string) (*grpc.ClientConn, error) {
	var addr string
	for _, s := range o.named() {
		if s.name == service {
			addr = *s.addr
		}
	}
	options := rpc.ClientOptions{Timeout: 10 * time.Second}
	if addr != "" && o.dataDir == "" {
		if strings.HasPrefix(addr, ":") { // as parley serve is told where to listen
			addr = "127.0.0.1" + addr
		}
		options.TLS, options.Token = o.trust.tls, o.token()
		return rpc.Dial(service, addr, options)
	}
	dir := o.dataDir
	if dir == "" {
		dir = defaultDataDir
	}
	path := ownerSocket(dir)
	if err := listens(path); err != nil {
		return nil, errs.New(errs.Unavailable, "no parley serve answers at %s: start it there, say with --data-dir where it keeps its data, "+
			"or with --%s-addr (PARLEY_%s_ADDR) where the service is", path, service, strings.ToUpper(service))
	}
	addr, err := rpc.SocketAddress(path)
	if err != nil {
		return nil, err
	}
	return rpc.Dial(service, addr, options)
}

// listens says whether somebody listens on a socket.
func listens(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Token is what an operator shows, "" in development.
func (o *Operator) Token(ctx context.Context) (string, error) {
	if shown := o.token(); shown != nil {
		return shown(ctx)
	}
	return "", nil
}

// token gives what each call shows; nothing in development, or by certificate.
func (o *Operator) token() func(context.Context) (string, error) {
	if token := o.trust.adminToken.Reveal(); token != "" {
		return func(context.Context) (string, error) { return token, nil }
	}
	return o.trust.shown()
}
