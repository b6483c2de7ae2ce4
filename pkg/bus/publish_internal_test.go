package bus

import (
	"encoding/json"
	"testing"
	"time"
)

// TestReadAck: what is read without the JSON decoder is what that reads.
func TestReadAck(t *testing.T) {
	for text, quick := range map[string]bool{
		`{"stream":"PARLEY_LOG_3","seq":1}`:                                 true,
		`{"stream":"PARLEY_LOG_3","seq":9223372036854775807}`:               true,
		`{"stream":"PARLEY_LOG_3","seq":12,"duplicate": true}`:              false,
		`{"stream":"PARLEY_LOG_3","domain":"hub","seq":12}`:                 true,
		`{"error":{"code":400,"err_code":10060,"description":"x"},"seq":0}`: false,
		`{"stream":"PARLEY_LOG_3","seq":}`:                                  false,
		`{"stream":"PARLEY_LOG_3","seq":1e3}`:                               false,
		`{"stream":"PARLEY_LOG_3","seq":12345678901234567890}`:              false,
		`{"seq":1}`: false,
	} {
		ack, ok := readAck([]byte(text))
		if ok != quick {
			t.Errorf("%s: read quickly: %v", text, ok)
			continue
		}
		var want struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(text), &want); ok && (err != nil || ack != Ack{Seq: want.Seq}) {
			t.Errorf("%s: read %v, want %d, %v", text, ack, want.Seq, err)
		}
	}
}

// TestLaneForgets: one publish that stays unanswered does not keep those that
// came after it in memory, and they stay in order.
func TestLaneForgets(t *testing.T) {
	p := new(publisher)
	l := &lane{byToken: make(map[uint64]*pending), broken: time.Now()}
	add := func() *pending {
		q := &pending{token: l.next}
		l.next++
		l.order = append(l.order, q)
		l.byToken[q.token] = q
		return q
	}
	first := add()
	var open []*pending
	for i := range 100_000 {
		q := add()
		if open = append(open, q); i%7 != 0 {
			q = open[len(open)/2]
		}
		for j, o := range open {
			if o == q {
				open = append(open[:j], open[j+1:]...)
				break
			}
		}
		p.finish(l, q)
		if n := len(l.order); n > 2*len(l.byToken)+1 {
			t.Fatalf("the lane holds %d for %d that are open", n, len(l.byToken))
		}
	}
	last := first.token
	for _, q := range l.order[1:] {
		if q.token <= last {
			t.Fatalf("%d comes after %d", q.token, last)
		}
		last = q.token
	}
	for _, q := range open {
		p.finish(l, q)
	}
	p.finish(l, first)
	if l.order != nil || !l.broken.IsZero() {
		t.Errorf("an empty lane: %d, broken %s", len(l.order), l.broken)
	}
}
