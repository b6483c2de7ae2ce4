package check

import (
	"math/bits"
	"slices"
	"time"
)

// Delays tells how long messages took.
type Delays struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
}

// histogram counts times in buckets of which each is about 3 % wide.
type histogram struct {
	buckets [64 * 32]int
	count   int
	max     time.Duration
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0)) + 32
	shift := bits.Len64(us) - 6 // keeps 6 bits: 32 steps in each power of two
	return shift*32 + int(us>>shift) - 32
}

func bucketEnd(b int) time.Duration {
	shift := b / 32
	return time.Duration((uint64(b%32)+33)<<shift-32) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.max = max(h.max, d)
}

func (h *histogram) quantile(q float64) time.Duration {
	rank := int(q * float64(h.count))
	for b, n := range h.buckets {
		if rank -= n; rank < 0 {
			return min(bucketEnd(b), h.max)
		}
	}
	return h.max
}

func (h *histogram) delays() Delays {
	return Delays{Count: h.count, P50: h.quantile(0.5), P99: h.quantile(0.99), Max: h.max}
}

// Timing is what one kind of fault did to the messages that were under way
// while it lasted.
type Timing struct {
	// Fault is the kind; empty for the times without a fault.
	Fault string `json:"fault"`
	// Times is how often it was done.
	Times int `json:"times,omitempty"`
	// Ack is from when a message was due to its acknowledgement, Delivery to
	// each member's getting it; what the clients' reconnecting takes is part
	// of both.
	Ack      Delays `json:"ack"`
	Delivery Delays `json:"delivery"`
	// Silence is the longest that any room took to acknowledge or deliver a
	// message.
	Silence     time.Duration `json:"silence"`
	SilenceRoom string        `json:"silenceRoom,omitempty"`
}

// timings tells the times apart by the fault during which a message was under
// way.
type timings struct {
	windows []Window // in order
	kinds   map[string]*timing
}

type timing struct {
	Timing
	ack, delivery histogram
}

func newTimings(windows []Window) *timings {
	t := &timings{windows: slices.Clone(windows), kinds: map[string]*timing{"": {}}}
	slices.SortFunc(t.windows, func(a, b Window) int { return int(a.Begin - b.Begin) })
	for _, w := range t.windows {
		if t.kinds[w.Kind] == nil {
			t.kinds[w.Kind] = &timing{Timing: Timing{Fault: w.Kind}}
		}
		t.kinds[w.Kind].Times++
	}
	return t
}

// of finds the fault during which something was under way.
func (t *timings) of(begin, end time.Duration) *timing {
	// The first window that had not ended; faults come one after another.
	i, _ := slices.BinarySearchFunc(t.windows, begin, func(w Window, at time.Duration) int {
		if w.End < at {
			return -1
		}
		return 1
	})
	if i < len(t.windows) && t.windows[i].Begin <= end {
		return t.kinds[t.windows[i].Kind]
	}
	return t.kinds[""]
}

func (t *timing) note(room string, d time.Duration) {
	if d > t.Silence {
		t.Silence, t.SilenceRoom = d, room
	}
}

// measure takes all times of a record.
func measure(r *Record) []Timing {
	t := newTimings(r.Windows)
	for _, messages := range r.Messages {
		for i := range messages {
			m := &messages[i]
			if m.Acked == 0 {
				continue
			}
			kind := t.of(m.Sent, m.Acked)
			kind.ack.add(m.Acked - m.Sent)
			kind.note(r.Rooms[m.Room], m.Acked-m.Sent)
		}
	}
	for _, p := range r.Places {
		for i := range p.Deliveries {
			d := &p.Deliveries[i]
			m := &r.Messages[d.Key.Writer()][d.Key.N()]
			if m.Sent < p.Since {
				continue // from before its time
			}
			kind := t.of(m.Sent, d.At)
			kind.delivery.add(d.At - m.Sent)
			kind.note(r.Rooms[p.Room], d.At-m.Sent)
		}
	}
	var list []Timing
	for _, kind := range t.kinds {
		kind.Ack, kind.Delivery = kind.ack.delays(), kind.delivery.delays()
		list = append(list, kind.Timing)
	}
	slices.SortFunc(list, func(a, b Timing) int {
		if a.Fault < b.Fault {
			return -1
		}
		return 1
	})
	return list
}

// Stretch is a part of a run, and how long the messages took that were due in it
// and were not under way while something was broken.
type Stretch struct {
	From     time.Duration `json:"from"`
	To       time.Duration `json:"to"`
	Ack      Delays        `json:"ack"`
	Delivery Delays        `json:"delivery"`
}

// stretches is how many parts of equal length a run is told in.
const stretches = 60

// course tells a record's times by when a message was due.
func course(r *Record) []Stretch {
	var end time.Duration
	for _, messages := range r.Messages {
		if len(messages) > 0 {
			end = max(end, messages[len(messages)-1].Sent+1)
		}
	}
	if end == 0 {
		return nil
	}
	length := (end + stretches - 1) / stretches
	t := newTimings(r.Windows)
	acks, deliveries := new([stretches]histogram), new([stretches]histogram)
	for _, messages := range r.Messages {
		for i := range messages {
			if m := &messages[i]; m.Acked > 0 && t.calm(m.Sent, m.Acked) {
				acks[m.Sent/length].add(m.Acked - m.Sent)
			}
		}
	}
	for _, p := range r.Places {
		for i := range p.Deliveries {
			d := &p.Deliveries[i]
			if m := &r.Messages[d.Key.Writer()][d.Key.N()]; m.Sent >= p.Since && t.calm(m.Sent, d.At) {
				deliveries[m.Sent/length].add(d.At - m.Sent)
			}
		}
	}
	list := make([]Stretch, stretches)
	for i := range list {
		from := length * time.Duration(i)
		list[i] = Stretch{From: from, To: from + length, Ack: acks[i].delays(), Delivery: deliveries[i].delays()}
	}
	return list
}

// calm says whether nothing was broken while something was under way.
func (t *timings) calm(begin, end time.Duration) bool { return t.of(begin, end) == t.kinds[""] }
