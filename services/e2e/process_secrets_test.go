package e2e

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/parley-im/parley/proto/auth/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// secrets are what must not be shown, by what they are.
type secrets struct {
	t      *testing.T
	named  map[string]string
	looked int // in how many places
}

// keep gives a secret back, and remembers it.
func (s *secrets) keep(what, text string) string {
	s.t.Helper()
	if len(text) < 8 {
		s.t.Fatalf("%s is %q", what, text)
	}
	s.named[what] = text
	return text
}

// signedIn remembers what somebody who has signed in over HTTP was given.
func (s *secrets) signedIn(what string, status int, body map[string]any) (token, refresh string) {
	s.t.Helper()
	token, _ = body["token"].(string)
	refresh, _ = body["refreshToken"].(string)
	if status != http.StatusOK || token == "" || refresh == "" {
		s.t.Fatalf("%s: %d %v", what, status, body)
	}
	return s.keep("the token of "+what, token), s.keep("the refresh token of "+what, refresh)
}

// shapes are a secret as it might be shown. Of a token that has parts, the last
// is what others cannot make; of others, each half is enough to be worried by.
func shapes(secret string) []string {
	if at := strings.LastIndexByte(secret, '.'); at >= 0 {
		secret = secret[at+1:]
	}
	var all []string
	half := len(secret) / 2
	for _, part := range []string{secret[:half], secret[half:]} {
		if len(part) < 8 {
			part = secret
		}
		whole := []byte(part)[:len(part)/3*3] // what stands behind changes the rest
		all = append(all, part, url.QueryEscape(part), hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part))),
			base64.StdEncoding.EncodeToString(whole), base64.URLEncoding.EncodeToString(whole), strings.Trim(fmt.Sprint([]byte(part)), "[]"))
	}
	return all
}

// none checks that a text shows none of them.
func (s *secrets) none(where, text string) {
	s.t.Helper()
	s.looked++
	for what, secret := range s.named {
		for _, shape := range shapes(secret) {
			if at := strings.Index(text, shape); at >= 0 {
				s.t.Errorf("%s shows %s: %q", where, what, text[max(0, at-200):min(len(text), at+100)])
				break
			}
		}
	}
}

// environ is a setting as an environment variable.
func environ(name, value string) string {
	return "PARLEY_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "=" + value
}

// collector takes what programs send by OTLP, and keeps it as it came. What is
// first to be sent it refuses, so that it is told of in a log.
type collector struct {
	url string

	mu      sync.Mutex
	bodies  map[string]*strings.Builder // by path
	headers map[string]int              // how often each authorization was shown
	refused bool
}

func startCollector(t *testing.T) *collector {
	c := &collector{bodies: make(map[string]*strings.Builder), headers: make(map[string]int)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		sent, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.headers[r.Header.Get("Authorization")]++
		if c.bodies[r.URL.Path] == nil {
			c.bodies[r.URL.Path] = new(strings.Builder)
		}
		c.bodies[r.URL.Path].Write(sent)
		if !c.refused {
			c.refused = true
			http.Error(w, "not now", http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// got is what was sent to a path.
func (c *collector) got(path string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bodies[path] == nil {
		return ""
	}
	return c.bodies[path].String()
}

// TestProcessSecrets starts every service with known secrets, its log at debug
// level, traces and metrics on, has people sign in and fail to in every way
// there is, and lets two processes crash. None of the secrets, and nothing that
// was issued, is in a log, a crash dump, a trace, a metric, an answer that says
// what is wrong, or on an admin port.
func TestProcessSecrets(t *testing.T) {
	s := &secrets{t: t, named: maps.Clone(secretSettings)}
	delete(s.named, "password") // these two are of the command line
	delete(s.named, "token")
	telemetry := s.keep("what the collector is shown", "marked-telemetry-key-0Qa1")
	callersFile := filepath.Join(t.TempDir(), "callers.yaml")
	console := s.keep("a token of the callers' file", "marked-console-token-1Ws2")
	if err := os.WriteFile(callersFile, []byte("callers: [{name: console, token: "+console+", scopes: [admin]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := startCollector(t)
	hook, shown, startHook := planHook(t)
	startHook()

	d := process.Plan(t, 2)
	d.Trust = []string{"PARLEY_CALLERS_FILE=" + callersFile, "PARLEY_HOOK_ADDR=" + hook, "PARLEY_NATS_USER=parley"}
	for name, secret := range secretSettings {
		d.Trust = append(d.Trust, environ(name, secret))
	}
	d.Env = []string{
		"PARLEY_LOG_LEVEL=debug", "PARLEY_PPROF=on", "PARLEY_GUESTS=on", "PARLEY_REGISTRATION=invite", "PARLEY_RATE_LIMIT=0", "GOTRACEBACK=system",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + sink.url, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20" + telemetry,
		"OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BSP_SCHEDULE_DELAY=100",
	}
	startSecretNATS(t, d)
	for _, service := range append(slices.Clip(process.Services), process.Events) {
		d.StartService(service)
	}
	d.StartGateway(0)
	d.StartGateway(1)
	d.WaitReady()

	s.people(d)
	s.backEnds(d)
	s.strangers(d)

	for _, p := range d.All()[1:] {
		for _, path := range []string{
			"/", "/livez", "/readyz", "/acceptz", "/health", "/metrics", "/status.json", "/nothing", "/debug/pprof/", "/debug/pprof/cmdline",
			"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1",
		} {
			status, page, err := process.Get(p.Admin + path)
			if err != nil {
				t.Errorf("%s of %s: %d %v", path, p.Program, status, err)
			}
			s.none(p.Program+" "+path, page)
		}
	}
	process.Eventually(t, recovery, "traces and metrics of all have come", func() error {
		traces, metrics := sink.got("/v1/traces"), sink.got("/v1/metrics")
		for _, p := range d.All()[1:] {
			if !strings.Contains(traces, p.Program) && p.Program != process.Events || !strings.Contains(metrics, p.Program) {
				return fmt.Errorf("none of %s", p.Program)
			}
		}
		return nil
	})
	// Others end in order, and send the rest.
	crashing := []*process.Process{d.Gateways[0], d.Services[process.Auth]}
	for _, p := range crashing {
		p.Signal(syscall.SIGQUIT)
		p.Wait()
		if !strings.Contains(p.Stderr(), "SIGQUIT") || strings.Count(p.Stderr(), "goroutine ") < 10 {
			t.Errorf("%s has left no dump", p.Program)
		}
	}
	for _, p := range slices.Backward(d.All()[1:]) {
		if p.Running() {
			p.Stop()
		}
	}
	for _, p := range d.All() {
		s.none("the log of "+p.Program, p.Stderr())
		s.none("what "+p.Program+" writes", p.Stdout())
	}
	s.none("the traces", sink.got("/v1/traces"))
	s.none("the metrics that are sent", sink.got("/v1/metrics"))

	// All of it was there to be shown.
	if got := <-shown; got != "Bearer "+secretSettings["hook-token"] {
		t.Errorf("the hook is shown %q", got)
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if len(sink.headers) != 1 || sink.headers["Bearer "+telemetry] == 0 {
		t.Errorf("the collector is shown %v", sink.headers)
	}
	said := ""
	for _, p := range d.All() {
		said += p.Stderr()
	}
	for _, part := range []string{`"level":"DEBUG"`, "signed in", "a call was refused", "not now"} {
		if !strings.Contains(said, part) {
			t.Errorf("nothing says %q", part)
		}
	}
	if len(s.named) < 35 || s.looked < 100 {
		t.Errorf("only %d secrets were looked for in %d places", len(s.named), s.looked)
	}
}

// startSecretNATS starts a NATS server that asks for a password.
func startSecretNATS(t *testing.T, d *process.Deployment) {
	t.Helper()
	host, port, err := net.SplitHostPort(d.Broker())
	if err != nil {
		t.Fatal(err)
	}
	monitor := process.Addr(t)
	_, monitorPort, _ := net.SplitHostPort(monitor) // Addr's are well-formed
	config := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("authorization { user: parley, password: %q }", secretSettings["nats-password"])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.NATS = process.Start(t, process.Spec{
		Program: process.NATS,
		Args:    args("--config", config, "--addr", host, "--port", port, "--http_port", monitorPort, "--jetstream", "--store_dir", t.TempDir()),
		Admin:   "http://" + monitor, ReadyPath: "/healthz",
	})
}

// operator calls auth as an operator.
func (s *secrets) operator(d *process.Deployment) authv1.AuthClient {
	return authv1.NewAuthClient(dialGRPC(s.t, d.Addrs[process.Auth], secretSettings["admin-token"]))
}

// people come in by every way that there is, and are given what to come back
// with.
func (s *secrets) people(d *process.Deployment) {
	t := s.t
	invite, err := s.operator(d).CreateInvite(t.Context(), &authv1.CreateInviteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	code := s.keep("an invite code", invite.Code)
	s.keep("an invite code as it is kept", strings.ToLower(strings.ReplaceAll(code, "-", "")))
	first := s.keep("a password", "marked-password-2Ed3 with spaces")
	status, body := stack.Post(t, d.URLs[0]+"/api/register", map[string]string{"username": "alice", "password": first, "inviteCode": code})
	_, refresh := s.signedIn("who registers", status, body)
	status, body = stack.Post(t, d.URLs[1]+"/api/refresh", map[string]string{"refreshToken": refresh})
	token, _ := s.signedIn("who comes back", status, body)
	second := s.keep("a new password", "marked-password-3Rf4")
	s.call(d.URLs[0]+"/api/password", bearer(token), `{"password":"`+first+`","newPassword":"`+second+`"}`, http.StatusOK)
	status, body = stack.Post(t, d.URLs[0]+"/api/auth", map[string]string{"username": "alice", "password": second})
	token, _ = s.signedIn("who signs in", status, body)

	ways := []client.Options{{}, {Header: bearer(token)}, {Subprotocols: []string{"parley.v1.json", "parley.token." + token}}}
	for i, way := range ways {
		c := client.Dial(t, d.URLs[i%2], way)
		var in *wirev1.AuthSuccess
		if i == 0 {
			in = c.SignIn(token)
		} else {
			in = c.Want("auth-success").GetAuthSuccess()
		}
		s.keep(fmt.Sprint("a resume token by way ", i), in.ResumeToken)
		c.Join("general")
		c.Say("general", "hello")
		for _, request := range []*wirev1.ClientFrame{askGetHistory(), askGetOnline(), askGetRooms()} { // so that every service has a trace
			c.Ask(request)
		}
		c.Cut()
		c.Closed()
		if i == 0 {
			back := client.Dial(t, d.URLs[1], client.Options{})
			resumed := back.Ask(ask.Resume(in.ResumeToken, map[string]*wirev1.Position{"general": {}})).GetResumed()
			if resumed == nil {
				t.Error("nobody resumes")
			}
			s.keep("a resume token of who resumed", resumed.GetResumeToken())
		}
	}
	signed := s.keep("a token that others sign", signHS256(t, []byte(secretSettings["jwt-secret"]), claims{"sub": "carol", "username": "carol"}))
	client.Dial(t, d.URLs[1], client.Options{}).SignIn(signed)
	guest := client.Dial(t, d.URLs[0], client.Options{})
	guest.SendText(`{"type":"chat","user":"visitor","message":"hello"}`)
	s.keep("the resume token of a guest", guest.Want("auth-success").GetAuthSuccess().ResumeToken)
	s.call(d.URLs[0]+"/api/logout", bearer(token), `{}`, http.StatusOK)
}

// backEnds use the gRPC APIs, with what is right and what is not.
func (s *secrets) backEnds(d *process.Deployment) {
	t := s.t
	auth := s.operator(d)
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	made := s.keep("a password that an operator gives", "marked-password-4Tg5")
	again := s.keep("another password that an operator gives", "marked-password-5Yh6")
	user, err := auth.CreateUser(ctx, &authv1.CreateUserRequest{Username: "dave", Password: made})
	if err != nil {
		t.Fatal(err)
	}
	in, err := auth.Login(ctx, &authv1.LoginRequest{Username: "dave", Password: made})
	if err != nil {
		t.Fatal(err)
	}
	token, refresh := s.keep("a token by gRPC", in.Token), s.keep("a refresh token by gRPC", in.RefreshToken)
	_, verified := auth.Verify(ctx, &authv1.VerifyRequest{Token: token})
	_, given := auth.SetPassword(ctx, &authv1.SetPasswordRequest{UserId: user.Id, Password: again})
	if err := errors.Join(verified, given); err != nil {
		t.Error(err)
	}
	_, ended := auth.Refresh(ctx, &authv1.RefreshRequest{RefreshToken: refresh})
	_, noToken := auth.Verify(ctx, &authv1.VerifyRequest{Token: token + "x"})
	_, before := auth.Login(ctx, &authv1.LoginRequest{Username: "dave", Password: made})
	_, twice := auth.CreateUser(ctx, &authv1.CreateUserRequest{Username: "dave", Password: made})
	_, noCode := auth.Register(ctx, &authv1.RegisterRequest{Username: "erin", Password: made, InviteCode: s.keep("what is no code", "MARKED9CODE8X")})
	for what, err := range map[string]error{
		"refreshing what has ended": ended, "verifying what is no token": noToken, "signing in as before": before,
		"making a user again": twice, "registering with a code that is none": noCode,
	} {
		if err == nil {
			t.Errorf("%s is no error", what)
		}
		s.none("the error of "+what, fmt.Sprintf("%v %+v", err, err))
	}
	stranger := s.keep("a token that is not known", "marked-stranger-token-6Uj7")
	for program, addr := range d.Addrs {
		for _, token := range []string{stranger, secretSettings["jwt-secret"]} {
			// Auth alone has the method; to the others nobody comes so far.
			_, err := authv1.NewAuthClient(dialGRPC(t, addr, token)).ListInvites(ctx, &authv1.ListInvitesRequest{})
			if err == nil {
				t.Errorf("%s lets in who shows %q", program, token)
			}
			s.none("the refusal of "+program, fmt.Sprintf("%v %+v", err, err))
		}
	}
	for _, env := range [][]string{
		{environ("admin-token", stranger)}, {environ("admin-token", secretSettings["admin-token"])},
	} {
		_, out, said := toTheEnd(t, process.Parley, args("admin", "create-user", "dave", "--password", made), append(env, "PARLEY_AUTH_ADDR="+d.Addrs[process.Auth]))
		s.none("parley admin", out+said)
	}
}

// strangers try what does not work.
func (s *secrets) strangers(d *process.Deployment) {
	t := s.t
	guess := s.keep("a wrong password", "marked-wrong-password-7Ik8")
	key := []byte(s.keep("another's secret", "marked-other-secret-of-32-bytes-or-more-8Ol9"))
	bad := map[string]string{
		"of another's secret": signHS256(t, key, claims{"sub": "alice"}),
		"that has ended":      signHS256(t, []byte(secretSettings["jwt-secret"]), claims{"sub": "alice", "exp": time.Now().Add(-time.Hour).Unix()}),
		"of no form":          "marked-no-token-9Pz0",
	}
	for what, token := range bad {
		s.keep("a token "+what, token)
		for _, way := range []client.Options{{Header: bearer(token)}, {Subprotocols: []string{"parley.v1.json", "parley.token." + token}}} {
			s.rest(client.Dial(t, d.URLs[0], way))
		}
		for _, request := range []*wirev1.ClientFrame{ask.Auth(token), ask.Resume(token, nil)} {
			c := client.Dial(t, d.URLs[1], client.Options{})
			c.Send(request)
			s.rest(c)
		}
		s.call(d.URLs[0]+"/api/refresh", nil, `{"refreshToken":"`+token+`"}`, http.StatusUnauthorized)
		s.call(d.URLs[0]+"/api/password", bearer(token), `{"password":"`+guess+`","newPassword":"`+guess+`"}`, http.StatusUnauthorized)
		for _, parameter := range []string{"token", "access_token", "jwt", "tkn"} {
			status, page, err := process.Get(d.URLs[0] + "/ws?" + parameter + "=" + url.QueryEscape(token))
			if err != nil || status < 400 {
				t.Errorf("a token in the URL: %d %v", status, err)
			}
			s.none("the answer to a token in the URL", page)
		}
		_, page, _ := process.Get(d.URLs[0] + "/api/sessions?token=" + url.QueryEscape(token))
		s.none("the answer to a token in the API's URL", page)
	}
	s.call(d.URLs[0]+"/api/auth", nil, `{"username":"alice","password":"`+guess+`"}`, http.StatusUnauthorized)
	s.call(d.URLs[0]+"/api/auth", nil, `{"username":"nobody","password":"`+guess+`"}`, http.StatusUnauthorized)
	s.call(d.URLs[0]+"/api/register", nil, `{"username":"frank","password":"`+guess+`","inviteCode":"MARKED9CODE8X"}`, http.StatusForbidden)
	for _, body := range []string{
		`{"username":"alice","password":"` + guess, `{"username":"alice","password":["` + guess + `"]}`, `{"username":"alice","` + guess + `":1}`, guess,
		`{"username":"alice","password":{"a":"` + guess + `"}}`, `{"username":1,"password":"` + guess + `"}`, `{"password":"` + guess + `"}`,
		`{"username":"alice","password":"` + guess + "\xff" + `"}`, `{"username":"alice","password":"` + guess + strings.Repeat("x", 4000) + `"}`,
		`{"username":"alice","password":"` + guess + `"}{}`, `{"all":"` + guess + `"}`,
	} {
		for _, path := range []string{"/api/auth", "/api/register", "/api/refresh", "/api/logout", "/api/password"} {
			s.call(d.URLs[1]+path, nil, body, 0)
		}
	}
	for _, text := range []string{
		`{"type":"auth","token":["` + guess + `"]}`, `{"type":"auth","token":"` + guess, `{"type":"auth","` + guess + `":1}`,
		`{"type":"resume","resumeToken":{"a":"` + guess + `"}}`, `{"type":"auth","token":"` + guess + `","token":"` + guess + `"}`, guess,
	} {
		c := client.Dial(t, d.URLs[0], client.Options{})
		c.SendText(text)
		s.rest(c)
	}
	// What NATS does not let in, and what the services do not.
	start := func(env string) (p *process.Process, address string) {
		spec, admin, addr := d.Gateways[0].Spec, process.Addr(t), process.Addr(t)
		spec.Admin = "http://" + admin
		spec.Env = append(slices.Clone(spec.Env), "PARLEY_HTTP_ADDR="+addr, "PARLEY_ADMIN_ADDR="+admin, env)
		return process.Start(t, spec), "http://" + addr
	}
	end := func(what string, p *process.Process) {
		_, ready, _ := process.Get(p.Admin + "/readyz")
		p.Stop()
		s.none(what, p.Stderr()+ready)
	}
	p, _ := start(environ("nats-password", guess))
	d.NATS.WaitSaid("authentication error")
	end("what NATS does not let in", p)
	p, address := start(environ("service-token", guess))
	p.WaitReady()
	s.call(address+"/api/auth", nil, `{"username":"alice","password":"`+guess+`"}`, http.StatusServiceUnavailable)
	p.WaitSaid("does not accept what this process shows")
	end("what the services do not let in", p)
}

// call asks the HTTP API, whose answer has to have this status, or any that is a
// refusal; a refusal repeats no secret.
func (s *secrets) call(address string, header http.Header, body string, want int) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode != want && (want != 0 || answer.StatusCode < 400) {
		s.t.Errorf("%s with %s: %s %s, want %d", address, body, answer.Status, text, want)
	}
	s.none("the answer of "+address, string(text)+fmt.Sprint(answer.Header))
}

// rest looks at all that a client is told until it is put out, or has been
// answered. None of it repeats what it came with.
func (s *secrets) rest(c *client.Client) {
	s.t.Helper()
	c.Wait("a refusal", func(f *wirev1.ServerFrame) bool {
		if f.GetAuthFailed() == nil && f.GetError() == nil {
			return false
		}
		text, err := proto.Marshal(f)
		if err != nil {
			s.t.Error(err)
		}
		s.none("a refusal", string(text))
		return true
	})
	c.Cut()
	c.Closed()
}
