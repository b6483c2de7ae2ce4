package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/certtest"
)

const (
	natsPassword = "the password of NATS"
	wrongOne     = "a wrong password"
)

// natsServer starts a NATS server as an operator would configure it.
func natsServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.JetStream, o.NoSigs = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS is not ready")
	}
	return s
}

func seedFile(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	seed, err := pair.Seed()
	must(t, err)
	return writeFile(t, string(seed))
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newUser(t *testing.T) (pair nkeys.KeyPair, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	must(t, err)
	public, err = pair.PublicKey()
	must(t, err)
	return pair, public
}

// lines is a log that can be looked at.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// signInTest tries to connect to a server in a good and in bad ways.
type signInTest struct {
	t      *testing.T
	server *server.Server
}

func (s signInTest) connect(o bus.Options) (string, error) {
	s.t.Helper()
	var log lines
	o.URL, o.Logger = s.server.ClientURL(), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	// Waiting for it would only end with this.
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	b, err := bus.Connect(ctx, o)
	if err == nil {
		defer b.Close()
		err = b.Check(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("it was tried again and again: %v", err)
	}
	for _, secret := range []string{natsPassword, wrongOne, "-----BEGIN", "SUA"} {
		if said := fmt.Sprint(log.String(), err); strings.Contains(said, secret) {
			s.t.Errorf("a secret is told: %s", said)
		}
	}
	return log.String(), err
}

func (s signInTest) good(o bus.Options) {
	s.t.Helper()
	if said, err := s.connect(o); err != nil {
		s.t.Errorf("refused: %v\n%s", err, said)
	}
}

func (s signInTest) bad(o bus.Options, want string) {
	s.t.Helper()
	if said, err := s.connect(o); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("got %v, want %q\n%s", err, want, said)
	}
}

func TestSignInByPassword(t *testing.T) {
	s := signInTest{t, natsServer(t, &server.Options{Username: "parley", Password: natsPassword})}
	s.good(bus.Options{User: "parley", Password: natsPassword})
	s.bad(bus.Options{User: "parley", Password: wrongOne}, `NATS refuses user "parley" of nats-user: `)
	s.bad(bus.Options{User: "parley"}, `user "parley"`)
	s.bad(bus.Options{}, "NATS refuses a connection without credentials")
	pair, _ := newUser(t)
	s.bad(bus.Options{NKeyFile: seedFile(t, pair)}, "nkey")
}

func TestSignInByNKey(t *testing.T) {
	pair, public := newUser(t)
	s := signInTest{t, natsServer(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})}
	s.good(bus.Options{NKeyFile: seedFile(t, pair)})
	stranger, _ := newUser(t)
	s.bad(bus.Options{NKeyFile: seedFile(t, stranger)}, "NATS refuses the nkey of nats-nkey")
	s.bad(bus.Options{User: "parley", Password: natsPassword}, `user "parley"`)
	account, err := nkeys.CreateAccount()
	must(t, err)
	s.bad(bus.Options{NKeyFile: seedFile(t, account)}, "nats-nkey: ")
	s.bad(bus.Options{NKeyFile: writeFile(t, natsPassword)}, "nats-nkey: ")
	s.bad(bus.Options{NKeyFile: "/does/not/exist"}, "nats-nkey: /does/not/exist")
}

// Credentials are a user's JWT, signed by an account, which an operator has
// signed.
func TestSignInByCredentials(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	must(t, err)
	operatorKey, err := operator.PublicKey()
	must(t, err)
	claims := jwt.NewOperatorClaims(operatorKey)
	signed, err := claims.Encode(operator)
	must(t, err)
	trusted, err := jwt.DecodeOperatorClaims(signed)
	must(t, err)

	resolver := new(server.MemAccResolver)
	newAccount := func(stored bool) (nkeys.KeyPair, string) {
		account, err := nkeys.CreateAccount()
		must(t, err)
		key, err := account.PublicKey()
		must(t, err)
		claims := jwt.NewAccountClaims(key)
		if stored {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		signed, err := claims.Encode(operator)
		must(t, err)
		must(t, resolver.Store(key, signed))
		return account, key
	}
	_, system := newAccount(false)
	account, _ := newAccount(true)
	s := signInTest{t, natsServer(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: resolver, SystemAccount: system,
	})}
	credentials := func(by nkeys.KeyPair, ends time.Duration) string {
		pair, public := newUser(t)
		claims := jwt.NewUserClaims(public)
		if ends != 0 {
			claims.Expires = time.Now().Add(ends).Unix()
		}
		signed, err := claims.Encode(by)
		must(t, err)
		seed, err := pair.Seed()
		must(t, err)
		text, err := jwt.FormatUserConfig(signed, seed)
		must(t, err)
		return writeFile(t, string(text))
	}
	good := credentials(account, 0)
	s.good(bus.Options{CredentialsFile: good})
	s.bad(bus.Options{}, "NATS refuses a connection without credentials")
	s.bad(bus.Options{CredentialsFile: credentials(account, -time.Hour)}, "NATS refuses the credentials of nats-credentials")
	stranger, err := nkeys.CreateAccount()
	must(t, err)
	s.bad(bus.Options{CredentialsFile: credentials(stranger, 0)}, "NATS refuses the credentials of nats-credentials")
	pair, _ := newUser(t)
	s.bad(bus.Options{CredentialsFile: seedFile(t, pair)}, "nats-credentials: ")
	s.bad(bus.Options{CredentialsFile: "/does/not/exist"}, "nats-credentials: /does/not/exist")
	s.bad(bus.Options{CredentialsFile: good, User: "parley"}, "exclude each other")
}

func TestSignInByTLS(t *testing.T) {
	ours, theirs := certtest.New(t), certtest.New(t)
	listen := func(mutual bool) signInTest {
		files := ours.Issue(t)
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		must(t, err)
		config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		if mutual {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			config.ClientCAs.AppendCertsFromPEM(ours.PEM())
		}
		return signInTest{t, natsServer(t, &server.Options{TLSConfig: config, TLS: true, TLSTimeout: 5})}
	}
	client, stranger := ours.Issue(t), theirs.Issue(t)

	s := listen(false)
	s.good(bus.Options{TLSCAFile: client.CA})
	s.good(bus.Options{TLSCAFile: client.CA, TLSCertFile: client.Cert, TLSKeyFile: client.Key})
	s.bad(bus.Options{TLSCAFile: stranger.CA}, "the certificate of NATS is none of nats-ca's")
	s.bad(bus.Options{}, "the certificate of NATS is none of nats-ca's")

	s = listen(true)
	s.good(bus.Options{TLSCAFile: client.CA, TLSCertFile: client.Cert, TLSKeyFile: client.Key})
	s.bad(bus.Options{TLSCAFile: client.CA}, "NATS wants another certificate than nats-cert")
	s.bad(bus.Options{TLSCAFile: client.CA, TLSCertFile: stranger.Cert, TLSKeyFile: stranger.Key}, "NATS wants another certificate than nats-cert")

	s = signInTest{t, natsServer(t, &server.Options{})}
	s.bad(bus.Options{TLSCAFile: client.CA}, "want TLS, which NATS does not offer")
	s.bad(bus.Options{TLSCAFile: "/does/not/exist"}, "nats-ca: ")
	s.bad(bus.Options{TLSCAFile: client.Key}, "no certificate in it")
	s.bad(bus.Options{TLSCertFile: client.Cert}, "nats-cert and nats-key belong together")
	s.bad(bus.Options{TLSCertFile: client.Cert, TLSKeyFile: stranger.Key}, "nats-cert, nats-key: ")
}

// A password in an address would be shown wherever the address is.
func TestNoPasswordInAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"nats://parley:hidden@127.0.0.1:4222":                       "nats-url: has a user",
		"nats://hidden@127.0.0.1:4222":                              "nats-url: has a user",
		"nats://127.0.0.1:4222, tls://parley:hidden@127.0.0.1:4222": "nats-url: has a user",
		"nats://parley:hid%zzden@127.0.0.1:4222":                    "nats-url: is no list",
		"127.0.0.1:4222":                                            "",
		"nats://127.0.0.1:4222,127.0.0.1:4223":                      "",
	} {
		err := (&bus.Options{URL: url}).Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hid")) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := (&bus.Options{URL: "127.0.0.1", Password: wrongOne}).Validate(); err == nil || !strings.Contains(err.Error(), "nats-user is missing") {
		t.Errorf("got %v", err)
	}
}

// A NATS server that does not know us for a while, as while passwords are
// changed, is found again, however often it has refused.
func TestRefusedForAWhile(t *testing.T) {
	options := &server.Options{Username: "parley", Password: natsPassword}
	first := natsServer(t, options)
	var log lines
	b, err := bus.Connect(t.Context(), bus.Options{URL: first.ClientURL(), User: "parley", Password: natsPassword,
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer b.Close()
	restart := func(s *server.Server, password string) *server.Server {
		port := s.Addr().String()
		s.Shutdown()
		s.WaitForShutdown()
		next := &server.Options{Username: "parley", Password: password, StoreDir: options.StoreDir}
		_, err := fmt.Sscanf(port[strings.LastIndex(port, ":")+1:], "%d", &next.Port)
		must(t, err)
		return natsServer(t, next)
	}
	second := restart(first, "another password now")
	eventually := func(what string, f func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s\n%s", what, log.String())
			}
		}
	}
	eventually("it was not refused", func() bool { return strings.Count(log.String(), "authorization violation") >= 3 })
	if b.Connected() {
		t.Error("it is connected")
	}
	// Between two attempts there may be one that has not been answered yet.
	eventually("it does not say so", func() bool { return strings.Contains(fmt.Sprint(b.Check(t.Context())), "uthorization") })
	restart(second, natsPassword)
	eventually("it does not come back", func() bool { return b.Check(t.Context()) == nil })
}
