package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const revealing = "tell-nobody"

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretSources(t *testing.T) {
	a, b := secretFile(t, "a\n"), secretFile(t, "b\r\n")
	yamlFile := write(t, "jwt-secret-file: "+a+"\n")
	for _, test := range []struct {
		args, environ []string
		want          string
	}{
		{nil, nil, ""},
		{nil, []string{"PARLEY_JWT_SECRET_FILE=" + a}, "a"},
		{[]string{"--jwt-secret-file", b}, []string{"PARLEY_JWT_SECRET_FILE=" + a}, "b"},
		{[]string{"--jwt-secret-file", b}, []string{"PARLEY_JWT_SECRET=c"}, "b"},
		{[]string{"--jwt-secret", "c"}, []string{"PARLEY_JWT_SECRET_FILE=" + a}, "c"},
		{[]string{"--config", yamlFile}, nil, "a"},
		{[]string{"--config", yamlFile}, []string{"PARLEY_JWT_SECRET_FILE=" + b}, "b"},
		{[]string{"--jwt-secret-file", secretFile(t, "two\n\n")}, nil, "two\n"},
	} {
		var o options
		if _, err := register(&o).Load(test.args, test.environ, nil); err != nil || o.Key.Reveal() != test.want {
			t.Errorf("%q %q: got %q, %v, want %q", test.args, test.environ, o.Key.Reveal(), err, test.want)
		}
	}
}

func TestSecretRefusals(t *testing.T) {
	key := secretFile(t, revealing)
	for _, test := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"--jwt-secret=" + revealing, "--jwt-secret-file=" + key}, nil, "are both given"},
		{[]string{"--jwt-secret-file=" + key, "--jwt-secret=" + revealing}, nil, "are both given"},
		{nil, []string{"PARLEY_JWT_SECRET=" + revealing, "PARLEY_JWT_SECRET_FILE=" + key},
			"jwt-secret and jwt-secret-file are both given (environment variable PARLEY_JWT_SECRET, environment variable PARLEY_JWT_SECRET_FILE): want one of them"},
		{nil, []string{"PARLEY_JWT_SECRET_FILE=/does/not/exist"}, "jwt-secret-file from environment variable PARLEY_JWT_SECRET_FILE: open /does/not/exist"},
		{[]string{"--jwt-secret-file", revealing}, nil, "jwt-secret-file from flag --jwt-secret-file: no such file"},
		{[]string{"--jwt-secret-file", secretFile(t, "\n")}, nil, "is empty"},
		{[]string{"--jwt-secret-file", secretFile(t, mask)}, nil, "--print-config"},
		{[]string{"--jwt-secret-file", secretFile(t, strings.Repeat("x", 64<<10+1))}, nil, "is larger than 64KiB"},
	} {
		var o options
		got := lines(t, register(&o), test.args, test.environ)
		if len(got) != 1 || !strings.Contains(got[0], test.want) || strings.Contains(got[0], revealing) {
			t.Errorf("%q %q: got %q, want %q", test.args, test.environ, got, test.want)
		}
	}

	var o options
	s := New("auth", "")
	s.Secret(&o.Key, "jwt-secret", "").Check(func() error { return fmt.Errorf("want at least 32 bytes") })
	got := lines(t, s, []string{"--jwt-secret=" + revealing}, nil)
	if got[0] != "jwt-secret: the value from flag --jwt-secret: want at least 32 bytes" {
		t.Error(got)
	}
}

// The configuration in force can be loaded again and is then the same but for its secrets.
func TestPrintConfigCanBeFedBack(t *testing.T) {
	args := []string{"--http-addr=true", "--log-level=warn", "--grace=90s", "--max-frame=1000", "--rate-limit=1e21",
		"--allowed-origins=https://a.example,*,8080,null", "--pprof"}
	var o, again options
	var out bytes.Buffer
	environ := []string{"PARLEY_MAX_CONNECTIONS=5", "PARLEY_JWT_SECRET=" + revealing}
	if action, err := register(&o).Load(append(args, "--print-config"), environ, &out); action != Stop || err != nil {
		t.Fatal(action, err)
	}
	printed := out.String()
	for _, want := range []string{"\n# Listening\n", "max-connections: 5 # environment variable PARLEY_MAX_CONNECTIONS\n",
		"\nwindow: 0 # default\n", "\ngrace: 1m30s # flag --grace\n", `jwt-secret: "******" # environment variable PARLEY_JWT_SECRET`} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, printed)
		}
	}
	if strings.Contains(printed, revealing) {
		t.Error(printed)
	}
	if _, err := register(&again).Load([]string{"--config", write(t, printed)}, nil, nil); err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	o.Key = Secret{}
	if fmt.Sprintf("%+v", o) != fmt.Sprintf("%+v", again) {
		t.Errorf("%+v\n%+v\nby\n%s", o, again, printed)
	}
}

func TestPrintConfigKeepsSecretFilesAndAwkwardTexts(t *testing.T) {
	for _, text := range []string{"", " x ", "a # b", "two\nlines\n", "'\"", "~", "- a", "é\x00", "0x10", "#", "@a", "{", "tab\t"} {
		var o, again options
		var out bytes.Buffer
		args := []string{"--http-addr=" + text, "--jwt-secret-file=" + secretFile(t, revealing), "--print-config"}
		if _, err := register(&o).Load(args, nil, &out); err != nil {
			t.Fatal(err)
		}
		if _, err := register(&again).Load([]string{"--config", write(t, out.String())}, nil, nil); err != nil {
			t.Errorf("%q: %v in\n%s", text, err, out.String())
		}
		if again.HTTPAddr != text || again.Key.Reveal() != revealing || strings.Contains(out.String(), revealing) {
			t.Errorf("%q became %q, the secret %q, by\n%s", text, again.HTTPAddr, again.Key.Reveal(), out.String())
		}
	}
}

// What is missing does not keep the configuration from being shown.
func TestPrintConfigOfAnIncompleteConfiguration(t *testing.T) {
	var url string
	var out bytes.Buffer
	s := New("auth", "")
	s.String(&url, "nats-url", "").Required()
	action, err := s.Load([]string{"--print-config"}, nil, &out)
	if action != Stop || err == nil || !strings.Contains(out.String(), "nats-url: '' # default") {
		t.Error(action, err, out.String())
	}
}

func TestMasked(t *testing.T) {
	for url, shown := range map[string]bool{"nats://host": true, "nats://user:" + revealing + "@host": false} {
		var out bytes.Buffer
		var p string
		s := New("test", "")
		s.String(&p, "url", "").Masked(func(text string) bool { return strings.Contains(text, "@") }).
			Check(func() error {
				if shown {
					return nil
				}
				return fmt.Errorf("is wrong")
			})
		_, err := s.Load([]string{"--print-config", "--url", url}, nil, &out)
		if said := out.String() + fmt.Sprint(err); strings.Contains(said, url) != shown || strings.Contains(said, revealing) || p != url {
			t.Errorf("%s: %s", url, said)
		}
	}
}
