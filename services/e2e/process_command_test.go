package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/certtest"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// toTheEnd runs a program that ends by itself.
func toTheEnd(t *testing.T, program string, args, env []string) (status int, out, said string) {
	t.Helper()
	p := process.Start(t, process.Spec{Program: program, Args: args, Env: env})
	status = p.Wait()
	return status, p.Stdout(), p.Stderr()
}

func args(a ...string) []string { return a }

// What a user types wrong, or asks for, is answered with words and a status.
func TestProcessCommandLine(t *testing.T) {
	yaml := filepath.Join(t.TempDir(), "parley.yaml")
	if err := os.WriteFile(yaml, []byte("htp-addr: \":1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clear := filepath.Join(t.TempDir(), "issuers.yaml") // keys that come in the clear
	if err := os.WriteFile(clear, []byte("issuers: [{name: corp, issuer: corp, jwks: 'http://id.example.com', audience: [parley]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hidden = "a-secret-that-nobody-may-see-in-print"
	needs := []string{"PARLEY_NATS_URL=nats://127.0.0.1:1", "PARLEY_AUTH_ADDR=127.0.0.1:1", "PARLEY_REGISTRY_ADDR=127.0.0.1:1",
		"PARLEY_HISTORY_ADDR=127.0.0.1:1", "PARLEY_PRESENCE_ADDR=127.0.0.1:1",
		"PARLEY_SERVICE_TOKEN=" + process.ServiceToken}
	without := func(name string) []string {
		var env []string
		for _, e := range needs {
			if !strings.HasPrefix(e, name+"=") {
				env = append(env, e)
			}
		}
		return env
	}
	for _, c := range []struct {
		program   string
		args, env []string
		status    int
		out, said string // each has to contain this
	}{
		{process.Parley, nil, nil, 0, "parley serve", ""},
		{process.Parley, args("--help"), nil, 0, "parley serve", ""},
		{process.Parley, args("serve", "--help"), nil, 0, "PARLEY_DATA_DIR", ""},
		{process.Parley, args("serve", "-h"), nil, 0, "PARLEY_DATA_DIR", ""},
		{process.Parley, args("version"), nil, 0, "\n", ""},
		{process.Parley, args("--version"), nil, 0, "\n", ""},
		{process.Parley, args("serve", "--version"), nil, 0, "parley serve ", ""},
		{process.Parley, args("sevre"), nil, 1, "", `"sevre" is not a command`},
		{process.Parley, args("serve", "--check-config"), nil, 0, "configuration ok", ""},
		{process.Parley, args("serve", "--print-config"), args("PARLEY_JWT_SECRET=" + hidden), 0, "jwt-secret", ""},
		{process.Gateway, args("--print-config"), append(args("PARLEY_JWT_SECRET="+hidden, "PARLEY_NATS_USER=parley", "PARLEY_NATS_PASSWORD="+hidden, "PARLEY_SERVICE_TOKEN="+hidden), needs[:len(needs)-1]...), 0, "nats-password", ""},
		{process.Parley, args("serve", "--http-adr", ":1"), nil, 1, "", "did you mean --http-addr?"},
		{process.Parley, args("serve"), args("PARLEY_HTTP_ADR=:1"), 1, "", "did you mean PARLEY_HTTP_ADDR?"},
		{process.Parley, args("serve", "--config", yaml), nil, 1, "", "did you mean http-addr?"},
		{process.Parley, args("serve"), args("PARLEY_CONFIG=" + yaml), 1, "", "did you mean http-addr?"},
		{process.Parley, args("serve"), args("PARLEY_LOG_LEVEL=loud"), 1, "", "want one of debug, info, warn, error"},
		{process.Parley, args("serve"), args("PARLEY_MAX_CONNECTIONS=many"), 1, "", "max-connections"},
		{process.Parley, args("serve", "now"), nil, 1, "", "now"},
		{process.Parley, args("serve", "--check-config"), args("PARLEY_HTTP_ADDR=nonsense"), 1, "", "want host:port"},
		{process.Parley, args("serve", "--check-config"), args("PARLEY_ADMIN_ADDR=9090"), 1, "", "want host:port"},
		{process.Parley, args("serve", "--check-config", "--http-addr", ":99999"), nil, 1, "", "http-addr"},
		{process.Parley, args("serve", "--check-config", "--replicas", "3"), nil, 1, "", "replicas: the NATS inside is one node"},
		{process.Parley, args("serve", "--check-config", "--replicas", "3", "--nats-url", "nats://127.0.0.1:1"), nil, 0, "configuration ok", ""},
		{process.Parley, args("serve", "--check-config"), args("PARLEY_ALLOWED_ORIGINS=https://app.example.com/"), 1, "", "without a path or a slash"},
		{process.Parley, args("serve", "--check-config"), args("PARLEY_ALLOWED_ORIGINS=https://app.example.com,*.example.com,localhost:3000"), 0, "configuration ok", ""},
		{process.Parley, args("serve", "--check-config", "--max-connections", "0"), nil, 1, "", "want more than 0"},
		{process.Parley, args("serve", "--check-config", "--rate-limit", "0", "--rate-burst", "0", "--admin-addr", ""), nil, 0, "configuration ok", ""},
		{process.Parley, args("serve", "--check-config", "--trusted-proxies", "10.0.0.1,10.0.0.0/33"), nil, 1, "", `not "10.0.0.0/33"`},
		{process.Parley, args("admin"), nil, 0, "create-user NAME", ""},
		{process.Parley, args("admin", "disable", "--help"), nil, 0, "PARLEY_ADMIN_TOKEN", ""},
		{process.Parley, args("admin", "nothing"), nil, 1, "", `"nothing" is not a command`},
		{process.Auth, args("--check-config", "--grpc-addr", "nonsense"), needs[:1], 1, "", "want host:port"},
		{process.Gateway, args("--help"), nil, 0, "PARLEY_MAX_CONNECTIONS", ""},
		{process.Gateway, args("--check-config"), needs, 0, "configuration ok", ""},
		{process.Gateway, args("--check-config"), nil, 1, "", "PARLEY_NATS_URL"},
		{process.Gateway, nil, without("PARLEY_NATS_URL"), 1, "", "nats-url is missing"},
		{process.Gateway, nil, without("PARLEY_AUTH_ADDR"), 1, "", "PARLEY_AUTH_ADDR"},
		{process.Gateway, nil, without("PARLEY_REGISTRY_ADDR"), 1, "", "PARLEY_REGISTRY_ADDR"},
		{process.Gateway, nil, without("PARLEY_HISTORY_ADDR"), 1, "", "PARLEY_HISTORY_ADDR"},
		{process.Gateway, nil, without("PARLEY_PRESENCE_ADDR"), 1, "", "PARLEY_PRESENCE_ADDR"},
		{process.Auth, nil, nil, 1, "", "nats-url is missing"},
		{process.History, nil, nil, 1, "", "nats-url is missing"},
		{process.Presence, nil, nil, 1, "", "nats-url is missing"},
		{process.Registry, nil, nil, 1, "", "nats-url is missing"},
		{process.Registry, nil, without("PARLEY_HISTORY_ADDR"), 1, "", "history-addr is missing"},
		{process.Registry, nil, without("PARLEY_PRESENCE_ADDR"), 1, "", "presence-addr is missing"},
		{process.Auth, args("--check-config"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token is missing"},
		{process.Registry, args("--check-config"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token is missing"},
		{process.History, args("--check-config"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token is missing"},
		{process.Presence, args("--check-config"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token is missing"},
		{process.Gateway, args("--check-config"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token is missing"},
		{process.Auth, nil, without("PARLEY_SERVICE_TOKEN"), 1, "", "--dev (PARLEY_DEV=on)"},
		{process.Auth, args("--check-config", "--dev"), without("PARLEY_SERVICE_TOKEN"), 0, "configuration ok", ""},
		{process.Auth, args("--check-config", "--service-token", "short"), without("PARLEY_SERVICE_TOKEN"), 1, "", "service-token: shorter than 16"},
		{process.Auth, args("--check-config", "--service-ca", yaml), needs, 1, "", "service-ca, service-cert, service-key: "},
		{process.Auth, args("--check-config", "--service-cert", yaml), needs, 1, "", "service-cert and service-key belong together"},
		{process.Auth, args("--check-config", "--callers-file", yaml), needs, 1, "", "callers-file: " + yaml},
		{process.Auth, args("--check-config", "--service-ca", certtest.New(t).Issue(t).CA), needs, 1, "", "service-cert and service-key are missing beside service-ca"},
		{process.Gateway, args("--check-config", "--service-ca", certtest.New(t).Issue(t).CA), needs, 0, "configuration ok", ""},
		{process.Gateway, args("--check-config", "--nats-url", "nats://parley:"+hidden+"@127.0.0.1:4222"), needs[1:], 1, "", "nats-url: has a user"},
		{process.Gateway, args("--print-config", "--nats-url", "nats://"+hidden+"@127.0.0.1:4222"), needs[1:], 1, "", "nats-url: has a user"},
		{process.Gateway, args("--check-config", "--nats-user", "parley", "--nats-nkey", yaml), needs, 1, "", "exclude each other"},
		{process.Gateway, args("--check-config", "--nats-credentials", yaml), needs, 1, "", "nats-credentials: " + yaml},
		{process.Gateway, args("--check-config", "--nats-nkey", yaml), needs, 1, "", "nats-nkey: " + yaml},
		{process.Gateway, args("--check-config", "--nats-ca", yaml), needs, 1, "", "nats-ca: " + yaml},
		{process.Gateway, args("--check-config", "--nats-cert", yaml), needs, 1, "", "nats-cert and nats-key belong together"},
		{process.Gateway, args("--check-config", "--issuers-file", yaml), needs, 1, "", "issuers-file " + yaml},
		{process.Auth, args("--check-config", "--issuers-file", clear), needs, 1, "", `issuer 1 ("corp"): jwks: is not https`},
		{process.Parley, args("serve", "--check-config", "--issuers-file", clear), nil, 1, "", `issuer 1 ("corp"): jwks: is not https`},
		{process.Parley, args("serve", "--check-config", "--issuers-file", clear, "--dev"), nil, 0, "configuration ok", ""},
		{process.Parley, args("serve"), args("PARLEY_ISSUERS_FILE=" + yaml + ".gone"), 1, "", "issuers-file: "},
		{process.Auth, args("--print-config"), append(args("PARLEY_ADMIN_TOKEN="+hidden, "PARLEY_BACKEND_TOKEN="+hidden+"2"), needs...), 0, "backend-token", ""},
		{process.Parley, args("serve", "--check-config", "--history-addr", "127.0.0.1:1"), nil, 1, "", "backend-token is missing"},
		{process.Parley, args("serve", "--check-config", "--history-addr", "127.0.0.1:1", "--dev"), nil, 0, "configuration ok", ""},
	} {
		t.Run(c.program+" "+strings.Join(c.args, " "), func(t *testing.T) {
			status, out, said := toTheEnd(t, c.program, c.args, c.env)
			if status != c.status || !strings.Contains(out, c.out) || !strings.Contains(said, c.said) {
				t.Errorf("%v: exit status %d\nstdout: %s\nstderr: %s", c.env, status, out, said)
			}
			if c.status != 0 && out != "" && c.said == "" || c.status == 0 && said != "" {
				t.Errorf("it went to the wrong place\nstdout: %s\nstderr: %s", out, said)
			}
			if strings.Contains(out+said, hidden) {
				t.Errorf("a secret is shown:\n%s%s", out, said)
			}
		})
	}
}

// What stands in the way of a start is named, and the status tells.
func TestProcessCannotStart(t *testing.T) {
	p := serve(t)
	p.WaitReady()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	free := func() []string {
		return []string{"PARLEY_DATA_DIR=" + filepath.Join(t.TempDir(), "data"),
			"PARLEY_HTTP_ADDR=" + process.Addr(t), "PARLEY_ADMIN_ADDR=" + process.Addr(t)}
	}
	addr, admin := p.url[len("http://"):], p.Admin[len("http://"):]
	for name, c := range map[string]struct {
		env  string
		said []string
	}{
		"the clients' port is taken": {"PARLEY_HTTP_ADDR=" + addr, []string{"http-addr", addr, "address already in use"}},
		"the admin port is taken":    {"PARLEY_ADMIN_ADDR=" + admin, []string{"admin-addr", admin, "address already in use"}},
		"no such address":            {"PARLEY_HTTP_ADDR=nonsense", []string{"http-addr", "nonsense"}},
		"the data are a file":        {"PARLEY_DATA_DIR=" + file, []string{"data-dir " + file, "not a directory"}},
		"the data are not writable":  {"PARLEY_DATA_DIR=" + filepath.Join(closed, "data"), []string{"data-dir " + closed, "permission denied"}},
		"the data are in use":        {"PARLEY_DATA_DIR=" + p.dir, []string{"data-dir " + p.dir, "in use"}},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "not writable") && os.Geteuid() == 0 {
				t.Skip("nothing is closed to root")
			}
			status, _, said := toTheEnd(t, process.Parley, args("serve"), append(free(), c.env))
			if status == 0 {
				t.Error("exit status 0")
			}
			for _, want := range c.said {
				if !strings.Contains(said, want) {
					t.Errorf("stderr lacks %q: %s", want, said)
				}
			}
		})
	}
	if err := p.Ready(); err != nil {
		t.Errorf("the one that was there first: %v", err)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	t.Run("another number of shards", func(t *testing.T) {
		status, _, said := toTheEnd(t, process.Parley, args("serve", "--shards", "4"), p.Env)
		if status == 0 || !strings.Contains(said, "shards: set to 4, but this deployment was made with 1") {
			t.Errorf("exit status %d: %s", status, said)
		}
	})
}

// A service that cannot listen says where.
func TestProcessServiceCannotListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := process.Plan(t, 0)
	d.StartNATS()
	d.NATS.WaitReady()
	d.Addrs[process.Auth] = l.Addr().String()
	d.StartService(process.Auth)
	if status, said := d.Services[process.Auth].Wait(), d.Services[process.Auth].Stderr(); status == 0 || !strings.Contains(said, fmt.Sprint(l.Addr())) || !strings.Contains(said, "grpc-addr") {
		t.Errorf("exit status %d: %s", status, said)
	}
}
