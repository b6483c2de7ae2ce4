package reload_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/pkg/reload"
)

// text makes a value of two files, whose texts must both be there.
func text(contents [][]byte) (string, error) {
	if len(contents[0]) == 0 || len(contents[1]) == 0 {
		return "", errors.New("one is empty")
	}
	return string(contents[0]) + "+" + string(contents[1]), nil
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValue(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	if _, err := reload.New(reload.Options{}, text, a, b); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	write(t, b, "")
	if _, err := reload.New(reload.Options{}, text, a, b); err == nil || !strings.Contains(err.Error(), "one is empty") {
		t.Errorf("with a file that is not understood: %v", err)
	}
	write(t, b, "1")
	synctest.Test(t, func(t *testing.T) {
		var logs strings.Builder
		v, err := reload.New(reload.Options{Logger: slog.New(slog.NewTextHandler(&logs, nil))}, text, a, b)
		if err != nil {
			t.Fatal(err)
		}
		is := func(want string) {
			t.Helper()
			if got := v.Get(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		is("1+1")
		write(t, a, "2")
		is("1+1") // it is not time yet
		time.Sleep(time.Second)
		is("2+1")
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Second)
			is("2+1")
		}
		if n := strings.Count(logs.String(), "cannot be used"); n != 1 {
			t.Errorf("told %d times that a file is gone:\n%s", n, logs.String())
		}
		write(t, b, "3")
		time.Sleep(time.Second)
		is("2+3")
		write(t, a, strings.Repeat("x", 1<<20+1))
		time.Sleep(time.Second)
		is("2+3")
		if !strings.Contains(logs.String(), "larger than") {
			t.Errorf("a huge file was read:\n%s", logs.String())
		}
	})
}

func TestManyAsk(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	write(t, b, "1")
	v, err := reload.New(reload.Options{Every: time.Nanosecond}, text, a, b)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if got := v.Get(); got != "1+1" && got != "2+1" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	next := filepath.Join(dir, "next")
	write(t, next, "2")
	if err := os.Rename(next, a); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
