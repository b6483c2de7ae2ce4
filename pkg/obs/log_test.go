package obs

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLoggerFormats(t *testing.T) {
	for _, test := range []struct{ format, want string }{
		{"json", `^\{"time":"[^"]+","level":"INFO","msg":"opened","room":"r1","duration":"1.5s"\}\n$`},
		{"auto", `^\{"time":`}, // a buffer is no terminal
		{"", `^\{"time":`},
		{"text", `^\d\d:\d\d:\d\d\.\d{3} INFO  opened room=r1 duration=1.5s\n$`},
	} {
		var b bytes.Buffer
		log, err := NewLogger(&b, "info", test.format)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("not written")
		log.Info("opened", "room", "r1", "duration", 1500*time.Millisecond)
		if !regexp.MustCompile(test.want).Match(b.Bytes()) {
			t.Errorf("%s: %q", test.format, b.String())
		}
	}
}

func TestLoggerLevels(t *testing.T) {
	for i, level := range []string{"debug", "info", "warn", "error"} {
		var b bytes.Buffer
		log, err := NewLogger(&b, level, "text")
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("a")
		log.Info("b")
		log.Warn("c")
		log.Error("d")
		if got := strings.Count(b.String(), "\n"); got != 4-i {
			t.Errorf("%s: %d lines, want %d:\n%s", level, got, 4-i, b.String())
		}
	}
}

func TestLoggerRefuses(t *testing.T) {
	for _, test := range [][2]string{{"loud", "json"}, {"INFO", "json"}, {"info", "xml"}} {
		if _, err := NewLogger(&bytes.Buffer{}, test[0], test[1]); err == nil {
			t.Errorf("%q: no error", test)
		}
	}
}

func TestReadable(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newReadable(&b, slog.LevelInfo))
	for _, test := range []struct {
		write func()
		want  string
	}{
		{func() { log.Info("plain") }, "INFO  plain\n"},
		{func() { log.Warn("two", "a", 1, "b", "x y") }, "WARN  two a=1 b=\"x y\"\n"},
		{func() { log.With("conn", 7).WithGroup("user").Error("in", "id", "u", "msg", "m") }, "ERROR in conn=7 user.id=u user.msg=m\n"},
		{func() { log.Info("x", "msg", "kept", "level", "kept", "time", "kept") }, "INFO  x msg=kept level=kept time=kept\n"},
		{func() { log.Info("x", "name", "\x1b[2J") }, "INFO  x name=\"\\x1b[2J\"\n"},
		{func() { log.Info("a\nb") }, "INFO  \"a\\nb\"\n"},
		{func() { log.Info("") }, "INFO  \n"},
	} {
		b.Reset()
		test.write()
		if _, got, _ := strings.Cut(b.String(), " "); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if terminal(w) || !terminal(null) {
		t.Errorf("a pipe: %v, a device: %v", terminal(w), terminal(null))
	}
}

// Lines of many goroutines do not mix.
func TestReadableConcurrent(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newReadable(&b, slog.LevelInfo))
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 100 {
				log.With("g", i).Info("line", "k", "v")
			}
		}()
	}
	for range 8 {
		<-done
	}
	whole := regexp.MustCompile(`(?m)^\S+ INFO  line g=\d k=v$`)
	if got := len(whole.FindAll(b.Bytes(), -1)); got != 800 {
		t.Errorf("%d whole lines of 800", got)
	}
}
