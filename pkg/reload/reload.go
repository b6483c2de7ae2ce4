// Package reload keeps what was made of some files, and makes it anew when they
// have changed.
//
// It looks when it is asked, at most once a second, and at what the files
// contain: so it needs no goroutine, and every way of replacing a file is seen,
// that of Kubernetes too, which swaps a symbolic link to the whole directory. A
// file that cannot be read or understood any more, or not yet because another
// one that belongs to it is still being written, leaves what was made before
// in force.
package reload

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultEvery is how often files are looked at.
	defaultEvery = time.Second
	// maxFile bounds a file, in bytes.
	maxFile = 1 << 20
)

// Options says how files are looked at.
type Options struct {
	// Every is the least time between two looks; default 1 s.
	Every time.Duration
	// Logger hears what has changed and what is wrong; nil discards.
	Logger *slog.Logger
}

// Value is what was made of some files. Its methods may be called by many
// goroutines at once.
type Value[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)
	every time.Duration
	log   *slog.Logger

	current atomic.Pointer[T]
	began   time.Time
	next    atomic.Int64 // when to look again, since then, ns: whoever sets the clock does not put it off

	mu     sync.Mutex // of a look
	seen   digest
	failed string // the failure that was logged last
}

// digest stands for what the files contained: secrets are not kept.
type digest [sha256.Size]byte

// New makes a value of the files for the first time. parse gets their
// contents in the order of the paths.
func New[T any](o Options, parse func(contents [][]byte) (T, error), paths ...string) (*Value[T], error) {
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Value[T]{paths: paths, parse: parse, every: o.Every, log: o.Logger, began: time.Now()}
	contents, seen, err := v.read()
	if err != nil {
		return nil, err
	}
	made, err := parse(contents)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(paths, ", "), err)
	}
	v.seen = seen
	v.current.Store(&made)
	v.next.Store(int64(v.every))
	return v, nil
}

// Get gives what the files say, or said when they could last be understood.
func (v *Value[T]) Get() T {
	// Who finds somebody else looking takes what there is.
	if int64(time.Since(v.began)) >= v.next.Load() && v.mu.TryLock() {
		v.look()
		v.next.Store(int64(time.Since(v.began) + v.every))
		v.mu.Unlock()
	}
	return *v.current.Load()
}

func (v *Value[T]) look() {
	contents, seen, err := v.read()
	if err == nil && seen == v.seen {
		v.failed = ""
		return
	}
	if err == nil {
		var made T
		if made, err = v.parse(contents); err == nil {
			v.current.Store(&made)
			v.seen, v.failed = seen, ""
			v.log.Info("files were read anew", "files", v.paths)
			return
		}
	}
	if text := err.Error(); text != v.failed {
		v.failed = text
		v.log.Error("files have changed and cannot be used; what they said before holds", "files", v.paths, "error", err)
	}
}

func (v *Value[T]) read() ([][]byte, digest, error) {
	contents := make([][]byte, len(v.paths))
	hash := sha256.New()
	for i, path := range v.paths {
		var err error
		if contents[i], err = readFile(path); err != nil {
			return nil, digest{}, err
		}
		one := sha256.Sum256(contents[i])
		hash.Write(one[:])
	}
	return contents, digest(hash.Sum(nil)), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return content, err
}
