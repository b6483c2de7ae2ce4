package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-im/parley/pkg/reload"
	"github.com/parley-im/parley/pkg/secret"
)

// TLSFiles name PEM files; when they change, the connections made from then on
// use what is new, and those that are open stay.
type TLSFiles struct {
	// Cert and Key are the certificate, with those that lead to its authority,
	// and its key; a client without them shows none.
	Cert, Key string
	// CA are the authorities that the other side's certificate has to be of.
	CA string
	// ServerName is what a client wants certificates to be for, in place of the
	// host that it has dialed.
	ServerName string
}

// TLS secures connections, as a server with [ServerOptions] and as a client
// with [ClientOptions]. One may be both.
type TLS struct {
	serverName string
	material   *reload.Value[material]
}

// material is what the files hold.
type material struct {
	certificate *tls.Certificate // nil without one
	authorities *x509.CertPool
}

// LoadTLS reads the files.
func LoadTLS(f TLSFiles, log *slog.Logger) (*TLS, error) {
	if f.CA == "" || (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("TLS needs a file of authorities, and a certificate's file together with its key's")
	}
	paths := []string{f.CA}
	if f.Cert != "" {
		paths = append(paths, f.Cert, f.Key)
	}
	value, err := reload.New(reload.Options{Logger: log}, parseTLS, paths...)
	if err != nil {
		return nil, err
	}
	return &TLS{serverName: f.ServerName, material: value}, nil
}

func parseTLS(contents [][]byte) (material, error) {
	m := material{authorities: x509.NewCertPool()}
	if !m.authorities.AppendCertsFromPEM(contents[0]) {
		return m, errors.New("no certificate of an authority in the first file")
	}
	if len(contents) > 1 {
		pair, err := tls.X509KeyPair(contents[1], contents[2])
		if err != nil {
			return m, errors.New(secret.Untyped(err))
		}
		m.certificate = &pair
	}
	return m, nil
}

// Expires tells when the certificate in use does; zero without one.
func (t *TLS) Expires() time.Time {
	m := t.material.Get()
	if m.certificate == nil {
		return time.Time{}
	}
	return m.certificate.Leaf.NotAfter
}

// Measure has a meter tell how long the certificate is still good, as
// parley.rpc.certificate.expires.
func (t *TLS) Measure(meter metric.Meter) error {
	_, err := meter.Float64ObservableGauge("parley.rpc.certificate.expires", metric.WithUnit("s"),
		metric.WithDescription("How long the certificate for services is still good."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			if end := t.Expires(); !end.IsZero() {
				o.Observe(time.Until(end).Seconds())
			}
			return nil
		}))
	return err
}

// serverTransport makes a server's side of a connection. Those within the process
// or by its owner's socket go over no network and have no TLS.
type serverTransport struct {
	tls *TLS // nil for none
	credentials.TransportCredentials
}

func newServerTransport(t *TLS) serverTransport {
	return serverTransport{tls: t, TransportCredentials: insecure.NewCredentials()}
}

// inProcess marks a connection that came over an InProcess listener.
type inProcess struct{ credentials.CommonAuthInfo }

func (inProcess) AuthType() string { return "in-process" }

func (s serverTransport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := conn.(inProcessConn); ok {
		return conn, inProcess{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
	}
	if _, ok := conn.(ownerConn); ok {
		return conn, byOwner{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
	}
	if s.tls == nil {
		return s.TransportCredentials.ServerHandshake(conn)
	}
	m := s.tls.material.Get()
	if m.certificate == nil {
		return nil, nil, errors.New("no certificate")
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{*m.certificate},
		ClientCAs:    m.authorities,
		// A back end shows a token and a probe nothing; who has neither is
		// refused call by call.
		ClientAuth: tls.VerifyClientCertIfGiven,
	}).ServerHandshake(conn)
}

func (s serverTransport) Info() credentials.ProtocolInfo {
	if s.tls == nil {
		return s.TransportCredentials.Info()
	}
	return credentials.NewTLS(nil).Info()
}

func (s serverTransport) Clone() credentials.TransportCredentials { return s }

// clientTransport makes a client's side of a connection.
type clientTransport struct {
	tls *TLS
	credentials.TransportCredentials
}

func newClientTransport(t *TLS) clientTransport {
	return clientTransport{tls: t, TransportCredentials: credentials.NewTLS(&tls.Config{ServerName: t.serverName})}
}

func (c clientTransport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.tls.serverName != "" {
		authority = c.tls.serverName // what the certificate is checked for
	}
	m := c.tls.material.Get()
	config := &tls.Config{RootCAs: m.authorities}
	if m.certificate != nil {
		config.Certificates = []tls.Certificate{*m.certificate}
	}
	secure, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, fmt.Errorf("TLS with %s: %w", authority, err)
	}
	return secure, info, nil
}

func (c clientTransport) Clone() credentials.TransportCredentials { return c }
