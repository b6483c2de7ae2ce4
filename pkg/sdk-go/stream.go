package parley

import "context"

// stream keeps events until they are read. Its owner's lock guards it.
type stream struct {
	items []Event
	// kept counts the events among them that must not go, passing the others.
	kept, passing int
	most          int // of each kind
	// arrived is there while somebody waits, and closed when an event comes or the
	// end changes.
	arrived chan struct{}
	end     error
}

func newStream(most int) stream { return stream{most: most} }

// watch gives what is closed with the next event or another end.
func (s *stream) watch() <-chan struct{} {
	if s.arrived == nil {
		s.arrived = make(chan struct{})
	}
	return s.arrived
}

// full tells whether nothing more can be kept.
func (s *stream) full() bool { return s.kept >= s.most }

// drained tells whether there is room for a good deal.
func (s *stream) drained() bool { return s.kept <= s.most/2 }

// keep takes an event that must not go; who calls it has asked full.
func (s *stream) keep(e Event) {
	s.kept++
	s.push(e)
}

// pass takes an event in place of the oldest of its kind, where too many wait.
func (s *stream) pass(e Event) {
	if s.passing >= s.most {
		for i, old := range s.items {
			if passes(old) {
				s.items = append(s.items[:i:i], s.items[i+1:]...)
				s.passing--
				break
			}
		}
	}
	s.passing++
	s.push(e)
}

func (s *stream) push(e Event) {
	s.items = append(s.items, e)
	s.signal()
}

// finish sets what is told behind what waits; nil takes it back.
func (s *stream) finish(err error) {
	s.end = err
	s.signal()
}

func (s *stream) signal() {
	if s.arrived != nil {
		close(s.arrived)
		s.arrived = nil
	}
}

// pop takes the oldest event.
func (s *stream) pop() (Event, bool) {
	if len(s.items) == 0 {
		return nil, false
	}
	e := s.items[0]
	s.items[0] = nil
	s.items = s.items[1:]
	if passes(e) {
		s.passing--
	} else {
		s.kept--
	}
	return e, true
}

// passes tells whether an event may go where too many wait.
func passes(e Event) bool {
	switch e.(type) {
	case Message, Edited, Deleted, Gap:
		return false
	}
	return true
}

// wait waits for a change that a channel tells.
func wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
