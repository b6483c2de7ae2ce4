package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Ack says where the log has put a message.
type Ack struct {
	Seq uint64
	// Duplicate: the log had a message of this id already, at Seq. It is also
	// set when a publish had to be sent again and its first sending turns out
	// to have been stored.
	Duplicate bool
}

// Publish stores an entry in a room's log and waits for the acknowledgement.
// id (ids.Message) makes storing it twice within the deduplication window
// impossible; an empty one gets a name of its own, which covers the retries of
// this call. Errors: unavailable, when the log could not be reached within
// PublishTimeout; the entry may be stored nonetheless.
func (b *Bus) Publish(ctx context.Context, room, id string, entry *busv1.LogEntry) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	done := make(chan result, 1)
	b.publisher.start(ctx, ownAnswers, room, id, entry, func(_ int, ack Ack, err error) { done <- result{ack, err} })
	select {
	case r := <-done:
		return r.ack, r.err
	case <-ctx.Done():
		return Ack{}, errs.Missing("the log", ctx.Err())
	}
}

// PublishAsync is Publish for callers that do not wait: done is called once,
// by a goroutine of the bus that must not be held up, or by the caller itself
// before PublishAsync returns when the publish is refused; so done must not
// want a lock that the caller holds. Entries of one room
// reach the log in the order of these calls, unless NATS, or a connection to
// it that broke, refused or lost some of those that were on their way at once,
// and not those behind them.
func (b *Bus) PublishAsync(room, id string, entry *busv1.LogEntry, done func(Ack, error)) {
	b.publisher.start(context.Background(), ownAnswers, room, id, entry, func(_ int, ack Ack, err error) { done(ack, err) })
}

// start publishes an entry whose acknowledgement comes to the inbox of some
// name. done is told which worker calls it, -1 for none. ctx tells the trace, and nothing else.
func (p *publisher) start(ctx context.Context, inbox, room, id string, entry *busv1.LogEntry, done func(worker int, ack Ack, err error)) {
	payload, err := proto.Marshal(entry)
	if err != nil {
		done(-1, Ack{}, fmt.Errorf("encoding a message: %w", err))
		return
	}
	if id == "" {
		id = ids.New("")
	}
	msg := &nats.Msg{
		Subject: p.b.logSubject(room),
		Header:  nats.Header{headerMsgID: []string{id}},
		Data:    payload,
	}
	if p.b.tracer != nil {
		done = p.b.traced(ctx, msg, done)
	}
	p.publish(shardOf(room, p.b.deployment.Shards), inbox, &pending{msg: msg, done: done})
}

// publisher sends the messages of every room to the log without waiting for
// each one's acknowledgement.
//
// Each shard has a lane: the publishes on their way in the order in which they
// were made. When one fails in a way that will pass (no responders while a
// leader is elected, no answer, a cut connection), the lane stops taking the
// straight way: it waits a little and then sends everything unacknowledged
// again, in order and under the same ids, so that what had been stored after
// all is recognised. New publishes queue up behind.
//
// Where it was refused, mostly because no leader is known, the first goes alone,
// as does the first after a start or a reconnect, and the others follow when it
// is answered. For a node of NATS hears of a leader at some moment: of many sent
// around it those before would be refused and those behind stored, and a room's
// order be another than the one in which they were said. A node that knows no
// leader says so at once; so after ackTimeout of silence they all go, for a log
// that is slow must not be asked one by one.
type publisher struct {
	b      *Bus
	inbox  string // one prefix for all acknowledgements
	sub    *nats.Subscription
	lanes  []lane
	window window

	inFlight               atomic.Int64
	acked, retried, failed atomic.Int64
	refused                atomic.Pointer[refusal] // nil while the log takes messages
	complain               rate.Sometimes          // about that, and
	complained             atomic.Bool             // whether it is to be told when it is over

	ctx    context.Context // ends with the publisher
	cancel context.CancelFunc
	wg     sync.WaitGroup
	silent chan struct{} // closed when answered is not called any more
}

func newPublisher(b *Bus) (*publisher, error) {
	p := &publisher{b: b, inbox: b.nc.NewInbox() + ".", lanes: make([]lane, b.deployment.Shards), silent: make(chan struct{}), complain: rate.Sometimes{Interval: 10 * time.Second}}
	for i := range p.lanes {
		p.lanes[i].byToken = make(map[uint64]*pending)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var err error
	if p.sub, err = b.nc.Subscribe(p.inbox+ownAnswers+".*.*", p.answered); err != nil {
		return nil, fmt.Errorf("subscribing to acknowledgements: %w", err)
	}
	// Every publish on its way is at most one message here; the bound on those
	// is ours, so nats.go needs none.
	if err := p.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("subscribing to acknowledgements: %w", err)
	}
	p.sub.SetClosedHandler(func(string) { close(p.silent) })
	// What was on the wire when the connection broke may never have arrived:
	// it is not worth waiting for an answer.
	b.OnReconnect(p.doubt)
	p.window.init(b.opts.PublishWindow, len(p.lanes), p.sendHeld)
	p.wg.Go(p.watch)
	return p, nil
}

// ownAnswers is the inbox of the acknowledgements that belong to no feed.
const ownAnswers = "p"

func (p *publisher) publish(shard int, inbox string, q *pending) {
	if p.inFlight.Add(1) > int64(p.b.opts.MaxInFlight) {
		p.inFlight.Add(-1)
		p.failed.Add(1)
		q.done(-1, Ack{}, errs.Missing("the log", errors.New("too many publishes are waiting for it")))
		return
	}
	l := &p.lanes[shard]
	l.mu.Lock()
	if p.ctx.Err() != nil {
		l.mu.Unlock()
		p.inFlight.Add(-1)
		q.done(-1, Ack{}, errs.Missing("the log", errors.New("this process is stopping")))
		return
	}
	q.token = l.next
	l.next++
	now := time.Now()
	q.deadline = now.Add(p.b.opts.PublishTimeout)
	q.msg.Reply = p.inbox + inbox + "." + strconv.Itoa(shard) + "." + strconv.FormatUint(q.token, 36)
	l.order = append(l.order, q)
	l.byToken[q.token] = q
	switch {
	case !l.broken.IsZero(), !l.proven && len(l.byToken) > 1: // until tend, or the trial's answer
	case !l.proven:
		p.try(l, q)
	case len(l.unsent) == 0 && p.window.open(now, shard):
		p.send(l, q)
	default:
		l.unsent = append(l.unsent, q)
	}
	l.mu.Unlock()
}

// sendHeld sends what the window has held back.
func (p *publisher) sendHeld() {
	for _, shard := range p.window.next() {
		l := &p.lanes[shard]
		l.mu.Lock()
		for _, q := range l.unsent {
			if l.broken.IsZero() && q.attempts == 0 && !q.finished && p.ctx.Err() == nil {
				p.send(l, q)
			}
		}
		l.unsent = nil
		l.mu.Unlock()
	}
}

// send puts one message on the wire; l.mu is held, which keeps the order.
func (p *publisher) send(l *lane, q *pending) {
	q.attempts++
	q.sent = time.Now()
	if err := p.b.nc.PublishMsg(q.msg); err != nil {
		l.fail(err, false)
	}
}

// answered takes an acknowledgement in that belongs to no feed.
func (p *publisher) answered(msg *nats.Msg) {
	if q, ack, err := p.take(msg); q != nil {
		q.done(-1, ack, err)
	}
}

// take finds the publish that a message acknowledges and ends it; nil where
// there is none any more, or where it is to be sent again. The caller calls
// done.
func (p *publisher) take(msg *nats.Msg) (*pending, Ack, error) {
	shard, token, ok := p.parseReply(msg.Subject)
	if !ok {
		return nil, Ack{}, nil
	}
	ack, err, passing := parseAck(msg)
	l := &p.lanes[shard]
	l.mu.Lock()
	q := l.byToken[token]
	switch {
	case q == nil: // given up, or answered twice
		if passing && !errors.Is(err, errBeingStored) && !l.tried.IsZero() {
			l.tried = time.Now() // it refuses, and is not silent
		}
	case passing:
		q = nil
		l.fail(err, errors.Is(err, errBeingStored))
	case q == l.trial:
		p.finish(l, q)
		l.proven = true
		p.again(l)
	default:
		p.finish(l, q)
	}
	l.mu.Unlock()
	switch {
	case q == nil:
	case err != nil:
		p.failed.Add(1)
	default:
		p.acked.Add(1)
		p.taken()
	}
	return q, ack, err
}

func (p *publisher) parseReply(subject string) (shard int, token uint64, ok bool) {
	rest, found := strings.CutPrefix(subject, p.inbox)
	_, rest, _ = strings.Cut(rest, ".") // whose inbox it came to
	s, t, found2 := strings.Cut(rest, ".")
	if !found || !found2 {
		return 0, 0, false
	}
	shard, err := strconv.Atoi(s)
	if err != nil || shard < 0 || shard >= len(p.lanes) {
		return 0, 0, false
	}
	token, err = strconv.ParseUint(t, 36, 64)
	return shard, token, err == nil
}

// parseAck reads a publish acknowledgement. passing errors go away by
// themselves, and the publish is sent again.
func parseAck(msg *nats.Msg) (ack Ack, err error, passing bool) {
	if len(msg.Data) == 0 {
		// A status without a body: 503, nobody listens on the subject, because
		// the leader is being elected or the stream has not been made yet.
		return Ack{}, fmt.Errorf("the log answered status %q: no leader, or JetStream is off in NATS", msg.Header.Get("Status")), true
	}
	if ack, ok := readAck(msg.Data); ok {
		return ack, nil, false
	}
	var answer struct {
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"code"`
			ErrCode     int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return Ack{}, fmt.Errorf("decoding an acknowledgement: %w", err), false
	}
	if e := answer.Error; e != nil {
		err := fmt.Errorf("the log answered %d: %s", e.ErrCode, e.Description)
		if e.ErrCode == 10158 {
			return Ack{}, errBeingStored, true
		}
		if e.Code >= 500 { // no leader, no quorum, no room on the disk
			return Ack{}, err, true
		}
		if code := jetstream.ErrorCode(e.ErrCode); code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant {
			return Ack{}, errWrongLast, false
		}
		return Ack{}, err, false
	}
	return Ack{Seq: answer.Seq, Duplicate: answer.Duplicate}, nil, false
}

// errBeingStored: the leader has a message of this id, but not its quorum.
var errBeingStored = errors.New("the log is storing it")

// errWrongLast: the stream's last sequence was not what the message expected.
var errWrongLast = errors.New("another message was stored in between")

// readAck reads an acknowledgement in the form in which the server writes nearly
// all of them; false leaves it to the JSON decoder, which costs a microsecond
// more.
func readAck(b []byte) (Ack, bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"stream":"`))
	_, rest, found := bytes.Cut(rest, []byte(`"seq":`))
	digits, ok2 := bytes.CutSuffix(rest, []byte("}"))
	if !ok || !found || !ok2 || len(digits) == 0 || len(digits) > 19 {
		return Ack{}, false
	}
	var ack Ack
	for _, c := range digits {
		if c < '0' || c > '9' {
			return Ack{}, false
		}
		ack.Seq = ack.Seq*10 + uint64(c-'0')
	}
	return ack, true
}

// watch looks after what does not go the straight way: answers that do not
// come, lanes that are to be sent again, publishes whose time is over.
func (p *publisher) watch() {
	tick := time.NewTicker(resendPause / 2)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-tick.C:
			for i := range p.lanes {
				p.tend(&p.lanes[i], now)
			}
		}
	}
}

// drained waits until nothing is in flight.
func (p *publisher) drained(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p.inFlight.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d acknowledgements: %w", p.inFlight.Load(), ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// close fails all that is still in flight, and returns when the last done has
// returned; so none of them may call it.
func (p *publisher) close() {
	p.cancel()
	p.window.close()
	p.wg.Wait()
	_ = p.sub.Unsubscribe() // fails only when the connection is closed
	<-p.silent
	for i := range p.lanes {
		l := &p.lanes[i]
		l.mu.Lock()
		rest := l.order
		l.order, l.unsent, l.byToken = nil, nil, make(map[uint64]*pending)
		l.mu.Unlock()
		for _, q := range rest {
			if !q.finished {
				p.inFlight.Add(-1)
				q.done(-1, Ack{}, errs.Missing("the log", errors.New("this process is stopping")))
			}
		}
	}
}
