package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type options struct {
	HTTPAddr string
	Level    string
	Max      int
	Window   int64
	Rate     float64
	Pprof    bool
	Grace    time.Duration
	Frame    int64
	Origins  []string
	Key      Secret
}

// register makes a set with a setting of every kind.
func register(o *options) *Set {
	*o = options{HTTPAddr: ":8080", Level: "info", Max: 10000, Rate: 50, Grace: 25 * time.Second, Frame: 64 << 10}
	s := New("gateway", "holds the connections of clients")
	s.Section("Listening")
	s.String(&o.HTTPAddr, "http-addr", "address for sockets, the HTTP API and the demo page")
	s.Strings(&o.Origins, "allowed-origins", "other origins whose pages may connect")
	s.Section("Limits")
	s.Int(&o.Max, "max-connections", "connections at a time").Check(func() error {
		if o.Max < 1 {
			return errors.New("want at least 1")
		}
		return nil
	})
	s.Int64(&o.Window, "window", "messages remembered")
	s.Float64(&o.Rate, "rate-limit", "requests per second and connection")
	s.Bytes(&o.Frame, "max-frame", "largest frame")
	s.Duration(&o.Grace, "grace", "time to stop in")
	s.Section("Program")
	s.Bool(&o.Pprof, "pprof", "serve profiles on the admin port")
	s.String(&o.Level, "log-level", "least level logged").OneOf("debug", "info", "warn", "error")
	s.Secret(&o.Key, "jwt-secret", "key that signs HS256 tokens")
	return s
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parley.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines loads and returns the lines of the error.
func lines(t *testing.T, s *Set, args, environ []string) []string {
	t.Helper()
	action, err := s.Load(args, environ, &bytes.Buffer{})
	if err == nil {
		t.Fatal("no error")
	}
	if action != Stop {
		t.Errorf("action %v beside the error %v", action, err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestPrecedence(t *testing.T) {
	var o options
	file := write(t, "http-addr: \":1\"\nmax-connections: 1\nwindow: 1\nallowed-origins: [file]\n")
	environ := []string{"PARLEY_CONFIG=" + file, "PARLEY_MAX_CONNECTIONS=2", "PARLEY_WINDOW=2",
		"PARLEY_ALLOWED_ORIGINS=e1, e2", "PARLEY_HTTP_ADDR=", "HOME=/"}
	action, err := register(&o).Load([]string{"--window", "3"}, environ, nil)
	if action != Run || err != nil {
		t.Fatal(action, err)
	}
	if o.HTTPAddr != ":1" || o.Max != 2 || o.Window != 3 || o.Rate != 50 || !slices.Equal(o.Origins, []string{"e1", "e2"}) {
		t.Errorf("%+v", o)
	}
}

func TestConfigFlagWinsOverVariable(t *testing.T) {
	var o options
	args := []string{"--config=" + write(t, "window: 7")}
	if _, err := register(&o).Load(args, []string{"PARLEY_CONFIG=/does/not/exist"}, nil); err != nil || o.Window != 7 {
		t.Error(o.Window, err)
	}
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		args []string
		good func(o options) bool
	}{
		{[]string{"--http-addr=:1", "--http-addr", ":2"}, func(o options) bool { return o.HTTPAddr == ":2" }},
		{[]string{"--http-addr="}, func(o options) bool { return o.HTTPAddr == "" }},
		{[]string{"--allowed-origins=a,b", "--allowed-origins", "c"}, func(o options) bool {
			return slices.Equal(o.Origins, []string{"a", "b", "c"})
		}},
		{[]string{"--allowed-origins="}, func(o options) bool { return len(o.Origins) == 0 }},
		{[]string{"--pprof"}, func(o options) bool { return o.Pprof }},
		{[]string{"--pprof", "--pprof=false"}, func(o options) bool { return !o.Pprof }},
		{[]string{"--pprof=ON"}, func(o options) bool { return o.Pprof }},
		{[]string{"--window", "-5"}, func(o options) bool { return o.Window == -5 }},
		{[]string{"--rate-limit", "0.25"}, func(o options) bool { return o.Rate == 0.25 }},
		{[]string{"--grace", "1m30s"}, func(o options) bool { return o.Grace == 90*time.Second }},
		{[]string{"--max-frame", "123"}, func(o options) bool { return o.Frame == 123 }},
		{[]string{"--max-frame", "2 MiB"}, func(o options) bool { return o.Frame == 2<<20 }},
		{[]string{"--max-frame", "3kB"}, func(o options) bool { return o.Frame == 3000 }},
		{[]string{"--max-frame", "4k"}, func(o options) bool { return o.Frame == 4096 }},
		{[]string{"--jwt-secret", "x y"}, func(o options) bool { return o.Key.Reveal() == "x y" }},
	} {
		var o options
		if action, err := register(&o).Load(test.args, nil, nil); err != nil || action != Run || !test.good(o) {
			t.Errorf("%q: %v %+v", test.args, err, o)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"--htpp-addr", ":1"}, nil, "unknown flag --htpp-addr: did you mean --http-addr?"},
		{[]string{"--chekc-config"}, nil, "unknown flag --chekc-config: did you mean --check-config?"},
		{[]string{"-http-addr=:1"}, nil, "unknown flag -http-addr: did you mean --http-addr?"},
		{[]string{"--history-addr=:1"}, nil, "unknown flag --history-addr: it is a setting of another program"},
		{[]string{"--zzzzzzzz=:1"}, nil, "unknown flag --zzzzzzzz: the nearest known one is --"},
		{[]string{"--http-addr"}, nil, "flag --http-addr wants a value"},
		{[]string{"--http-addr", "--pprof"}, nil, "flag --http-addr wants a value"},
		{[]string{"--config="}, nil, "flag --config wants a file"},
		{[]string{"--config=/does/not/exist"}, nil, "configuration file: open /does/not/exist: no such file"},
		{[]string{"--check-config=yes"}, nil, "flag --check-config takes no value"},
		{[]string{"serve"}, nil, `unexpected argument "serve": gateway takes flags only`},
		{[]string{"--", "--pprof"}, nil, `unexpected argument "--pprof"`},
		{[]string{"--pprof=maybe"}, nil, `pprof: "maybe" from flag --pprof: want true or false`},
		{[]string{"--max-connections=0"}, nil, `max-connections: "0" from flag --max-connections: want at least 1`},
		{[]string{"--max-connections=99999999999999999999"}, nil, "want a whole number of 64 bits"},
		{[]string{"--rate-limit=NaN"}, nil, "want a number, such as 0.5"},
		{[]string{"--grace=30"}, nil, "want a time span with its unit"},
		{[]string{"--grace=-1s"}, nil, "not negative"},
		{[]string{"--max-frame=1XB"}, nil, "want a size in bytes"},
		{[]string{"--max-frame=-1"}, nil, "want a size in bytes"},
		{[]string{"--max-frame=9000000TiB"}, nil, "want a size below 8 EiB"},
		{[]string{"--log-level=loud"}, nil, `log-level: "loud" from flag --log-level: want one of debug, info, warn, error`},
		{[]string{"--allowed-origins=a,,b"}, nil, "want a list without empty entries"},
		{[]string{"--jwt-secret=******"}, nil, "jwt-secret: the value from flag --jwt-secret: this is what --print-config"},
		{nil, []string{"PARLEY_HTPP_ADDR=:1"}, "unknown setting PARLEY_HTPP_ADDR: did you mean PARLEY_HTTP_ADDR?"},
		{nil, []string{"PARLEY_HISTORY_ADRR="}, "unknown setting PARLEY_HISTORY_ADRR: did you mean PARLEY_HISTORY_ADDR?"},
		{nil, []string{"PARLEY_HTTP_PORT=8080"}, "unknown setting PARLEY_HTTP_PORT"},
		{nil, []string{"PARLEY_GRACE=soon"}, `grace: "soon" from environment variable PARLEY_GRACE: want a time span`},
	} {
		var o options
		s := register(&o)
		s.AlsoKnown("history-addr")
		got := lines(t, s, test.args, test.environ)
		if len(got) != 1 || !strings.HasPrefix(got[0], test.want) && !strings.Contains(got[0], test.want) {
			t.Errorf("%q %q: got %q, want %q", test.args, test.environ, got, test.want)
		}
	}
}

func TestAllErrorsTogether(t *testing.T) {
	var o options
	file := write(t, "windw: 1\ngrace: never\n")
	got := lines(t, register(&o), []string{"--config", file, "--max-frame=x", "--nope"}, []string{"PARLEY_RATE_LIMIT=fast"})
	if len(got) != 5 {
		t.Errorf("%d errors, want 5:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestSharedEnvironment(t *testing.T) {
	var o options
	s := register(&o)
	s.AlsoKnown("history-addr", "other-key-file")
	_, err := s.Load([]string{"--config", write(t, "history-addr: x\n")}, []string{
		"PARLEY_HISTORY_ADDR=history:7000", "PARLEY_OTHER_KEY_FILE=/run/key",
		// As Kubernetes makes them for services "parley", "parley-nats" and "parley-http-addr".
		"PARLEY_SERVICE_HOST=10.0.0.1", "PARLEY_SERVICE_PORT=80", "PARLEY_PORT=tcp://10.0.0.1:80",
		"PARLEY_NATS_SERVICE_HOST=10.0.0.2", "PARLEY_NATS_SERVICE_PORT=4222", "PARLEY_NATS_SERVICE_PORT_CLIENT=4222",
		"PARLEY_NATS_PORT=tcp://10.0.0.2:4222", "PARLEY_NATS_PORT_4222_TCP=tcp://10.0.0.2:4222",
		"PARLEY_NATS_PORT_4222_TCP_PROTO=tcp", "PARLEY_NATS_PORT_4222_TCP_PORT=4222", "PARLEY_NATS_PORT_4222_TCP_ADDR=10.0.0.2",
		"PARLEY_NATS_PORT_53_UDP_ADDR=10.0.0.2",
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	for _, test := range []struct{ content, want string }{
		{"", ""},
		{"# nothing\n", ""},
		{"---\n", ""},
		{"http-addr:\nmax-connections: ~\n", ""},
		{"http-addr: 8080\npprof: yes\ngrace: 0\n", ""},
		{"allowed-origins:\n  - a\n  - b\n", ""},
		{"allowed-origins: a,b\n", ""},
		{"window: 1\nhtpp-addr: x\n", ":2: unknown setting htpp-addr: did you mean http-addr?"},
		{"PARLEY_HTTP_ADDR: x\n", ":1: unknown setting PARLEY_HTTP_ADDR: did you mean http-addr?"},
		{"httpAddr: x\n", ":1: unknown setting httpAddr: did you mean http-addr?"},
		{"jwt-secret:\na secret in two lines: x\n", ":2: unknown setting …: the nearest known one is "},
		{"window: 1\nwindow: 2\n", ":2: window was given already in line 1"},
		{"\n\nwindow: many\n", `window: "many" from FILE:3: want a whole number`},
		{"window: {a: b}\n", ":1: window: want a value, not a mapping"},
		{"window: [1, 2]\n", `window: "1,2" from FILE:1: want one value, not a list`},
		{"allowed-origins: [[a]]\n", "want a list of plain values"},
		{"- a\n- b\n", `FILE:1: want lines such as "http-addr: :8080"`},
		{"window: 1\n---\nwindow: 2\n", "want one YAML document"},
		{"a: b: c\n", "configuration file: FILE: "},
		{strings.Repeat("#", 1<<20+1), "is larger than 1MiB"},
	} {
		var o options
		file := write(t, test.content)
		_, err := register(&o).Load([]string{"--config", file}, nil, nil)
		switch want := strings.ReplaceAll(test.want, "FILE", file); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", shorten(test.content), err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", shorten(test.content), err, want)
		}
	}
}

func TestOperands(t *testing.T) {
	var o options
	var operands []string
	s := register(&o)
	s.Operands(&operands, "ROOM")
	if _, err := s.Load([]string{"a", "--pprof", "b", "--", "--c"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(operands, []string{"a", "b", "--c"}) || !o.Pprof {
		t.Error(operands, o.Pprof)
	}
}

func TestRequiredAndValidate(t *testing.T) {
	var url string
	s := New("auth", "signs in")
	s.String(&url, "nats-url", "NATS servers").Required()
	s.Validate(func() error { t.Error("validated without what is required"); return nil })
	got := lines(t, s, nil, nil)
	if len(got) != 1 || got[0] != "nats-url is missing: give --nats-url, the environment variable PARLEY_NATS_URL, or nats-url in the file" {
		t.Error(got)
	}

	var o options
	s = register(&o)
	s.Validate(func() error { return errors.Join(errors.New("one"), errors.New("two")) })
	s.Validate(func() error { return errors.New("three") })
	if got := lines(t, s, []string{"--check-config"}, nil); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Error(got)
	}
}

func TestCheckConfig(t *testing.T) {
	var o options
	var out bytes.Buffer
	action, err := register(&o).Load([]string{"--check-config"}, nil, &out)
	if action != Stop || err != nil || out.String() != "configuration ok\n" {
		t.Error(action, err, out.String())
	}
}

func TestHelpAndVersion(t *testing.T) {
	var o options
	var out bytes.Buffer
	action, err := register(&o).Load([]string{"--nope", "-h"}, []string{"PARLEY_NOPE=1"}, &out)
	if action != Stop || err != nil {
		t.Fatal(action, err)
	}
	help := out.String()
	for _, want := range []string{"Usage: gateway [flags]\n", "\nListening\n  --http-addr text, PARLEY_HTTP_ADDR\n",
		"(default: :8080)", "(default: 64KiB)", "--log-level debug|info|warn|error", "--pprof[=false]",
		"PARLEY_JWT_SECRET_FILE", "--print-config", "PARLEY_CONFIG"} {
		if !strings.Contains(help, want) {
			t.Errorf("no %q in\n%s", want, help)
		}
	}
	for line := range strings.Lines(help) {
		if utf8.RuneCountInString(line) > 101 {
			t.Errorf("wider than 100 columns: %q", line)
		}
	}
	out.Reset()
	action, err = register(&o).Load([]string{"--version"}, nil, &out)
	if action != Stop || err != nil || !strings.HasPrefix(out.String(), "gateway "+Version()+" (go1.") {
		t.Error(action, err, out.String())
	}
}

func TestRegistrationPanics(t *testing.T) {
	for _, name := range []string{"http-addr", "Http", "a_b", "-a", "a-", "config", "help", "jwt-secret-file", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was registered", name)
				}
			}()
			var o options
			register(&o).String(new(string), name, "")
		}()
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"htpp", "http", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"abcd", "acbd", 1}} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
		if got := editDistance(test.b, test.a); got != test.want {
			t.Errorf("%q to %q: %d, want %d", test.b, test.a, got, test.want)
		}
	}
}
