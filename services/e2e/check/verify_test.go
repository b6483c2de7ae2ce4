package check

import (
	"slices"
	"testing"
	"time"
)

// kept is a record in which every promise was kept: one room, one writer of
// ten messages with the seqs 2, 4 … 20, and a reader that had to reconnect
// after the fifth.
func kept() *Record {
	r := &Record{Rooms: []string{"room"}, Retention: 1000, Messages: [][]Message{nil}, Logs: make([]Log, 1)}
	reader, writer := &Place{Client: 1}, &Place{Client: 0}
	for n := range 10 {
		seq, at := uint64(2*n+2), time.Duration(n+1)*time.Second
		k := makeKey(0, n)
		r.Messages[0] = append(r.Messages[0], Message{Sent: at, Acked: at + time.Millisecond, Seq: seq})
		r.Logs[0].Entries = append(r.Logs[0].Entries, Entry{Seq: seq, Key: k})
		d := Delivery{Key: k, Seq: seq, Prev: seq - 2, At: at + 2*time.Millisecond, Link: 1}
		writer.Deliveries = append(writer.Deliveries, d)
		if n >= 5 {
			d.Link = 2
		}
		if n == 5 || n == 6 {
			d.How, d.Prev = Recovery, 0
		}
		reader.Deliveries = append(reader.Deliveries, d)
	}
	r.Places = []*Place{writer, reader}
	return r
}

// erase takes message n out of what the reader got.
func erase(r *Record, n int) {
	p := r.Places[1]
	p.Deliveries = slices.Delete(p.Deliveries, n, n+1)
}

func TestVerify(t *testing.T) {
	tests := []struct {
		name   string
		tamper func(*Record)
		want   map[Kind]int
	}{
		{"kept", func(*Record) {}, nil},
		{"a reader that came later", func(r *Record) {
			r.Places[1].From = 4
			r.Places[1].Deliveries = r.Places[1].Deliveries[2:]
		}, nil},
		{"a delivery missing within a recovery", func(r *Record) { erase(r, 5) }, map[Kind]int{Lost: 1}},
		{"a live delivery missing", func(r *Record) { erase(r, 2) }, map[Kind]int{Lost: 1, Hole: 1}},
		{"the last delivery missing", func(r *Record) { erase(r, 9) }, map[Kind]int{Lost: 1}},
		{"the first delivery missing", func(r *Record) { erase(r, 0) }, map[Kind]int{Lost: 1, Hole: 1}},
		{"missing for a reader, and never acknowledged", func(r *Record) {
			erase(r, 9)
			r.Messages[0][9].Acked = 0
		}, map[Kind]int{Hole: 1}},
		{"unknown, and not stored", func(r *Record) {
			r.Messages[0] = append(r.Messages[0], Message{Sent: time.Minute, Unknown: true})
		}, nil},
		{"missing in the log", func(r *Record) {
			r.Logs[0].Entries = slices.Delete(r.Logs[0].Entries, 4, 5)
		}, map[Kind]int{Lost: 1, Phantom: 2}},
		{"missing everywhere", func(r *Record) {
			r.Messages[0] = append(r.Messages[0], Message{Sent: time.Minute, Acked: time.Minute + 1, Seq: 22})
		}, map[Kind]int{Lost: 3}},
		{"dropped by the log, which keeps five", func(r *Record) {
			r.Retention = 5
			r.Logs[0].Entries = r.Logs[0].Entries[5:]
		}, nil},
		{"missing in a log that keeps five", func(r *Record) {
			r.Retention = 5
			r.Logs[0].Entries = slices.Delete(r.Logs[0].Entries[4:], 3, 4)
		}, map[Kind]int{Lost: 1, Phantom: 2}},
		{"delivered twice on one connection", func(r *Record) {
			p := r.Places[1]
			p.Deliveries = slices.Insert(p.Deliveries, 3, p.Deliveries[2])
		}, map[Kind]int{Duplicated: 1}},
		{"delivered again after a reconnect", func(r *Record) {
			p := r.Places[1]
			d := p.Deliveries[4]
			d.Link, d.How = 2, Recovery
			p.Deliveries = slices.Insert(p.Deliveries, 5, d)
		}, map[Kind]int{Duplicated: 1}},
		{"two swapped", func(r *Record) {
			p := r.Places[1]
			p.Deliveries[2], p.Deliveries[3] = p.Deliveries[3], p.Deliveries[2]
		}, map[Kind]int{Reordered: 1, Lost: 1, Hole: 1}},
		{"two swapped in a recovery", func(r *Record) {
			p := r.Places[1]
			p.Deliveries[5], p.Deliveries[6] = p.Deliveries[6], p.Deliveries[5]
		}, map[Kind]int{Reordered: 1, Lost: 1}},
		{"the log in another order", func(r *Record) {
			e := r.Logs[0].Entries
			e[2].Key, e[3].Key = e[3].Key, e[2].Key
		}, map[Kind]int{Changed: 6, Duplicated: 6}},
		{"a phantom", func(r *Record) {
			r.Messages[0] = append(r.Messages[0], Message{Sent: 11 * time.Second})
			for _, p := range r.Places {
				p.Deliveries = append(p.Deliveries, Delivery{Key: makeKey(0, 10), Seq: 22, Prev: 20, At: 12 * time.Second, Link: 2})
			}
		}, map[Kind]int{Phantom: 2}},
		{"a broken chain", func(r *Record) { r.Places[1].Deliveries[8].Prev = 17 }, map[Kind]int{Hole: 1}},
		{"a smaller prev is normal", func(r *Record) { r.Places[1].Deliveries[8].Prev = 4 }, nil},
		{"a prev that is not before", func(r *Record) { r.Places[1].Deliveries[8].Prev = 18 }, map[Kind]int{Hole: 2}},
		{"stored twice", func(r *Record) {
			r.Logs[0].Entries = append(r.Logs[0].Entries, Entry{Seq: 22, Key: makeKey(0, 3)})
			for _, p := range r.Places {
				p.Deliveries = append(p.Deliveries, Delivery{Key: makeKey(0, 3), Seq: 22, Prev: 20, At: 12 * time.Second, Link: 2})
			}
		}, map[Kind]int{Duplicated: 3}},
		{"sent again and recognised", func(r *Record) {
			r.Again = []Again{{Key: makeKey(0, 3), Seq: 8, Duplicate: true}}
		}, nil},
		{"sent again and not recognised", func(r *Record) {
			r.Again = []Again{{Key: makeKey(0, 3), Seq: 8}}
		}, map[Kind]int{Duplicated: 1}},
		{"the answers of two sendings the other way round", func(r *Record) {
			r.Messages[0][3].Duplicate = true
			r.Again = []Again{{Key: makeKey(0, 3), Seq: 8}}
		}, nil},
		{"sent again with another seq", func(r *Record) {
			r.Again = []Again{{Key: makeKey(0, 3), Seq: 10, Duplicate: true}}
		}, map[Kind]int{Changed: 1}},
		{"not recovered, though little was missed", func(r *Record) {
			p := r.Places[1]
			p.Deliveries = slices.Delete(p.Deliveries, 5, 7)
			p.Gaps = []Gap{{After: 10, Before: 16, Seq: 16}}
		}, map[Kind]int{NotRecovered: 1, Hole: 1}},
		{"not recovered, and more was missed than is kept", func(r *Record) {
			r.Retention = 2
			p := r.Places[1]
			p.Deliveries = slices.Delete(p.Deliveries, 5, 7)
			p.Deliveries[5].How = History
			p.Gaps = []Gap{{After: 10, Before: 16, Seq: 16}}
		}, nil},
		{"seen on the way", func(r *Record) { r.Seen = []Violation{{Kind: Late}} }, map[Kind]int{Late: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := kept()
			test.tamper(r)
			got := Verify(r)
			for _, kind := range kinds {
				if got.Counts[kind] != test.want[kind] {
					t.Errorf("%s: %d, want %d", kind, got.Counts[kind], test.want[kind])
				}
			}
			if t.Failed() {
				t.Logf("%+v", got.Violations)
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	r := kept()
	r.Windows = []Window{{Kind: "cut", Begin: 3500 * time.Millisecond, End: 4500 * time.Millisecond}}
	r.Places[1].Deliveries[2].At = 3700 * time.Millisecond // sent at 3 s: under way when the fault came
	got := measure(r)
	if len(got) != 2 || got[0].Fault != "" || got[1].Fault != "cut" {
		t.Fatalf("timings %+v", got)
	}
	if got[1].Silence != 700*time.Millisecond || got[1].Times != 1 {
		t.Errorf("during the fault: %+v, want a silence of 700ms", got[1])
	}
	if got[0].Silence != 2*time.Millisecond || got[0].Ack.Count != 9 {
		t.Errorf("without a fault: %+v, want a silence of 2ms and 9 acks", got[0])
	}
}

func TestCourse(t *testing.T) {
	r := kept()
	r.Windows = []Window{{Kind: "cut", Begin: 3500 * time.Millisecond, End: 4500 * time.Millisecond}}
	r.Places[1].Deliveries[8].At += time.Second // sent at 9 s
	var acks, deliveries int
	for i, s := range course(r) {
		acks, deliveries = acks+s.Ack.Count, deliveries+s.Delivery.Count
		if s.From <= 4*time.Second && 4*time.Second < s.To && s.Ack.Count+s.Delivery.Count > 0 {
			t.Errorf("stretch %d has messages that were under way during a fault: %+v", i, s)
		}
		if want := s.From <= 9*time.Second && 9*time.Second < s.To; want != (s.Delivery.Max > time.Second) {
			t.Errorf("stretch %d from %v to %v: %+v", i, s.From, s.To, s.Delivery)
		}
	}
	if acks != 9 || deliveries != 18 {
		t.Errorf("%d acks and %d deliveries in all stretches, want 9 and 18", acks, deliveries)
	}
}

func TestHistogram(t *testing.T) {
	h := new(histogram)
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	d := h.delays()
	near := func(got, want time.Duration) bool { return got > want*95/100 && got < want*105/100 }
	if !near(d.P50, 500*time.Millisecond) || !near(d.P99, 990*time.Millisecond) || d.Max != time.Second {
		t.Errorf("delays %+v", d)
	}
}

func TestNames(t *testing.T) {
	n := names{"check-1"}
	for _, k := range []Key{0, makeKey(1, 2), makeKey(maxWriters, 1<<39)} {
		id := n.id(k)
		if got, ok := n.key(id); got != k || !ok {
			t.Errorf("%s is read as %d, want %d", id, got, k)
		}
		text := n.content(3, k)
		if !n.isContent(text, n.room(3), id, k) {
			t.Errorf("%q is not recognised", text)
		}
		if n.isContent(text+" ", n.room(3), id, k) || n.isContent(text, n.room(4), id, k) {
			t.Errorf("%q passes for another", text)
		}
	}
	if _, ok := n.key("check-2-1-1"); ok {
		t.Error("another run's id is taken for this one's")
	}
}
