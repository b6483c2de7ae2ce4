package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzLoad gives a program any file, environment and flags. What it takes can be
// printed and loaded again, and nothing that it says has the secret in it.
func FuzzLoad(f *testing.F) {
	const secret = "a secret that nobody guesses"
	for _, seed := range [][3]string{
		{"http-addr: \":1\"\nmax-connections: 2 # two\nallowed-origins: [a, \"b\"]\n", "PARLEY_WINDOW=2\nHOME=x", "--rate-limit=0.5\n--pprof"},
		{"{http-addr: \"a\\nb: c\", grace: 1m30s}", "PARLEY_MAX_FRAME=2 MiB", "--allowed-origins=a,b\n--allowed-origins\n'c: d'"},
		{"a: &a [*a]\nhttp-addr: *a", "PARLEY_NATS_SERVICE_HOST=x", "--"},
		{"http-addr: !!binary aGVsbG8=\nhttp-addr: null\n---\n", "PARLEY_LOG_LEVEL=loud", "--log-level"},
		{"jwt-secret: ******\nhttp-addr: \u2028 # \u0085\n", "PARLEY_X_PORT=tcp", "--print-config"},
		{"? [http-addr]\n: x\n", "=\nPARLEY_=1", "--help"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	path := filepath.Join(f.TempDir(), "parley.yaml")
	load := func(t *testing.T, file string, environ, args []string) (options, Action, string, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		var o options
		var out bytes.Buffer
		action, err := register(&o).Load(args, append(environ, "PARLEY_CONFIG="+path), &out)
		said := out.String()
		if err != nil {
			said += err.Error()
		}
		if strings.Contains(said, secret) {
			t.Errorf("it says the secret: %s", said)
		}
		return o, action, out.String(), err
	}
	f.Fuzz(func(t *testing.T, file, environment, flags string) {
		if strings.Contains(file+environment+flags, "/") {
			t.Skip("may name a file of this machine")
		}
		environ := append(strings.Split(environment, "\n"), "PARLEY_JWT_SECRET="+secret)
		args := strings.Split(flags, "\n")
		if flags == "" {
			args = nil
		}
		given, action, _, err := load(t, file, environ, args)
		if err != nil || action != Run {
			return
		}
		_, _, printed, err := load(t, file, environ, append([]string{"--print-config"}, args...))
		if err != nil {
			t.Fatalf("it runs, and cannot be printed: %v", err)
		}
		again, _, _, err := load(t, printed, []string{"PARLEY_JWT_SECRET=" + given.Key.Reveal()}, nil)
		if err != nil {
			t.Fatalf("what was printed cannot be loaded: %v\n%s", err, printed)
		}
		for _, o := range []*options{&given, &again} { // no list is an empty list
			if len(o.Origins) == 0 {
				o.Origins = nil
			}
		}
		if !reflect.DeepEqual(given, again) {
			t.Errorf("%+v was printed as %+v:\n%s", given, again, printed)
		}
	})
}
