package check

import (
	"slices"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

const (
	// windowMargin is how much before the end of the deduplication window a
	// message is given up: the last sending may take as long to be stored.
	windowMargin = 20 * time.Second
	// maxOpen bounds a writer's messages without an acknowledgement; one that
	// has as many makes no new ones.
	maxOpen = 2000
	// maxWaiting bounds those that were sent on this connection.
	maxWaiting = 128
	// againEvery: one message of so many is sent once more on purpose after it
	// was acknowledged.
	againEvery = 64
)

// writer is the part of a client that sends. The client's lock guards it.
type writer struct {
	c        *client
	interval time.Duration // between two messages
	next     time.Duration // when the next one is due, in the run's time
	stopped  bool          // makes no new ones

	messages []Message // by number
	// queue are the numbers to send now, waiting those that were sent on this
	// connection and not answered, with the time of that, later those to send
	// again at a time.
	queue   []int
	waiting map[int]time.Time
	later   []postponed
	limiter *rate.Limiter // what the gateway allows, nil for no limit

	acks, given int
}

type postponed struct {
	n  int
	at time.Time
}

// limit keeps to what a gateway says it allows, with something to spare for
// joins and pings.
func (w *writer) limit(l *wirev1.Limits) {
	w.limiter = nil
	if l.GetRateLimit() > 0 {
		w.limiter = rate.NewLimiter(rate.Limit(l.RateLimit*0.9), max(int(l.RateBurst/2), 1))
	}
}

// start begins to make messages, once the client is signed in for the first
// time.
func (w *writer) start() {
	if w.next == 0 {
		w.next = w.c.run.now() + time.Duration(w.c.rand.Int64N(int64(w.interval)))
	}
}

// lose puts what was sent and not answered before what is to be sent.
func (w *writer) lose() {
	for n := range w.waiting {
		w.queue = append(w.queue, n)
	}
	for _, p := range w.later {
		w.queue = append(w.queue, p.n)
	}
	clear(w.waiting)
	w.later = nil
	slices.Sort(w.queue)
	w.queue = slices.Compact(w.queue)
}

// make makes the messages that are due; also while nothing can be sent, for
// people do not stop wanting to write.
func (w *writer) make(now time.Duration) {
	for !w.stopped && w.next != 0 && w.next <= now {
		if w.open() >= maxOpen {
			w.next = now + w.interval
			return
		}
		n := len(w.messages)
		place := w.c.places[n%len(w.c.places)]
		w.messages = append(w.messages, Message{Room: int32(place.Room), Sent: w.next})
		w.queue = append(w.queue, n)
		w.next += w.interval
		w.c.run.sent.Add(1)
	}
}

// open is how many messages have neither been acknowledged nor given up.
func (w *writer) open() int { return len(w.messages) - w.acks - w.given }

// due adds what is to be sent now.
func (w *writer) due(frames []*wirev1.ClientFrame, now time.Time) []*wirev1.ClientFrame {
	for n, at := range w.waiting {
		if now.Sub(at) > answerPatience {
			w.c.run.count("no answer to a message")
			w.postpone(n, 0)
		}
	}
	w.later = slices.DeleteFunc(w.later, func(p postponed) bool {
		if now.Before(p.at) {
			return false
		}
		w.queue = append(w.queue, p.n)
		return true
	})
	rest := w.queue[:0]
	for i, n := range w.queue {
		if len(w.waiting) >= maxWaiting {
			rest = append(rest, w.queue[i:]...)
			break
		}
		m := &w.messages[n]
		place := w.c.places[n%len(w.c.places)]
		switch {
		case m.Unknown:
			continue
		case w.c.run.now()-m.Sent > w.c.run.opts.Window-windowMargin:
			// Sent once more it might be stored twice.
			w.giveUp(m)
			continue
		case !place.joined || w.limiter != nil && !w.limiter.Allow():
			rest = append(rest, n)
			continue
		}
		if _, ok := w.waiting[n]; ok {
			continue
		}
		w.waiting[n] = now
		frames = append(frames, w.frame(n, place))
	}
	w.queue = rest
	return frames
}

// oldest tells when the oldest message without an acknowledgement was due.
func (w *writer) oldest() (sent time.Duration, ok bool) {
	note := func(n int) {
		if m := &w.messages[n]; m.Acked == 0 && !m.Unknown && (!ok || m.Sent < sent) {
			sent, ok = m.Sent, true
		}
	}
	for n := range w.waiting {
		note(n)
	}
	for _, p := range w.later {
		note(p.n)
	}
	for _, n := range w.queue {
		note(n)
	}
	return sent, ok
}

func (w *writer) giveUp(m *Message) {
	if m.Acked == 0 {
		m.Unknown = true
		w.given++
		w.c.run.unknown.Add(1)
	}
}

func (w *writer) frame(n int, p *place) *wirev1.ClientFrame {
	k := makeKey(w.c.index, n)
	m := &wirev1.SendMessage{RoomId: p.name, Content: proto.String(w.c.run.names.content(p.Room, k))}
	f := &wirev1.ClientFrame{Id: proto.String(w.c.run.names.id(k))}
	if n%2 == 0 {
		f.Request = &wirev1.ClientFrame_ChatMessage{ChatMessage: m}
	} else {
		f.Request = &wirev1.ClientFrame_RoomMessage{RoomMessage: m}
	}
	return f
}

func (w *writer) postpone(n int, after time.Duration) {
	delete(w.waiting, n)
	w.messages[n].Resent = true
	w.later = append(w.later, postponed{n, time.Now().Add(after)})
}

// number reads the id of one of this writer's own messages.
func (w *writer) number(id string) (int, bool) {
	k, ok := w.c.run.names.key(id)
	return k.N(), ok && k.Writer() == w.c.index && k.N() < len(w.messages)
}

// acked takes an acknowledgement in.
func (w *writer) acked(id string, ack *wirev1.Ack) {
	n, ok := w.number(id)
	if !ok || ack.Seq == nil || ack.RoomId != w.c.run.names.room(int(w.messages[n].Room)) {
		w.c.run.violated(Violation{Kind: Changed, Room: ack.RoomId, Client: w.c.index, Seq: uint64(ack.GetSeq()),
			Detail: "acknowledged what was not sent: " + id})
		return
	}
	m := &w.messages[n]
	delete(w.waiting, n)
	if m.Acked > 0 {
		w.c.run.again(Again{Key: makeKey(w.c.index, n), Seq: uint64(*ack.Seq), Duplicate: ack.Duplicate})
		return
	}
	if m.Unknown {
		m.Unknown = false
		w.given--
		w.c.run.unknown.Add(-1)
	}
	m.Acked, m.Seq, m.Duplicate = w.c.run.now(), uint64(*ack.Seq), ack.Duplicate
	w.acks++
	w.c.run.acked.Add(1)
	if n%againEvery == againEvery/2 {
		w.postpone(n, 100*time.Millisecond)
	}
}

// refused takes an error about a message in.
func (w *writer) refused(id string, e *wirev1.Error, after time.Duration) {
	w.c.run.count("message: " + e.Code)
	n, ok := w.number(id)
	if !ok {
		return
	}
	switch e.Code {
	case "unavailable", "rate-limited", "not-joined", "internal":
		w.postpone(n, after)
	default:
		delete(w.waiting, n)
		w.giveUp(&w.messages[n])
		w.c.run.violated(Violation{Kind: Refused, Client: w.c.index, Detail: e.Code + ": " + e.Message})
	}
}
