package rpc_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/certtest"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

const (
	serviceToken = "a token of all services"
	readToken    = "a token that may read only"
	adminToken   = "a token of an operator"
)

func bearer(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// callersFile writes a file of callers.
func callersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "callers.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// whoCalls is a service that writes down who has called it.
func whoCalls(who *string) *history {
	return &history{
		list: func(ctx context.Context, _ *historyv1.ListMessagesRequest) (*historyv1.ListMessagesResponse, error) {
			*who = access.From(ctx).Name
			return &historyv1.ListMessagesResponse{}, nil
		},
		erase: func(ctx context.Context) (*historyv1.EraseResponse, error) {
			*who = access.From(ctx).Name
			return &historyv1.EraseResponse{}, nil
		},
	}
}

func TestTokens(t *testing.T) {
	credentials := known(t, access.Options{
		ServiceTokens: []string{"the token before this one", serviceToken}, AdminToken: adminToken,
		File: callersFile(t, "callers: [{name: reader, token: "+readToken+", scopes: [read]}]"),
	})
	var who string
	var logs logBuffer
	address, _ := serve(t, whoCalls(&who), rpc.ServerOptions{Credentials: credentials, Logger: logs.logger(slog.LevelDebug)})
	for _, c := range []struct {
		token       string
		read, erase errs.Code
		name        string
	}{
		{serviceToken, "", "", "service"},
		{"the token before this one", "", "", "service"},
		{adminToken, "", errs.Forbidden, "admin"},
		{readToken, "", errs.Forbidden, "reader"},
		{"a token of nobody here", errs.Unauthenticated, errs.Unauthenticated, ""},
		{"", errs.Unauthenticated, errs.Unauthenticated, ""},
	} {
		opts := rpc.ClientOptions{}
		if c.token != "" {
			opts.Token = bearer(c.token)
		}
		client := historyv1.NewHistoryClient(dial(t, address, opts))
		who = ""
		_, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{})
		if got := errs.CodeOf(err); got != c.read || who != c.name {
			t.Errorf("%q reads as %q: %v", c.token, who, err)
		}
		_, err = client.Erase(t.Context(), &historyv1.EraseRequest{})
		if got := errs.CodeOf(err); got != c.erase {
			t.Errorf("%q erases: %v", c.token, err)
		}
		if c.erase == errs.Forbidden && !strings.Contains(err.Error(), `has not the scope service, which /parley.history.v1.History/Erase needs`) {
			t.Errorf("%q is told %v", c.token, err)
		}
	}
	// Who is answered for has not been refused.
	behalf := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{Token: bearer("a token of nobody here"), OnBehalf: true}))
	if _, err := behalf.ListMessages(t.Context(), &historyv1.ListMessagesRequest{}); errs.CodeOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "not known here") {
		t.Errorf("on behalf of somebody: %v", err)
	}
	if text := logs.String(); !strings.Contains(text, "a call was refused") || strings.Contains(text, "of nobody here") || strings.Contains(text, readToken) {
		t.Errorf("logged:\n%s", text)
	}

	// A probe cannot sign in, and whoever looks at what is served has to.
	conn := plainConn(t, address)
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	if err := reflect(t, address, rpc.ClientOptions{}); errs.CodeOf(err) != errs.Unauthenticated {
		t.Errorf("reflection without credentials: %v", err)
	}
	if err := reflect(t, address, rpc.ClientOptions{Token: bearer(readToken)}); err != nil {
		t.Errorf("reflection with credentials: %v", err)
	}
}

// reflect asks a server what it serves.
func reflect(t *testing.T, address string, opts rpc.ClientOptions) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(dial(t, address, opts)).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	// A stream that has been refused already takes nothing more, and says why
	// to who reads from it.
	if err := stream.Send(list); err != nil && err != io.EOF {
		return err
	}
	_, err = stream.Recv()
	return err
}

// A stream sends nothing any more to who has lost the right to it.
func TestStreamOfAnOldToken(t *testing.T) {
	file := callersFile(t, "callers: [{name: reader, token: "+readToken+", scopes: [read]}]")
	h := &history{replay: func(_ *historyv1.ReplayRequest, s grpc.ServerStreamingServer[historyv1.Message]) error {
		for {
			if err := s.Send(&historyv1.Message{}); err != nil {
				return fmt.Errorf("sending: %w", err)
			}
			time.Sleep(10 * time.Millisecond) // what there is to say comes bit by bit
		}
	}}
	address, _ := serve(t, h, rpc.ServerOptions{Credentials: known(t, access.Options{File: file, ServiceTokens: []string{serviceToken}})})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	replay := func(token string) grpc.ServerStreamingClient[historyv1.Message] {
		stream, err := historyv1.NewHistoryClient(served(t, dial(t, address, rpc.ClientOptions{Token: bearer(token)}))).Replay(ctx, &historyv1.ReplayRequest{})
		must(t, err)
		_, err = stream.Recv()
		must(t, err)
		return stream
	}
	old, other := replay(readToken), replay(serviceToken)
	must(t, os.WriteFile(file, []byte("callers: [{name: reader, token: "+readToken+" and more, scopes: [read]}]"), 0o600))
	for {
		if _, err := old.Recv(); err != nil {
			if errs.CodeOf(err) != errs.Unauthenticated {
				t.Errorf("ended with %v", err)
			}
			break
		}
	}
	if _, err := other.Recv(); err != nil {
		t.Errorf("another's has ended: %v", err)
	}
}

// A server that was given no credentials lets in its own process alone.
func TestNoCredentials(t *testing.T) {
	var who string
	h := whoCalls(&who)
	s := rpc.NewServer(rpc.ServerOptions{})
	historyv1.RegisterHistoryServer(s.Registrar(), h)
	pipe, l := rpc.Pipe(), listen(t)
	run(t, s, pipe, l)
	inside := historyv1.NewHistoryClient(dial(t, "", rpc.ClientOptions{InProcess: pipe}))
	if _, err := inside.Erase(t.Context(), &historyv1.EraseRequest{}); err != nil || who != "service" {
		t.Errorf("in process as %q: %v", who, err)
	}
	if _, err := plainClient(t, l.Addr().String()).Erase(t.Context(), &historyv1.EraseRequest{}); err == nil {
		t.Error("anybody is let in")
	}
}

// In development whoever has no credentials may do everything; wrong ones stay
// wrong.
func TestDevelopment(t *testing.T) {
	var who string
	address, _ := serve(t, whoCalls(&who), rpc.ServerOptions{Credentials: known(t, access.Options{Development: true})})
	if _, err := plainClient(t, address).Erase(t.Context(), &historyv1.EraseRequest{}); err != nil {
		t.Error(err)
	}
	wrong := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{Token: bearer("a mistyped token")}))
	if _, err := wrong.Erase(t.Context(), &historyv1.EraseRequest{}); errs.CodeOf(err) != errs.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

// secretDir is a directory as Kubernetes mounts a secret: the files are links
// into a link to a directory, and a change swaps that one link.
type secretDir struct {
	path string
	n    int
}

func (d *secretDir) put(t *testing.T, files map[string][]byte) rpc.TLSFiles {
	t.Helper()
	d.n++
	version := filepath.Join(d.path, "..version"+string(rune('0'+d.n)))
	must(t, os.Mkdir(version, 0o700))
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(version, name), content, 0o600))
	}
	next := filepath.Join(d.path, "..next")
	must(t, os.Symlink(version, next))
	must(t, os.Rename(next, filepath.Join(d.path, "..data")))
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(d.path, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return rpc.TLSFiles{
		Cert: filepath.Join(d.path, "tls.crt"), Key: filepath.Join(d.path, "tls.key"), CA: filepath.Join(d.path, "ca.crt"),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func loadTLS(t *testing.T, f rpc.TLSFiles) *rpc.TLS {
	t.Helper()
	loaded, err := rpc.LoadTLS(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// issue makes the files of one holder of a certificate.
func issue(t *testing.T, a *certtest.Authority, good time.Duration, names ...string) rpc.TLSFiles {
	t.Helper()
	cert, key := a.Sign(t, good, names...)
	return (&secretDir{path: t.TempDir()}).put(t, map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": a.PEM()})
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := certtest.New(t), certtest.New(t)
	credentials := known(t, access.Options{
		BackEndToken: "a back end's one token",
		File:         callersFile(t, "callers: [{name: billing, certificate: billing.internal, scopes: [read]}]"),
		Peers:        []string{"services.parley"},
	})
	var who string
	address, _ := serve(t, whoCalls(&who), rpc.ServerOptions{
		Credentials: credentials, TLS: loadTLS(t, issue(t, ours, time.Hour, "services.parley")),
	})
	caOnly := rpc.TLSFiles{CA: issue(t, ours, time.Hour).CA}
	with := func(f rpc.TLSFiles, change func(*rpc.TLSFiles)) rpc.TLSFiles {
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		files *rpc.TLSFiles
		token string
		want  errs.Code
		who   string
	}{
		"a service": {files: ref(issue(t, ours, time.Hour, "services.parley")), who: "service"},
		"a back end with a certificate": {
			files: ref(issue(t, ours, time.Hour, "billing.internal")), want: errs.Forbidden, who: ""},
		"a certificate of ours for somebody else": {files: ref(issue(t, ours, time.Hour, "printer.internal")), want: errs.Unauthenticated},
		"no certificate":                {files: &caOnly, want: errs.Unauthenticated},
		"a token without a certificate": {files: &caOnly, token: "a back end's one token", want: errs.Forbidden},
		"another authority's": {
			files: ref(with(issue(t, theirs, time.Hour, "services.parley"), func(f *rpc.TLSFiles) { f.CA = caOnly.CA })), want: errs.Unauthenticated},
		"expired": {files: ref(issue(t, ours, -time.Hour, "services.parley")), want: errs.Unavailable},
		"the server's authority is unknown": {
			files: ref(with(issue(t, ours, time.Hour, "services.parley"), func(f *rpc.TLSFiles) { f.CA = issue(t, theirs, time.Hour).CA })), want: errs.Unavailable},
		"the server's name is another": {
			files: ref(with(issue(t, ours, time.Hour, "services.parley"), func(f *rpc.TLSFiles) { f.ServerName = "other.parley" })), want: errs.Unavailable},
		"the server's name is set": {
			files: ref(with(issue(t, ours, time.Hour, "services.parley"), func(f *rpc.TLSFiles) { f.ServerName = "services.parley" })), who: "service"},
		"in the clear": {want: errs.Unavailable},
	} {
		opts := rpc.ClientOptions{}
		if c.files != nil {
			opts.TLS = loadTLS(t, *c.files)
		}
		if c.token != "" {
			opts.Token = bearer(c.token)
		}
		who = ""
		_, err := historyv1.NewHistoryClient(dial(t, address, opts)).Erase(t.Context(), &historyv1.EraseRequest{})
		if got := errs.CodeOf(err); got != c.want || who != c.who {
			t.Errorf("%s: as %q, got %v, want %q", name, who, err, c.want)
		}
	}
	billing := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{TLS: loadTLS(t, issue(t, ours, time.Hour, "billing.internal"))}))
	if _, err := billing.ListMessages(t.Context(), &historyv1.ListMessagesRequest{}); err != nil || who != "billing" {
		t.Errorf("as %q: %v", who, err)
	}
}

func ref[T any](v T) *T { return &v }

// The files are replaced, authority and all, under a running server and a
// running client: who connects from then on needs what is new.
func TestCertificatesAreReplaced(t *testing.T) {
	old, new := certtest.New(t), certtest.New(t)
	serverDir, clientDir := &secretDir{path: t.TempDir()}, &secretDir{path: t.TempDir()}
	files := func(a *certtest.Authority) map[string][]byte {
		cert, key := a.Sign(t, time.Hour)
		return map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": a.PEM()}
	}
	server, client := loadTLS(t, serverDir.put(t, files(old))), loadTLS(t, clientDir.put(t, files(old)))
	var who string
	address, _ := serve(t, whoCalls(&who), rpc.ServerOptions{Credentials: known(t, access.Options{}), TLS: server})
	call := func(c *rpc.TLS) error {
		conn := dial(t, address, rpc.ClientOptions{TLS: c})
		defer conn.Close()
		_, err := historyv1.NewHistoryClient(conn).Erase(t.Context(), &historyv1.EraseRequest{})
		return err
	}
	if err := call(client); err != nil {
		t.Fatal(err)
	}
	stays := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{TLS: client}))
	if _, err := stays.Erase(t.Context(), &historyv1.EraseRequest{}); err != nil {
		t.Fatal(err)
	}
	before := loadTLS(t, issue(t, old, time.Hour))

	serverDir.put(t, files(new))
	eventually(t, "the old authority is not trusted", func() bool { return errs.CodeOf(call(before)) == errs.Unavailable })
	clientDir.put(t, files(new))
	eventually(t, "the client has a new certificate", func() bool { return call(client) == nil })
	if _, err := stays.Erase(t.Context(), &historyv1.EraseRequest{}); err != nil {
		t.Errorf("an open connection was cut: %v", err)
	}

	// What cannot be used changes nothing.
	broken := files(old)
	broken["tls.key"] = []byte("not a key")
	serverDir.put(t, broken)
	until := time.Now().Add(1200 * time.Millisecond) // longer than between two looks
	for time.Now().Before(until) {
		if err := call(client); err != nil {
			t.Fatalf("with broken files: %v", err)
		}
	}
	if left := time.Until(server.Expires()); left < 50*time.Minute || left > time.Hour {
		t.Errorf("the certificate expires in %v", left)
	}
}

func TestTLSFilesRefused(t *testing.T) {
	a := certtest.New(t)
	good := issue(t, a, time.Hour)
	empty := callersFile(t, "")
	for name, f := range map[string]rpc.TLSFiles{
		"no authority":    {Cert: good.Cert, Key: good.Key},
		"no key":          {Cert: good.Cert, CA: good.CA},
		"another's key":   {Cert: good.Cert, Key: issue(t, a, time.Hour).Key, CA: good.CA},
		"no file":         {Cert: good.Cert, Key: good.Key, CA: good.CA + ".old"},
		"empty authority": {Cert: good.Cert, Key: good.Key, CA: empty},
	} {
		if _, err := rpc.LoadTLS(f, nil); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}

// Who can open the socket is an operator, whatever else a server asks for; and a
// socket that a killed process has left is no obstacle.
func TestOwnerSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	socket, err := rpc.OwnerSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	var who string
	server := rpc.NewServer(rpc.ServerOptions{Credentials: known(t, access.Options{AdminToken: adminToken})})
	historyv1.RegisterHistoryServer(server.Registrar(), whoCalls(&who))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	address, err := rpc.SocketAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	client := historyv1.NewHistoryClient(dial(t, address, rpc.ClientOptions{}))
	if _, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{}); err != nil || who != "owner" {
		t.Errorf("called as %q: %v", who, err)
	}
	if _, err := client.Erase(t.Context(), &historyv1.EraseRequest{}); errs.CodeOf(err) != errs.Forbidden {
		t.Errorf("what services ask of each other: %v", err)
	}
	if _, err := rpc.Dial("history", "unix://s", rpc.ClientOptions{}); err == nil {
		t.Error("a path that is not absolute is taken")
	}
}
