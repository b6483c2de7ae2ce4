package bus

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Delivery is one thing that happens in a room of a Feed: one of its fields
// beside Room is set.
type Delivery struct {
	Room   string
	Stored *Stored
	Live   *busv1.LiveEvent
	// Lost: something of this room may have been dropped on the way.
	Lost bool
	// Do is a task that was given to Feed.Do, or tells of an acknowledgement.
	Do func()
}

// Feed brings a gateway what happens in its rooms. A few workers serve all
// rooms, each room always the same one, so that what belongs to a room is
// handled in order and never by two at once: a worker owns its rooms' state,
// and whoever wants something of a room hands its worker a task.
//
// nats.go's own callback subscriptions would cost a goroutine for each room;
// channel subscriptions share the workers' channels.
type Feed struct {
	b       *Bus
	workers []*worker
	seed    maphash.Seed
	handle  func(worker int, batch []Delivery)
	stop    chan struct{}
	wg      sync.WaitGroup
}

type worker struct {
	number int
	msgs   chan *nats.Msg
	tasks  chan Delivery

	inbox   string // of its rooms' acknowledgements, within the publisher's
	once    sync.Once
	answers *nats.Subscription // made by the first publish
	failed  error              // the connection is closed
}

const (
	// feedQueue is how many messages may wait for one worker. A full queue
	// makes nats.go drop, which shows as a hole in the room and is read again
	// from the log.
	feedQueue = 16384
	taskQueue = 1024
	// feedBatch bounds how much is handed over at once.
	feedBatch = 256
)

// NewFeed starts workers goroutines that hand what happens to handle: as much
// as is pending, at most some hundred at once. handle is told which worker is
// calling, from 0; the slice is the worker's own and good until it returns.
func (b *Bus) NewFeed(workers int, handle func(worker int, batch []Delivery)) *Feed {
	f := &Feed{b: b, seed: maphash.MakeSeed(), handle: handle, stop: make(chan struct{})}
	feed := b.feeds.Add(1)
	for i := range max(workers, 1) {
		w := &worker{
			number: i,
			inbox:  fmt.Sprintf("f%dw%d", feed, i),
			msgs:   make(chan *nats.Msg, feedQueue),
			tasks:  make(chan Delivery, taskQueue),
		}
		f.workers = append(f.workers, w)
		f.wg.Go(func() { f.work(w) })
	}
	b.mu.Lock()
	b.hearing[f] = struct{}{}
	b.mu.Unlock()
	return f
}

// Close ends the workers and waits for them. Tasks that were not begun are
// dropped, and what is not acknowledged yet is given up when its time is over.
func (f *Feed) Close() {
	f.b.mu.Lock()
	delete(f.b.hearing, f)
	f.b.mu.Unlock()
	close(f.stop)
	f.wg.Wait()
	for _, w := range f.workers {
		if w.answers != nil {
			_ = w.answers.Unsubscribe() // fails only when the connection is closed
		}
	}
}

// Publish is Bus.PublishAsync for who hears the room as well: done is called in
// a turn of the room's worker, which mostly has the message too, and is told
// its number. When the publish is refused or given up, done is called as
// PublishAsync does it, with a negative number. It must not be called before the
// room was subscribed to. ctx tells the trace, and nothing else.
func (f *Feed) Publish(ctx context.Context, room, id string, entry *busv1.LogEntry, done func(worker int, ack Ack, err error)) {
	w := f.workerOf(room)
	w.once.Do(func() {
		// A full channel drops acknowledgements too; the publisher asks again.
		w.answers, w.failed = f.b.nc.ChanSubscribe(f.b.publisher.inbox+w.inbox+".*.*", w.msgs)
	})
	if w.failed != nil {
		done(-1, Ack{}, errs.Missing("the log", fmt.Errorf("subscribing to acknowledgements: %w", w.failed)))
		return
	}
	f.b.publisher.start(ctx, w.inbox, room, id, entry, done)
}

func (f *Feed) workerOf(room string) *worker {
	return f.workers[f.Worker(room)]
}

// Do has the room's worker run task, after the tasks that it was given before.
// It waits while the worker's queue of tasks is full and fails when ctx or the
// feed ends. It must not be called by a worker.
func (f *Feed) Do(ctx context.Context, room string, task func()) error {
	return f.On(ctx, f.Worker(room), task)
}

// On is Do for what concerns many rooms of one worker.
func (f *Feed) On(ctx context.Context, worker int, task func()) error {
	select {
	case f.workers[worker].tasks <- Delivery{Do: task}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.stop:
		return context.Canceled
	}
}

// Worker tells which worker serves a room.
func (f *Feed) Worker(room string) int {
	return int(maphash.String(f.seed, room) % uint64(len(f.workers)))
}

// RoomSubscription is a feed's interest in one room. It is one subscription,
// for each of them costs the gateway and every NATS server some 400 bytes, and
// there may be as many rooms as connections.
type RoomSubscription struct{ sub *nats.Subscription }

// Subscribe begins to bring what happens in a room. The server knows of it
// before any request that this process makes afterwards.
func (f *Feed) Subscribe(room string) (*RoomSubscription, error) {
	subject := f.b.outSubject(room)
	sub, err := f.b.nc.ChanSubscribe(subject, f.workerOf(room).msgs)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
	}
	return &RoomSubscription{sub}, nil
}

// lost is called by nats.go's goroutine when the queue behind a subscription
// was full. Nothing is kept for it with each room: whose it was is in its
// subject.
func (b *Bus) lost(subject string) {
	room, err := roomOf(subject)
	if err != nil || !strings.HasPrefix(subject, subjectOut) {
		return // what is not stored is lost for good, and an ack is asked for again
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := range b.hearing {
		// A queue of tasks that is full too needs no second telling: the chain
		// of seqs and the comparison of tails find the hole as well.
		select {
		case f.workerOf(room).tasks <- Delivery{Room: room, Lost: true}:
		default:
		}
	}
}

// Stop ends the interest. What is queued already may still be delivered.
func (r *RoomSubscription) Stop() {
	_ = r.sub.Unsubscribe() // fails only when the connection is closed
}

func (f *Feed) work(w *worker) {
	batch := make([]Delivery, 0, feedBatch)
	for {
		batch = batch[:0]
		select {
		case <-f.stop:
			return
		case msg := <-w.msgs:
			batch = f.append(batch, w, msg)
		case task := <-w.tasks:
			batch = append(batch, task)
		}
		for more := true; more && len(batch) < feedBatch; {
			select {
			case msg := <-w.msgs:
				batch = f.append(batch, w, msg)
			case task := <-w.tasks:
				batch = append(batch, task)
			default:
				more = false
			}
		}
		f.handle(w.number, batch)
		clear(batch)
	}
}

// append decodes a message and adds it to a batch; what is not ours is passed
// over, for anything may speak on NATS.
func (f *Feed) append(batch []Delivery, w *worker, msg *nats.Msg) []Delivery {
	if strings.HasPrefix(msg.Subject, f.b.publisher.inbox) {
		if q, ack, err := f.b.publisher.take(msg); q != nil {
			batch = append(batch, Delivery{Do: func() { q.done(w.number, ack, err) }})
		}
		return batch
	}
	delivery, err := f.b.decode(msg)
	if err != nil {
		f.b.PassOver(msg.Subject, err)
		return batch
	}
	return append(batch, delivery)
}
