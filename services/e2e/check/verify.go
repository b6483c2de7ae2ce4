package check

import (
	"fmt"
	"slices"
)

// maxListed bounds how many violations are told one by one; all are counted.
const maxListed = 100

// Findings is what a record shows.
type Findings struct {
	Counts map[Kind]int `json:"counts"`
	// Violations are the first of them.
	Violations []Violation `json:"violations,omitempty"`
}

func (f *Findings) add(v Violation) {
	if f.Counts == nil {
		f.Counts = make(map[Kind]int)
	}
	f.Counts[v.Kind]++
	if len(f.Violations) < maxListed {
		f.Violations = append(f.Violations, v)
	}
}

// Verify holds a record to the promises.
func Verify(r *Record) *Findings {
	f := new(Findings)
	for _, v := range r.Seen {
		f.add(v)
	}
	byRoom := make([]roomRecord, len(r.Rooms))
	for w, messages := range r.Messages {
		for n := range messages {
			room := &byRoom[messages[n].Room]
			room.keys = append(room.keys, makeKey(w, n))
		}
	}
	for _, p := range r.Places {
		byRoom[p.Room].places = append(byRoom[p.Room].places, p)
	}
	for i := range byRoom {
		room := &byRoom[i]
		room.record, room.index, room.log, room.findings = r, i, &r.Logs[i], f
		room.verify()
		*room = roomRecord{} // the next room needs the memory
	}
	f.verifyAgain(r)
	return f
}

// verifyAgain checks that sending a message again has stored nothing.
func (f *Findings) verifyAgain(r *Record) {
	fresh := make(map[Key]int)
	for _, a := range r.Again {
		m := &r.Messages[a.Key.Writer()][a.Key.N()]
		v := Violation{Room: r.Rooms[m.Room], Client: a.Key.Writer(), Seq: a.Seq}
		if a.Seq != m.Seq {
			v.Kind, v.Detail = Changed, fmt.Sprintf("message %d was acknowledged with seq %d, and sent again with another", a.Key.N(), m.Seq)
			f.add(v)
		}
		// Of two sendings under way at once either may be told of as the
		// duplicate, but never neither.
		if !a.Duplicate {
			if fresh[a.Key]++; fresh[a.Key] > 1 || !m.Duplicate {
				v.Kind, v.Detail = Duplicated, fmt.Sprintf("message %d was sent again and not recognised", a.Key.N())
				f.add(v)
			}
		}
	}
}

// roomRecord is the part of a record that is about one room.
type roomRecord struct {
	record   *Record
	index    int
	keys     []Key // of the messages sent to it
	places   []*Place
	log      *Log
	findings *Findings

	bySeq map[uint64]Key
	byKey map[Key]uint64
	seqs  []uint64 // of all that is known to have been stored, in order
	acked map[uint64]bool
}

func (r *roomRecord) name() string { return r.record.Rooms[r.index] }

func (r *roomRecord) violated(kind Kind, client int, seq uint64, format string, args ...any) {
	r.findings.add(Violation{Kind: kind, Room: r.name(), Client: client, Seq: seq, Detail: fmt.Sprintf(format, args...)})
}

func (r *roomRecord) message(k Key) *Message { return &r.record.Messages[k.Writer()][k.N()] }

func (r *roomRecord) verify() {
	r.bySeq = make(map[uint64]Key, len(r.keys))
	r.byKey = make(map[Key]uint64, len(r.keys))
	r.acked = make(map[uint64]bool, len(r.keys))
	r.verifyLog()
	for _, p := range r.places {
		for i := range p.Deliveries {
			d := &p.Deliveries[i]
			r.stored(p.Client, d.Seq, d.Key)
		}
	}
	for _, k := range r.keys {
		if m := r.message(k); m.Acked > 0 {
			r.stored(k.Writer(), m.Seq, k)
			r.acked[m.Seq] = true
		}
	}
	r.seqs = make([]uint64, 0, len(r.bySeq))
	for seq := range r.bySeq {
		r.seqs = append(r.seqs, seq)
	}
	slices.Sort(r.seqs)
	r.verifyAcked()
	for _, p := range r.places {
		r.verifyPlace(p)
	}
}

// stored notes that a message has a place in the log, and that no other has it
// and it has no other.
func (r *roomRecord) stored(client int, seq uint64, k Key) {
	if other, ok := r.bySeq[seq]; !ok {
		r.bySeq[seq] = k
	} else if other != k {
		r.violated(Changed, client, seq, "seq is of message %d of client %d, and also of message %d of client %d",
			other.N(), other.Writer(), k.N(), k.Writer())
	}
	if other, ok := r.byKey[k]; !ok {
		r.byKey[k] = seq
	} else if other != seq {
		r.violated(Duplicated, client, seq, "message %d of client %d is stored at %d too", k.N(), k.Writer(), other)
	}
}

func (r *roomRecord) verifyLog() {
	var last uint64
	for _, e := range r.log.Entries {
		if e.Seq <= last {
			r.violated(Reordered, -1, e.Seq, "the log gives it after %d", last)
		}
		last = e.Seq
		r.stored(-1, e.Seq, e.Key)
	}
}

// inLog says whether a seq should be in what was read of the log: all of it
// where nothing was dropped.
func (r *roomRecord) inLog(seq uint64) bool {
	if r.log.Unread {
		return false
	}
	if n := len(r.log.Entries); n >= r.record.Retention {
		return seq >= r.log.Entries[0].Seq
	}
	return true
}

func (r *roomRecord) logHas(seq uint64) bool {
	_, found := slices.BinarySearchFunc(r.log.Entries, seq, func(e Entry, seq uint64) int {
		switch {
		case e.Seq < seq:
			return -1
		case e.Seq > seq:
			return 1
		}
		return 0
	})
	return found
}

// verifyAcked checks that the log holds what was acknowledged.
func (r *roomRecord) verifyAcked() {
	for _, seq := range r.seqs {
		if r.acked[seq] && r.inLog(seq) && !r.logHas(seq) {
			k := r.bySeq[seq]
			r.violated(Lost, k.Writer(), seq, "message %d was acknowledged, and the log does not have it", k.N())
		}
	}
}

// verifyPlace checks what one member got.
func (r *roomRecord) verifyPlace(p *Place) {
	var last uint64 // the application's place: what is not newer it passes over
	got := make([]uint64, 0, len(p.Deliveries))
	for i := range p.Deliveries {
		d := &p.Deliveries[i]
		if d.How == Live {
			if d.Prev >= d.Seq {
				r.violated(Hole, p.Client, d.Seq, "its prev is %d", d.Prev)
			}
			if d.Prev > max(last, p.From) {
				r.violated(Hole, p.Client, d.Seq, "its prev is %d, and the last that came was %d", d.Prev, last)
			}
		}
		if d.Seq <= last {
			if _, twice := slices.BinarySearch(got, d.Seq); twice {
				r.violated(Duplicated, p.Client, d.Seq, "delivered twice, the second time %s", way(p, i))
			} else {
				r.violated(Reordered, p.Client, d.Seq, "came after %d, %s", last, way(p, i))
			}
			continue
		}
		last = d.Seq
		got = append(got, d.Seq)
		if r.inLog(d.Seq) && !r.logHas(d.Seq) {
			r.violated(Phantom, p.Client, d.Seq, "delivered %s, and the log does not have it", way(p, i))
		}
	}
	r.verifyWhole(p, got)
	r.verifyGaps(p)
}

func way(p *Place, i int) string {
	d := &p.Deliveries[i]
	text := [...]string{"live", "in the history", "in a recovery"}[d.How]
	text = fmt.Sprintf("%s on connection %d", text, d.Link)
	if i > 0 && p.Deliveries[i-1].Link != d.Link {
		text += ", the first there"
	}
	return text
}

// verifyWhole checks that a member got everything that was stored since it
// came. got is in order.
func (r *roomRecord) verifyWhole(p *Place, got []uint64) {
	i, _ := slices.BinarySearch(r.seqs, p.From+1)
	for _, seq := range r.seqs[i:] {
		for len(got) > 0 && got[0] < seq {
			got = got[1:]
		}
		if len(got) > 0 && got[0] == seq || p.excused(seq) {
			continue
		}
		if r.acked[seq] {
			r.violated(Lost, p.Client, seq, "acknowledged, and this member did not get it")
		} else {
			r.violated(Hole, p.Client, seq, "stored, and this member did not get it")
		}
	}
}

func (p *Place) excused(seq uint64) bool {
	for _, g := range p.Gaps {
		if g.After < seq && seq < g.Before {
			return true
		}
	}
	return false
}

// verifyGaps checks that who was told that something is gone could not have
// been told it.
func (r *roomRecord) verifyGaps(p *Place) {
	for _, g := range p.Gaps {
		from, _ := slices.BinarySearch(r.seqs, g.After+1)
		to, _ := slices.BinarySearch(r.seqs, g.Seq+1)
		if missed := to - from; missed < r.record.Retention {
			r.violated(NotRecovered, p.Client, g.After, "%d messages followed until %d, and the log keeps %d", missed, g.Seq, r.record.Retention)
		}
	}
}
