package load

// Verifier holds deliveries to the promises of PROTOCOL.md, section 5: no
// acknowledged message is missing, none comes twice, all members of a room see
// one order, and that keeps the order in which each member sent. It keeps the
// order of each room, and of each member no more than the place it has reached
// in it, so a delivery that is as it should be costs one comparison.
type Verifier struct {
	messages []message // by number
	rooms    []roomLog
	last     map[int32]uint32 // the newest that was delivered, +1, by sender
	faults   Faults
}

type message struct {
	sentAt       int64
	room, sender int32
	pos          int32 // in the room's order, from 1; 0 while nobody has it
	acked        bool
}

// roomLog is the order in which a room's messages were delivered first.
type roomLog struct{ order []uint32 }

// Place is where a member is in its room's messages.
type Place struct {
	room int32
	at   int32 // the position of the next
	// waiting is what came to one that joined before its place was known.
	waiting []uint32
	lost    bool           // the place is not known
	missed  map[int32]bool // positions that were passed over
}

// Faults counts what was found wrong, deliveries but for Unacked.
type Faults struct {
	// Lost did not come to a member, Duplicated came again, Reordered came in
	// another order than to others or than they were sent in.
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	Reordered  int `json:"reordered"`
	// Foreign were never sent, or into another room.
	Foreign int `json:"foreign"`
	// Unacked messages were sent and neither acknowledged nor refused.
	Unacked int `json:"unacked"`
}

// None tells that nothing was wrong.
func (f Faults) None() bool { return f == Faults{} }

// Add adds what was found in another run.
func (f *Faults) Add(other Faults) {
	f.Lost += other.Lost
	f.Duplicated += other.Duplicated
	f.Reordered += other.Reordered
	f.Foreign += other.Foreign
	f.Unacked += other.Unacked
}

// NewVerifier makes one for a number of rooms.
func NewVerifier(rooms int) *Verifier {
	return &Verifier{rooms: make([]roomLog, rooms), last: make(map[int32]uint32), messages: make([]message, 0, 1<<16)}
}

// Sent gives the number for a message that is about to be sent.
func (v *Verifier) Sent(room, sender int32, at int64) uint32 {
	v.messages = append(v.messages, message{sentAt: at, room: room, sender: sender})
	return uint32(len(v.messages) - 1)
}

// Acked takes an acknowledgement.
func (v *Verifier) Acked(number uint32) {
	if int(number) >= len(v.messages) {
		v.faults.Foreign++
		return
	}
	v.messages[number].acked = true
}

// Joined begins a member's place: behind the history it was given, or at the
// beginning where there is none.
func (v *Verifier) Joined(p *Place, room int, history []uint32) {
	*p = Place{room: int32(room)}
	if len(history) == 0 {
		return
	}
	// What comes first in a room's history need not have come to anybody else
	// yet, so it may say nothing about the order.
	p.waiting = history
	v.settle(p)
}

// settle finds the place of a member that waits for it.
func (v *Verifier) settle(p *Place) {
	first := p.waiting[0]
	if int(first) >= len(v.messages) || v.messages[first].room != p.room {
		v.faults.Foreign++
		p.waiting, p.lost = nil, true
		return
	}
	pos := v.messages[first].pos
	if pos == 0 {
		return
	}
	numbers := p.waiting
	p.waiting, p.at = nil, pos-1
	for _, n := range numbers {
		v.Delivered(p, n)
	}
}

// Delivered takes a delivery. It gives the message's sender and when it was
// sent; the sender is -1 where there is no such message.
func (v *Verifier) Delivered(p *Place, number uint32) (sender int32, sentAt int64) {
	if int(number) >= len(v.messages) {
		v.faults.Foreign++
		return -1, 0
	}
	m := &v.messages[number]
	order := v.rooms[p.room].order
	switch {
	case p.waiting != nil:
		p.waiting = append(p.waiting, number)
		v.settle(p)
	case int(p.at) < len(order) && order[p.at] == number:
		p.at++
	default:
		v.unexpected(p, m, number)
	}
	return m.sender, m.sentAt
}

// unexpected takes a delivery that is not the next of its room's order.
func (v *Verifier) unexpected(p *Place, m *message, number uint32) {
	log := &v.rooms[p.room]
	switch {
	case p.lost:
	case m.room != p.room:
		v.faults.Foreign++
	case m.pos == 0:
		// New to all. Who is not at the end has passed over what is before it.
		p.pass(int32(len(log.order)))
		log.order = append(log.order, number)
		m.pos = int32(len(log.order))
		p.at = m.pos
		if number < v.last[m.sender] {
			v.faults.Reordered++
		}
		v.last[m.sender] = number + 1
	case m.pos-1 >= p.at:
		p.pass(m.pos - 1)
		p.at = m.pos
	case p.missed[m.pos-1]:
		delete(p.missed, m.pos-1)
		v.faults.Reordered++
	default:
		v.faults.Duplicated++
	}
}

// pass notes what a member has not got up to a position.
func (p *Place) pass(to int32) {
	if p.missed == nil && to > p.at {
		p.missed = make(map[int32]bool)
	}
	for ; p.at < to; p.at++ {
		p.missed[p.at] = true
	}
}

// Left ends a place: nothing more is expected to come, but what was passed over
// is lost.
func (v *Verifier) Left(p *Place) {
	v.faults.Lost += len(p.missed)
	*p = Place{}
}

// Reached tells that a member has all that has come to anybody in its room.
func (v *Verifier) Reached(p *Place) bool {
	if p.waiting != nil {
		v.settle(p)
	}
	return p.waiting == nil && int(p.at) == len(v.rooms[p.room].order)
}

// UnderWay is how many messages are not acknowledged, or have come to nobody.
func (v *Verifier) UnderWay() int {
	n := 0
	for i := range v.messages {
		if m := &v.messages[i]; !m.acked || m.pos == 0 {
			n++
		}
	}
	return n
}

// Verdict judges what has come to the places of those who have not left.
func (v *Verifier) Verdict(places []*Place) Faults {
	members := make([]int, len(v.rooms))
	lost := 0
	for _, p := range places {
		members[p.room]++
		switch {
		case v.Reached(p):
		case p.waiting != nil:
			lost++ // nobody else has what it was given
		case !p.lost:
			lost += len(v.rooms[p.room].order) - int(p.at)
		}
		lost += len(p.missed)
	}
	f := v.faults
	f.Lost += lost
	for i := range v.messages {
		m := &v.messages[i]
		if m.acked && m.pos == 0 {
			f.Lost += members[m.room]
		}
		if !m.acked {
			f.Unacked++
		}
	}
	return f
}
