package presence

import (
	"container/heap"
	"time"
)

// lease has a session end then unless it resumes; one that is on a lease stays
// on that.
func (p *picture) lease(s *session, end time.Time) {
	if _, leased := p.leases[s]; !leased {
		p.setLease(s, end)
	}
}

func (p *picture) setLease(s *session, end time.Time) {
	if len(p.ends) > 2*len(p.leases)+1000 {
		// Most of them have resumed; what they left is not kept until its time.
		p.ends = p.ends[:0]
		for s, end := range p.leases {
			p.ends = append(p.ends, leaseEnd{end, s})
		}
		heap.Init(&p.ends)
	}
	p.leases[s] = end
	heap.Push(&p.ends, leaseEnd{end, s})
}

// expire ends sessions whose leases have run out, as far as the budget allows,
// and tells what is left of that.
func (p *picture) expire(now time.Time, budget int) int {
	if now.Before(p.held) {
		return budget
	}
	for budget > 0 && len(p.ends) > 0 && !now.Before(p.ends[0].at) {
		s := heap.Pop(&p.ends).(leaseEnd).session
		budget--
		if end, leased := p.leases[s]; leased && !now.Before(end) {
			budget -= len(s.rooms)
			p.remove(s)
		}
	}
	return budget
}

// extendLeases has no lease end before then.
func (p *picture) extendLeases(then time.Time) { p.held = then }

type leaseEnd struct {
	at      time.Time
	session *session
}

// byEnd is a heap of leases, for package heap.
type byEnd []leaseEnd

func (q byEnd) Len() int           { return len(q) }
func (q byEnd) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q byEnd) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byEnd) Push(x any)        { *q = append(*q, x.(leaseEnd)) }

func (q *byEnd) Pop() any {
	last := len(*q) - 1
	l := (*q)[last]
	(*q)[last] = leaseEnd{}
	*q = (*q)[:last]
	return l
}
