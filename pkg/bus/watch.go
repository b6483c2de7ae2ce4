package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/run"
)

const (
	// watchHeartbeat is how often the server shows that a watch still stands.
	// After two that are missing it is made anew, where it was: a node that
	// held it may have gone. jetstream.KeyValue.Watch notices after 10 to 20 s,
	// which is too long for a change of rights.
	watchHeartbeat = 500 * time.Millisecond
	// watchForgotten is when the server drops a watch that nobody reads.
	watchForgotten = time.Minute
	// watchPause is between tries to make a watch anew, and reopenTimeout how long
	// one may take; it takes some 10 ms.
	watchPause    = 250 * time.Millisecond
	reopenTimeout = 2 * time.Second
	// watchResets keeps nats.go from making a consumer anew by itself more than
	// once: it would try the same name for ever, and a consumer that NATS (2.15.2)
	// has given to a node that has just been lost answers under that name only
	// when the node is back. A consumer of another name gets another node.
	watchResets = 1
)

// Watch sends all present entries that match pattern, then one entry with an
// empty Key to say that they are all, then every change, until ctx ends; the
// channel is closed then. After a lost connection it goes on where it was, and
// shows keys that were deleted meanwhile (as long as markerTTL). A reader that
// does not read holds up only itself.
func (k *KV) Watch(ctx context.Context, pattern string) (<-chan Entry, error) {
	w := &watch{kv: k, pattern: pattern, out: make(chan Entry, 256)}
	if err := w.open(ctx); err != nil {
		return nil, fmt.Errorf("watching %s/%s: %w", k.bucket, pattern, err)
	}
	go w.run(ctx) // until ctx ends
	return w.out, nil
}

// watch is one watch; run's goroutine owns it.
type watch struct {
	kv      *KV
	pattern string
	out     chan Entry

	messages jetstream.MessagesContext
	last     uint64 // revision that was sent last
	told     bool   // that the present entries are all
	present  uint64 // entries that are still to come before that
}

// open begins the watch, or goes on after the last revision.
func (w *watch) open(ctx context.Context) error {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{w.kv.subject(w.pattern)},
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		InactiveThreshold: watchForgotten,
		MaxResetAttempts:  watchResets,
	}
	if w.last > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, w.last+1
	}
	opening, cancel := withTimeout(ctx)
	defer cancel()
	consumer, err := w.kv.b.js.OrderedConsumer(opening, "KV_"+string(w.kv.bucket), config)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(watchHeartbeat), jetstream.PullExpiry(10*time.Second))
	if err != nil {
		return err
	}
	w.messages, w.present = messages, consumer.CachedInfo().NumPending
	return nil
}

func (w *watch) run(ctx context.Context) {
	defer close(w.out)
	defer func() { w.messages.Stop() }()
	for {
		if w.present == 0 && !w.told {
			w.told = true
			if !w.send(ctx, Entry{}) {
				return
			}
		}
		msg, err := w.messages.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.kv.b.log.Info("opening a watch anew", "bucket", w.kv.bucket, "pattern", w.pattern, "error", err)
			if !w.reopen(ctx) {
				return
			}
		default:
			if !w.take(ctx, msg) {
				return
			}
		}
	}
}

// take sends on one entry; false when ctx has ended.
func (w *watch) take(ctx context.Context, msg jetstream.Msg) bool {
	meta, err := msg.Metadata()
	if err != nil || meta.Sequence.Stream <= w.last {
		return true // cannot be, and was sent
	}
	w.last = meta.Sequence.Stream
	if w.present > 0 {
		// Some of those that were counted may have expired meanwhile.
		w.present = min(w.present-1, meta.NumPending)
	}
	return w.send(ctx, Entry{
		Key:      strings.TrimPrefix(msg.Subject(), w.kv.subject("")),
		Value:    msg.Data(),
		Revision: meta.Sequence.Stream,
		Deleted:  isMarker(msg.Headers()),
		Stored:   meta.Timestamp,
	})
}

func (w *watch) send(ctx context.Context, e Entry) bool {
	select {
	case <-ctx.Done():
		return false
	case w.out <- e:
		return true
	}
}

func (w *watch) reopen(ctx context.Context) bool {
	w.messages.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, reopenTimeout)
		err := w.open(attempt)
		cancel()
		if err == nil {
			return true
		}
		if !run.Sleep(ctx, watchPause) {
			return false
		}
	}
}

// isMarker is isTombstone for headers that are read already.
func isMarker(h nats.Header) bool {
	return h.Get("KV-Operation") == "DEL" || h.Get("KV-Operation") == "PURGE" || h.Get("Nats-Marker-Reason") != ""
}

func (k *KV) subject(key string) string { return "$KV." + string(k.bucket) + "." + key }
