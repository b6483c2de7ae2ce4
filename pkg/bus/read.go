package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/run"
)

// Page is a part of a room's log, oldest entry first.
type Page struct {
	Entries []Stored
	// More says whether the log holds more in the direction of the reading.
	More bool
	// Others is how many entries were passed over that are not ours.
	Others int
}

// MaxPage is the most entries one read gives.
const MaxPage = 1000

// ReadAfter reads the oldest entries with a seq greater than after, at most
// limit (1 to MaxPage) of them. An entry up to reach that is known to have
// been stored is waited for when the replica that answers has not got it yet;
// 0 expects nothing. Errors: unavailable.
func (b *Bus) ReadAfter(ctx context.Context, room string, after uint64, limit int, reach uint64) (Page, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var page Page
	var erased time.Time // since when the leader says that there is no more
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		for {
			last, pending, err := b.batch(ctx, room, after+1, limit-len(page.Entries), &page)
			if err != nil {
				return Page{}, errs.Missing("the log", fmt.Errorf("reading %s after %d: %w", room, after, err))
			}
			page.More = pending > 0
			after = max(after, last)
			// The server ends a batch early when it has many bytes.
			if !page.More || len(page.Entries) >= limit || last == 0 {
				break
			}
		}
		if len(page.Entries) >= limit || after >= reach {
			return page, nil
		}
		// What was known to be stored may have been erased since: the leader
		// knows. One that has just been deposed does not, and answers for a
		// moment all the same, so it is believed when it says so for a while.
		switch tail, err := b.Tail(ctx, room); {
		case err != nil || after < tail:
			erased = time.Time{}
		case erased.IsZero():
			erased = time.Now()
		case time.Since(erased) >= believe:
			return page, nil
		}
		if !run.Sleep(ctx, pause) {
			return Page{}, errs.Missing("the log", fmt.Errorf("reading %s: no replica has reached %d: %w", room, reach, ctx.Err()))
		}
	}
}

// believe is for how long a leader must say that an entry which was stored is
// gone. Only rooms that were erased, or have expired, are asked about one.
const believe = 200 * time.Millisecond

// ReadNewest reads the newest entries with a seq smaller than before (0: the
// newest of all), at most limit (1 to MaxPage) of them. reach is as in
// ReadAfter. Errors: unavailable.
//
// JetStream reads only forward from a sequence, and the sequences of one room
// lie scattered among those of its shard. So the start is searched: the server
// tells with each message how many of the room follow it, and a few probes
// between the oldest and the newest find a place with a little more than limit
// ahead.
func (b *Bus) ReadNewest(ctx context.Context, room string, before uint64, limit int, reach uint64) (Page, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	page, err := b.readNewest(ctx, room, before, limit, reach)
	if err != nil {
		return Page{}, errs.Missing("the log", fmt.Errorf("reading the newest of %s before %d: %w", room, before, err))
	}
	return page, nil
}

func (b *Bus) readNewest(ctx context.Context, room string, before uint64, limit int, reach uint64) (Page, error) {
	tail, err := b.Tail(ctx, room)
	if tail = max(tail, reach); err != nil || tail == 0 {
		return Page{}, err
	}
	first, total, err := b.probe(ctx, room, 0)
	if err != nil {
		return Page{}, err
	}
	if total == 0 {
		// The replica has nothing of the room yet; what is read from its
		// beginning on is waited for.
		first = 1
	}
	end := tail + 1 // exclusive
	var beyond uint64
	if before != 0 && before < end {
		end = before
		if _, beyond, err = b.probe(ctx, room, before); err != nil {
			return Page{}, err
		}
	}
	if first >= end {
		return Page{}, nil
	}
	// Where may the page begin? low has enough entries ahead of it, high too
	// few; each probe guesses as if the room's entries were spread evenly.
	slack := uint64(limit) + 32
	want := beyond + uint64(limit)
	low, lowAhead := first, total
	high, highAhead := end, beyond
	for range 16 {
		if lowAhead <= want+slack || high-low < 2 || lowAhead <= highAhead {
			break
		}
		share := float64(lowAhead-want-slack/2) / float64(lowAhead-highAhead)
		guess := min(max(low+uint64(share*float64(high-low)), low+1), high-1)
		seq, ahead, err := b.probe(ctx, room, guess)
		if err != nil {
			return Page{}, err
		}
		if ahead >= want {
			low, lowAhead = seq, ahead
		} else {
			high, highAhead = guess, ahead
		}
	}
	var entries []Stored
	others := 0
	for after := low - 1; ; {
		page, err := b.ReadAfter(ctx, room, after, MaxPage, min(reach, end-1))
		if err != nil {
			return Page{}, err
		}
		others += page.Others
		for _, s := range page.Entries {
			after = s.Seq
			if s.Seq < end {
				entries = append(entries, s)
			}
		}
		if !page.More || after >= end-1 {
			break
		}
	}
	// Where it was read from the first on, that is all there is: first itself may
	// be no entry, but the beginning of a log that the replica had nothing of.
	more := low > first
	if len(entries) > limit {
		entries, more = entries[len(entries)-limit:], true
	}
	return Page{Entries: entries, More: more, Others: others}, nil
}

// First gives the seq of the oldest entry that the log still holds of a room,
// 0 if it has none. It asks the stream's leader, so nothing that was dropped
// before is given. Errors: unavailable.
func (b *Bus) First(ctx context.Context, room string) (uint64, error) {
	seq, err := b.place(ctx, room, map[string]any{"seq": 1, "next_by_subj": b.logSubject(room)})
	if err != nil {
		return 0, errs.Missing("the log", fmt.Errorf("reading the oldest of %s: %w", room, err))
	}
	return seq, nil
}

// probe finds the room's first entry at or after seq and tells how many there
// are from it on, itself included.
func (b *Bus) probe(ctx context.Context, room string, seq uint64) (found, ahead uint64, err error) {
	last, pending, err := b.batch(ctx, room, seq, 1, new(Page))
	if err != nil || last == 0 {
		return 0, 0, err
	}
	return last, pending + 1, nil
}

// batchRequest is a direct read of several messages (NATS ADR-31).
type batchRequest struct {
	Seq       uint64   `json:"seq,omitempty"`
	Next      string   `json:"next_by_subj,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	MaxBytes  int      `json:"max_bytes,omitempty"`
}

const (
	// maxBatchBytes bounds what one read puts into this process's queue at once.
	maxBatchBytes = 4 << 20
	// silence is how long one message of an answer is waited for. A lost one
	// would else be waited for as long as the caller has time.
	silence = 2 * time.Second
	// unknown is for how long a read is asked again where nobody answers it: when
	// a node or a stream is new, the node has yet to hear who does.
	unknown = time.Second
)

// batch reads entries from seq on into a page. last is the seq it has come to,
// 0 where there is nothing, and pending how many of the room follow.
func (b *Bus) batch(ctx context.Context, room string, seq uint64, limit int, page *Page) (last, pending uint64, err error) {
	request := batchRequest{Seq: max(seq, 1), Next: b.logSubject(room), Batch: limit, MaxBytes: maxBatchBytes}
	pending, last, err = b.direct(ctx, b.streamOf(room), request, func(msg *nats.Msg) (uint64, error) {
		s, err := b.decodeStored(msg, msg.Header.Get("Nats-Subject"))
		s.Prev = 0 // relative to the batch, never to the room's log
		switch {
		case err != nil:
		case s.Entry != nil:
			page.Entries = append(page.Entries, s)
		default:
			page.Others++
		}
		return s.Seq, err
	})
	return last, pending, err
}

// direct makes a direct read and hands each message to take, which gives its
// seq. last is the last one's, 0 where there is nothing, and pending how many
// follow.
func (b *Bus) direct(ctx context.Context, stream string, request batchRequest, take func(*nats.Msg) (uint64, error)) (pending, last uint64, err error) {
	payload, err := json.Marshal(request)
	if err != nil {
		return 0, 0, err
	}
	for until := time.Now().Add(unknown); ; {
		pending, last, err = b.directOnce(ctx, stream, payload, take)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(until) || !run.Sleep(ctx, unknown/20) {
			return pending, last, err
		}
	}
}

// directOnce is direct, where nats.ErrNoResponders says that nobody was asked, and
// so nothing handed to take.
func (b *Bus) directOnce(ctx context.Context, stream string, request []byte, take func(*nats.Msg) (uint64, error)) (pending, last uint64, err error) {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, 0, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only when the connection is closed
	if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		return 0, 0, err
	}
	for {
		msg, err := nextWithin(ctx, sub, silence)
		if err != nil {
			return 0, 0, err
		}
		// Each message tells the one before it in the answer, and so does the
		// end: an answer that lost a part on its way is no answer.
		if previous := msg.Header.Get(headerPrevious); previous != "" && previous != strconv.FormatUint(last, 10) {
			return 0, 0, fmt.Errorf("the log's answer has a hole between %d and %s", last, previous)
		}
		switch status := msg.Header.Get("Status"); status {
		case "": // an entry
			if last, err = take(msg); err != nil {
				return 0, 0, err
			}
		case "204": // the end
			pending, err = strconv.ParseUint(msg.Header.Get(headerNumPending), 10, 64)
			return pending, last, err
		case "404": // nothing there
			return 0, last, nil
		case "503":
			return 0, 0, nats.ErrNoResponders
		default:
			return 0, 0, errors.New("the log answered " + status + " " + msg.Header.Get("Description"))
		}
	}
}

func nextWithin(ctx context.Context, sub *nats.Subscription, d time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
