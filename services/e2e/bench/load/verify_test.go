package load

import "testing"

// crowd is members of a room, with the messages 0, 1, 2, … of two senders, 7 and
// 8, in turn, all acknowledged.
type crowd struct {
	*Verifier
	places []*Place
}

const otherRoom = 1

func newCrowd(members, messages int) *crowd {
	c := &crowd{Verifier: NewVerifier(2)}
	for range members {
		c.join(0)
	}
	for i := range messages {
		c.Acked(c.Sent(0, 7+int32(i%2), 0))
	}
	return c
}

func (c *crowd) join(room int, history ...uint32) *Place {
	p := new(Place)
	c.Joined(p, room, history)
	c.places = append(c.places, p)
	return p
}

func (c *crowd) give(member int, numbers ...uint32) {
	for _, n := range numbers {
		c.Delivered(c.places[member], n)
	}
}

func (c *crowd) leave(member int) {
	c.Left(c.places[member])
	c.places = append(c.places[:member], c.places[member+1:]...)
}

func TestVerifier(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*crowd)
		want Faults
	}{
		"all is well":                {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 0, 1, 2, 3) }, Faults{}},
		"one turn each":              {func(c *crowd) { c.give(0, 0); c.give(1, 0, 1, 2); c.give(0, 1, 2, 3); c.give(1, 3) }, Faults{}},
		"another order of senders":   {func(c *crowd) { c.give(0, 1, 0, 3, 2); c.give(1, 1, 0, 3, 2) }, Faults{}},
		"the last is lost":           {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 0, 1, 2) }, Faults{Lost: 1}},
		"one between is lost":        {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 0, 2, 3) }, Faults{Lost: 1}},
		"the first two are lost":     {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 2, 3) }, Faults{Lost: 2}},
		"lost by who is ahead":       {func(c *crowd) { c.give(0, 0); c.give(1, 0, 1, 2, 3); c.give(0, 2, 3) }, Faults{Lost: 1}},
		"passed over by who leads":   {func(c *crowd) { c.give(0, 0, 1); c.give(1, 2, 3); c.give(0, 2, 3) }, Faults{Lost: 2}},
		"lost by all":                {func(c *crowd) { c.give(0, 0, 1, 3); c.give(1, 0, 1, 3) }, Faults{Lost: 2}},
		"everything is lost":         {func(*crowd) {}, Faults{Lost: 8}},
		"twice at once":              {func(c *crowd) { c.give(0, 0, 1, 1, 2, 3); c.give(1, 0, 1, 2, 3) }, Faults{Duplicated: 1}},
		"twice, later":               {func(c *crowd) { c.give(0, 0, 1, 2, 3, 0); c.give(1, 0, 1, 2, 3) }, Faults{Duplicated: 1}},
		"twice for all":              {func(c *crowd) { c.give(0, 0, 1, 1, 2, 3); c.give(1, 0, 1, 1, 2, 3) }, Faults{Duplicated: 2}},
		"one sees another order":     {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 0, 2, 1, 3) }, Faults{Reordered: 1}},
		"twice, once in disorder":    {func(c *crowd) { c.give(0, 0, 1, 2, 3); c.give(1, 0, 2, 1, 1, 3) }, Faults{Reordered: 1, Duplicated: 1}},
		"a sender's own are swapped": {func(c *crowd) { c.give(0, 2, 1, 0, 3); c.give(1, 2, 1, 0, 3) }, Faults{Reordered: 1}},
		"never sent":                 {func(c *crowd) { c.give(0, 0, 1, 99, 2, 3); c.give(1, 0, 1, 2, 3) }, Faults{Foreign: 1}},
		"of another room": {func(c *crowd) {
			c.Acked(c.Sent(otherRoom, 9, 0)) // which nobody is in
			c.give(0, 0, 1, 4, 2, 3)
			c.give(1, 0, 1, 2, 3)
		}, Faults{Foreign: 1}},
		"not acknowledged":  {func(c *crowd) { c.Sent(0, 7, 0); c.give(0, 0, 1, 2, 3); c.give(1, 0, 1, 2, 3) }, Faults{Unacked: 1}},
		"an ack of nothing": {func(c *crowd) { c.Acked(99); c.give(0, 0, 1, 2, 3); c.give(1, 0, 1, 2, 3) }, Faults{Foreign: 1}},
		"joined with history": {func(c *crowd) {
			c.give(0, 0, 1, 2)
			c.give(1, 0, 1, 2)
			c.join(0, 1, 2)
			c.give(0, 3)
			c.give(1, 3)
			c.give(2, 3)
		}, Faults{}},
		"joined before anybody else has the history": {func(c *crowd) {
			c.join(0, 1, 2)
			c.give(2, 3)
			c.give(0, 0, 1, 2, 3)
			c.give(1, 0, 1, 2, 3)
		}, Faults{}},
		"joined with what nobody else gets": {func(c *crowd) {
			c.join(0, 3)
			c.give(0, 0, 1, 2)
			c.give(1, 0, 1, 2)
		}, Faults{Lost: 4}}, // three for the message, and one for the place that nobody knows
		"joined, and lost what came behind the history": {func(c *crowd) {
			c.give(0, 0, 1, 2, 3)
			c.give(1, 0, 1, 2, 3)
			c.join(0, 0, 1)
			c.give(2, 3)
		}, Faults{Lost: 1}},
		"joined with a hole in the history": {func(c *crowd) {
			c.give(0, 0, 1, 2, 3)
			c.give(1, 0, 1, 2, 3)
			c.join(0, 1, 3)
		}, Faults{Lost: 1}},
		"joined, and got the last again": {func(c *crowd) {
			c.give(0, 0, 1, 2)
			c.give(1, 0, 1, 2)
			c.join(0, 1, 2)
			c.give(2, 2, 3)
			c.give(0, 3)
			c.give(1, 3)
		}, Faults{Duplicated: 1}},
		"joined with another room's history": {func(c *crowd) {
			c.give(0, 0, 1, 2, 3)
			c.give(1, 0, 1, 2, 3)
			c.join(otherRoom, 0)
		}, Faults{Foreign: 1}},
		"left in time": {func(c *crowd) {
			c.give(0, 0, 1)
			c.give(1, 0, 1, 2, 3)
			c.leave(0)
		}, Faults{}},
		"left, and had lost one": {func(c *crowd) {
			c.give(1, 0, 1, 2, 3)
			c.give(0, 0, 2)
			c.leave(0)
		}, Faults{Lost: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			crowd := newCrowd(2, 4)
			c.do(crowd)
			if got := crowd.Verdict(crowd.places); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
