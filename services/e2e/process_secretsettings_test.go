package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

// secretSettings are all settings that hold a secret, each with one that is to
// be found nowhere. What is added to a program is to be added here.
var secretSettings = map[string]string{
	"admin-token":   "marked-admin-token-0Zq7",
	"backend-token": "marked-backend-token-1Xw6",
	"service-token": "marked-service-token-2Cv5, marked-service-token-that-was-3Bn4",
	"hook-token":    "marked-hook-token-4Mk3",
	"jwt-secret":    "marked-jwt-secret-of-32-bytes-or-more-5Lj2",
	"nats-password": "marked-nats-password-6Hg1",
	"password":      "marked-password-7Fd0",
	"token":         "marked-token-8Sa9",
}

// secretIn finds the secret settings in a printed configuration, where each has
// a line for the file that may hold it, and in a help text.
var (
	secretIn     = regexp.MustCompile(`(?m)^# ([a-z-]+)-file:`)
	secretInHelp = regexp.MustCompile(`(?m)^  --([a-z-]+) secret,`)
)

// commandsOf lists the commands of parley, or of one of them.
func commandsOf(t *testing.T, arguments ...string) []string {
	t.Helper()
	_, out, _ := toTheEnd(t, process.Parley, append(arguments, "--help"), nil)
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z][a-z-]*)( [A-Z\[]\S*)*  +[A-Z]`).FindAllStringSubmatch(out, -1) {
		names = append(names, found[1])
	}
	if len(names) < 10 {
		t.Fatalf("parley %v lists only %q", arguments, names)
	}
	return names
}

// TestProcessSecretsOfSettings has every program and every command print the
// configuration that it would run with, with all its secrets set, and tell what
// is wrong with settings that have a secret in the wrong place.
func TestProcessSecretsOfSettings(t *testing.T) {
	s := &secrets{t: t, named: maps.Clone(secretSettings)}
	env := []string{"PARLEY_NATS_URL=nats://127.0.0.1:1", "PARLEY_NATS_USER=parley", "PARLEY_AUTH_ADDR=127.0.0.1:1", "PARLEY_REGISTRY_ADDR=127.0.0.1:1",
		"PARLEY_HISTORY_ADDR=127.0.0.1:1", "PARLEY_PRESENCE_ADDR=127.0.0.1:1"}
	var flags []string
	seen := make(map[string]bool)
	for name, secret := range secretSettings {
		env = append(env, environ(name, secret))
	}
	type program struct {
		binary    string
		arguments []string
	}
	var programs []program
	for _, binary := range append(slices.Clip(process.Services), process.Events, process.Gateway) {
		programs = append(programs, program{binary, nil})
	}
	for _, command := range commandsOf(t) {
		if command == "admin" {
			for _, command := range commandsOf(t, "admin") {
				programs = append(programs, program{process.Parley, []string{"admin", command}})
			}
		} else if command != "completion" && command != "version" && command != "config" { // they have no settings of their own
			programs = append(programs, program{process.Parley, []string{command}})
		}
	}
	for _, p := range programs {
		_, out, said := toTheEnd(t, p.binary, append(slices.Clone(p.arguments), "--print-config"), env)
		s.none(fmt.Sprint(p, " --print-config"), out+said)
		found := secretIn.FindAllStringSubmatch(out, -1)
		if masked := strings.Count(out, `: "******"`); masked != len(found) {
			t.Errorf("%v --print-config masks %d secrets of %q:\n%s", p, masked, found, out)
		}
		if out == "" { // it could not run with all of them at once
			_, help, _ := toTheEnd(t, p.binary, append(slices.Clone(p.arguments), "--help"), nil)
			if found = secretInHelp.FindAllStringSubmatch(help, -1); help == "" {
				t.Errorf("%v explains nothing, and prints %s", p, said)
			}
		}
		flags = flags[:0]
		for _, name := range found {
			seen[name[1]] = true
			if secretSettings[name[1]] == "" {
				t.Errorf("%v: %s is not among secretSettings", p, name[1])
			}
			flags = append(flags, "--"+name[1], secretSettings[name[1]])
		}
		if p.binary == process.Gateway || p.arguments == nil || p.arguments[0] == "serve" {
			_, out, said := toTheEnd(t, p.binary, append(append(slices.Clone(p.arguments), "--print-config"), flags...), env[:6])
			s.none(fmt.Sprint(p, " --print-config with flags"), out+said)
			if out == "" {
				t.Errorf("%v prints nothing: %s", p, said)
			}
		}
	}
	for name := range secretSettings {
		if !seen[name] {
			t.Errorf("no program has %s", name)
		}
	}
	if len(programs) < 25 {
		t.Errorf("only %d programs and commands", len(programs))
	}
	t.Run("errors", func(t *testing.T) { testSecretsInErrors(t, s) })
}

// testSecretsInErrors: what is wrong is told without what is there.
func testSecretsInErrors(t *testing.T, s *secrets) {
	const wrong = "marked-in-the-wrong-place-9Pp8"
	s.keep("what stands in the wrong place", wrong)
	s.keep("what is too short", "marked-2short")
	dir := t.TempDir()
	file := filepath.Join(dir, "file.yaml")
	check := []string{"serve", "--check-config", "--data-dir", dir, "--auth-addr", "127.0.0.1:1"}
	refused := func(what string, arguments, env []string) {
		t.Helper()
		status, out, said := toTheEnd(t, process.Parley, append(slices.Clone(check), arguments...), env)
		if status == 0 {
			t.Errorf("%s: it says %s", what, out)
		}
		s.none(what, out+said)
	}
	refused("a misspelt flag", args("--jwt-secrt="+wrong), nil)
	refused("a misspelt variable", nil, []string{"PARLEY_JWT_SECRT=" + wrong})
	refused("two ways at once", args("--jwt-secret", wrong, "--jwt-secret-file", file), nil)
	refused("a short token", args("--admin-token", "marked-2short", "--service-token", "marked-2short"), nil)
	refused("the same token for two", args("--admin-token", wrong, "--service-token", wrong), nil)
	refused("a password in an address", args("--nats-url", "nats://parley:"+wrong+"@127.0.0.1:4222"), nil)
	refused("a password in an address that is none", args("--nats-url", "nats://parley:"+wrong+"@127.0.0.1:x"), nil)
	for flag, contents := range map[string][]string{
		"--config": {
			`jwt-secret: "` + wrong, "jwt-secret: [" + wrong + "]", "jwt-secret: {a: " + wrong + "}", "jwt-secrt: " + wrong, "jwt-secret " + wrong,
			"jwt-secret: *" + wrong, "jwt-secret: " + wrong + "\n b: c", "- jwt-secret: " + wrong, "jwt-secret: " + wrong + "\njwt-secret: " + wrong,
			"jwt-secret: %" + wrong, `jwt-secret: "\q` + wrong + `"`,
		},
		"--callers-file": {
			"callers: [" + wrong + "]", "callers: " + wrong, wrong, "callers: [{name: a, token: *" + wrong + "}]", "callers: [{name: a, token: [" + wrong + "]}]",
			"callers: [{name: a, tokn: " + wrong + "}]", "callers: [{name: a, token: marked-2short, scopes: [read]}]", "callers: [{name: a, token-sha256: " + wrong + ", scopes: [read]}]",
			"callers: [{name: a, token: " + wrong + ", scopes: [all]}]", "callers: [{name: a, scopes: {x: y}, token: " + wrong + "}]", "callers: [`" + wrong + "`" + wrong + "]",
			"callers: [{name: a, token: " + wrong + ", scopes: [read]}, {name: b, token: " + wrong + ", scopes: [read]}]",
		},
		"--issuers-file": {
			"issuers: [{name: corp, issuer: corp, jwks: 'https://parley:" + wrong + "@id.example.com', audience: [parley]}]",
			"issuers: [{name: corp, issuer: corp, jwks: 'https://parley:" + wrong + "@id.exa mple.com', audience: [parley]}]",
			"issuers: [{name: corp, issuer: corp, jwks: 'https://parley:" + wrong + "@id.example.com:x', audience: [parley]}]",
		},
	} {
		for _, content := range contents {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(flag+" "+content, args(flag, file), nil)
		}
	}
}
