package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Stored is one entry of a room's log, in its place.
type Stored struct {
	Room string
	Seq  uint64
	// Prev is the seq of the newest earlier entry that the log held when this
	// one was stored, 0 if none. Only entries that come out of the log live
	// have it: a read gives a chain by itself.
	Prev uint64
	// Entry is nil where something that is not ours was written to the log: it
	// has a place, so that it is no hole, and is not delivered.
	Entry *busv1.LogEntry
	// Trace is nil for entries that are not traced, and always where Options.Traces is.
	Trace *Trace
}

// LogConfig says how much the log keeps.
type LogConfig struct {
	// Retention is how many entries of each room are kept; default 1000.
	Retention int64
	// MaxAge is how long an entry is kept; 0 is for ever.
	MaxAge time.Duration
	// Window is how long a message id is remembered for deduplication; default
	// 2 minutes. Each id costs the server memory for as long.
	Window time.Duration
}

// Complete puts in what is not set.
func (c *LogConfig) Complete() error {
	if c.Retention == 0 {
		c.Retention = 1000
	}
	if c.Window == 0 {
		c.Window = 2 * time.Minute
	}
	switch {
	case c.Retention < 0:
		return fmt.Errorf("retention: %d is less than 1", c.Retention)
	case c.MaxAge < 0:
		return fmt.Errorf("max-age: %s is negative", c.MaxAge)
	case c.Window < 100*time.Millisecond:
		return fmt.Errorf("dedup-window: %s is less than 100ms", c.Window)
	case c.MaxAge > 0 && c.Window > c.MaxAge:
		return fmt.Errorf("dedup-window: %s is longer than max-age, %s", c.Window, c.MaxAge)
	}
	return nil
}

// EnsureLog makes the streams of the log, or brings those that are there to
// this configuration. It is called by the one service that owns the log, whose
// replicas keep out of each other's way: each has an order of its own.
func (b *Bus) EnsureLog(ctx context.Context, c LogConfig) error {
	if err := c.Complete(); err != nil {
		return err
	}
	for _, shard := range rand.Perm(b.deployment.Shards) {
		if err := b.makeStream(ctx, b.streamConfig(shard, c)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bus) streamConfig(shard int, c LogConfig) jetstream.StreamConfig {
	n := strconv.Itoa(shard)
	return jetstream.StreamConfig{
		Name:              streamLog(shard),
		Description:       "Messages of Parley's rooms, one subject per room.",
		Subjects:          []string{subjectLog + n + ".*"},
		Storage:           jetstream.FileStorage,
		Replicas:          b.opts.Replicas,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: c.Retention,
		MaxAge:            c.MaxAge,
		Duplicates:        c.Window,
		AllowDirect:       true,
		// Stored first, then delivered: what members get is what the stream
		// sends on after it has kept it, with the place it has given it.
		RePublish: &jetstream.RePublish{
			Source:      subjectLog + n + ".*",
			Destination: subjectOut + n + ".{{wildcard(1)}}",
		},
	}
}

// LogLimits tells how much a shard of the log (see Shard) keeps of each room, as its
// leader has it now. All are set to the same, but not in the same moment. Errors:
// unavailable.
func (b *Bus) LogLimits(ctx context.Context, shard int) (LogConfig, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var answer struct {
		apiAnswer
		Config jetstream.StreamConfig `json:"config"`
	}
	err := b.askLeader(ctx, "STREAM.INFO."+streamLog(shard), nil, &answer)
	if err == nil {
		err = answer.error()
	}
	if err != nil {
		return LogConfig{}, errs.Missing("the log", fmt.Errorf("reading its limits: %w", err))
	}
	config := answer.Config
	b.noteDurability(config)
	return LogConfig{Retention: config.MaxMsgsPerSubject, MaxAge: config.MaxAge, Window: config.Duplicates}, nil
}

// Tail gives the seq of a room's newest entry, 0 if it has none. It asks the
// stream's leader, so nothing acknowledged before is missing.
func (b *Bus) Tail(ctx context.Context, room string) (uint64, error) {
	seq, err := b.place(ctx, room, map[string]any{"last_by_subj": b.logSubject(room)})
	if err != nil {
		return 0, errs.Missing("the log", fmt.Errorf("reading the tail of %s: %w", room, err))
	}
	return seq, nil
}

// place asks the stream's leader for one entry of a room and gives its seq, 0
// where there is none.
func (b *Bus) place(ctx context.Context, room string, which map[string]any) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(which)
	if err != nil {
		return 0, err
	}
	var answer struct {
		apiAnswer
		Message struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
	}
	err = b.askLeader(ctx, "STREAM.MSG.GET."+b.streamOf(room), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return answer.Message.Seq, err
}

// Erase takes a room's whole log away, and tells how many entries it had.
func (b *Bus) Erase(ctx context.Context, room string) (uint64, error) {
	return b.purge(ctx, room, map[string]any{"filter": b.logSubject(room)})
}

// Trim takes all but the newest entries of a room's log away, as its retention
// does, and tells how many that were. keep is at least 1: without any entry the
// log could not tell what it had.
//
// A log that has no more is left alone: nothing is written then, which of a
// replicated log takes all its nodes.
func (b *Bus) Trim(ctx context.Context, room string, keep uint32) (uint64, error) {
	n, err := b.entries(ctx, room)
	if err != nil || n <= uint64(max(keep, 1)) {
		return 0, err
	}
	return b.purge(ctx, room, map[string]any{"filter": b.logSubject(room), "keep": max(keep, 1)})
}

// entries asks the stream's leader how many entries a room's log has.
func (b *Bus) entries(ctx context.Context, room string) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(map[string]string{"subjects_filter": b.logSubject(room)})
	if err != nil {
		return 0, err
	}
	var answer struct {
		apiAnswer
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
	}
	err = b.askLeader(ctx, "STREAM.INFO."+b.streamOf(room), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if err != nil {
		return 0, errs.Missing("the log", fmt.Errorf("counting the entries of %s: %w", room, err))
	}
	return answer.State.Subjects[b.logSubject(room)], nil
}

func (b *Bus) purge(ctx context.Context, room string, which map[string]any) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	request, err := json.Marshal(which)
	if err != nil {
		return 0, err
	}
	var answer struct {
		apiAnswer
		Purged uint64 `json:"purged"`
	}
	err = b.api(ctx, "STREAM.PURGE."+b.streamOf(room), request, &answer)
	if err == nil {
		err = answer.error()
	}
	if err != nil {
		return 0, errs.Missing("the log", fmt.Errorf("erasing %s: %w", room, err))
	}
	return answer.Purged, nil
}

// Shard is that of the log which a room is in, from 0 on.
func (b *Bus) Shard(room string) int { return shardOf(room, b.deployment.Shards) }

func (b *Bus) streamOf(room string) string { return streamLog(b.Shard(room)) }

// apiAnswer is the part that all answers of the JetStream API share.
type apiAnswer struct {
	Error *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// errCodeNoMessage is JetStream's "no message found".
const errCodeNoMessage = 10037

func (a apiAnswer) error() error {
	switch {
	case a.Error == nil:
		return nil
	case a.Error.ErrCode == errCodeNoMessage:
		return ErrNotFound
	}
	return fmt.Errorf("JetStream answered %d: %s", a.Error.ErrCode, a.Error.Description)
}

// api calls the JetStream API where nats.go's own functions would ask a
// replica that may lag, or hide what they got.
func (b *Bus) api(ctx context.Context, call string, request []byte, answer any) error {
	msg, err := b.nc.RequestWithContext(ctx, "$JS.API."+call, request)
	if err != nil {
		return err
	}
	return json.Unmarshal(msg.Data, answer)
}

// askAgain is after what time a leader that has not answered is asked once more.
const askAgain = 500 * time.Millisecond

// askLeader is api for what may be asked twice. While a leader is elected nobody
// answers, and the one that is elected then was never asked: so it is asked again
// and again, and whichever answer comes first is taken. That takes a subscription,
// which nearly all can do without: their first question is answered at once.
func (b *Bus) askLeader(ctx context.Context, call string, request []byte, answer any) error {
	once, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	err := b.api(once, call, request, answer)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	sub, err := b.nc.SubscribeSync(b.nc.NewInbox())
	if err != nil {
		return err
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only when the connection is closed
	for {
		if err := b.nc.PublishRequest("$JS.API."+call, sub.Subject, request); err != nil {
			return err
		}
		msg, err := nextWithin(ctx, sub, askAgain)
		switch {
		case err == nil && len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
			return nats.ErrNoResponders
		case err == nil:
			return json.Unmarshal(msg.Data, answer)
		case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
			return err
		}
	}
}

// decodeStored reads one message that came out of the log, live or by a read.
func (b *Bus) decodeStored(msg *nats.Msg, subject string) (Stored, error) {
	s, err := decodePlace(msg, subject)
	if err != nil {
		return s, err
	}
	s.Entry = b.entryOf(subject, msg.Data)
	s.Trace = b.traceOf(msg)
	return s, nil
}

// decodePlace reads only where a message stands.
func decodePlace(msg *nats.Msg, subject string) (Stored, error) {
	var s Stored
	var err error
	if s.Room, err = roomOf(subject); err != nil {
		return s, err
	}
	if s.Seq, err = strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64); err != nil {
		return s, fmt.Errorf("header %s: %w", headerSequence, err)
	}
	if prev := msg.Header.Get(headerPrevious); prev != "" {
		if s.Prev, err = strconv.ParseUint(prev, 10, 64); err != nil {
			return s, fmt.Errorf("header %s: %w", headerPrevious, err)
		}
	}
	return s, nil
}
