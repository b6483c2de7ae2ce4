package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/secret"
)

// Validate says what is wrong with how the connection signs in to NATS and
// secures itself, as far as that shows without a server: the files are read.
// Errors name the setting and never a secret.
func (o *Options) Validate() error {
	for part := range strings.SplitSeq(o.URL, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part // as nats.go does
		}
		u, err := url.Parse(part)
		if err != nil { // which quotes what may be a password
			return errors.New("nats-url: is no list of addresses like nats://127.0.0.1:4222")
		}
		if u.User != nil {
			return errors.New("nats-url: has a user or password in it, which would be shown and logged: they have settings of their own, nats-user and nats-password")
		}
	}
	ways := 0
	for _, way := range []string{o.User, o.CredentialsFile, o.NKeyFile} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("nats-user, nats-credentials and nats-nkey exclude each other")
	case o.Password != "" && o.User == "":
		return errors.New("nats-user is missing beside nats-password")
	case (o.TLSCertFile == "") != (o.TLSKeyFile == ""):
		return errors.New("nats-cert and nats-key belong together")
	}
	return errors.Join(o.checkCredentials(), o.checkNKey(), o.checkTLS())
}

// checkCredentials does with the file what nats.go will do with it, at each
// connection anew.
func (o *Options) checkCredentials() error {
	if o.CredentialsFile == "" {
		return nil
	}
	var made nats.Options
	err := nats.UserCredentials(o.CredentialsFile)(&made)
	if err == nil {
		_, err = made.UserJWT()
	}
	if err == nil {
		_, err = made.SignatureCB([]byte("anything"))
	}
	if err != nil {
		return fmt.Errorf("nats-credentials: %s: %w", o.CredentialsFile, err)
	}
	return nil
}

func (o *Options) checkNKey() error {
	if o.NKeyFile == "" {
		return nil
	}
	if _, err := nats.NkeyOptionFromSeed(o.NKeyFile); err != nil {
		return fmt.Errorf("nats-nkey: %s: %w", o.NKeyFile, err)
	}
	return nil
}

func (o *Options) checkTLS() error {
	if o.TLSCAFile != "" {
		content, err := os.ReadFile(o.TLSCAFile)
		if err != nil {
			return fmt.Errorf("nats-ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(content) {
			return fmt.Errorf("nats-ca: %s: no certificate in it", o.TLSCAFile)
		}
	}
	if o.TLSCertFile != "" {
		if _, err := tls.LoadX509KeyPair(o.TLSCertFile, o.TLSKeyFile); err != nil {
			return fmt.Errorf("nats-cert, nats-key: %s", secret.Untyped(err))
		}
	}
	return nil
}

// signIn is what nats.go needs to sign in and to secure the connection. But for
// the nkey, whose public half is sent first, files are read at each connection
// anew.
func (o *Options) signIn() ([]nats.Option, error) {
	var options []nats.Option
	switch {
	case o.CredentialsFile != "":
		options = append(options, nats.UserCredentials(o.CredentialsFile))
	case o.NKeyFile != "":
		nkey, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats-nkey: %s: %w", o.NKeyFile, err)
		}
		options = append(options, nkey)
	case o.User != "":
		options = append(options, nats.UserInfo(o.User, o.Password))
	}
	if o.TLSCAFile != "" {
		options = append(options, nats.RootCAs(o.TLSCAFile))
	}
	if o.TLSCertFile != "" {
		options = append(options, nats.ClientCert(o.TLSCertFile, o.TLSKeyFile))
	}
	return options, nil
}

// who says in an error's words what signed in with.
func (o *Options) who() string {
	switch {
	case o.CredentialsFile != "":
		return "the credentials of nats-credentials"
	case o.NKeyFile != "":
		return "the nkey of nats-nkey"
	case o.User != "":
		return fmt.Sprintf("user %q of nats-user", o.User)
	case o.TLSCertFile != "":
		return "the certificate of nats-cert"
	default:
		return "a connection without credentials"
	}
}

// unmendable tells why a connection to NATS failed, where waiting and trying
// again would not help; nil for every other reason.
func (o *Options) unmendable(err error) error {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("NATS refuses %s: %w", o.who(), err)
		}
	}
	var certificate *tls.CertificateVerificationError
	var network *net.OpError
	switch {
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("nats-ca and nats-cert want TLS, which NATS does not offer: %w", err)
	case errors.As(err, &certificate):
		return fmt.Errorf("the certificate of NATS is none of nats-ca's (or of this machine's authorities): %w", err)
	case errors.As(err, &network) && network.Op == "remote error": // crypto/tls: an alert of the other side
		return fmt.Errorf("NATS wants another certificate than nats-cert: %w", err)
	}
	return nil
}
