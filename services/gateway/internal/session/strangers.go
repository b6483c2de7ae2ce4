package session

import "sync"

// strangers are the sessions that have not signed in, in the order in which they
// came. Sessions carry the list themselves: elder came before, younger after.
type strangers struct {
	mu             sync.Mutex
	oldest, newest *Session
	count          int
}

// add notes a session. Where there are more than most (0 is any number), it gives
// the one that has waited longest, which is none of them any more.
func (l *strangers) add(s *Session, most int) (longest *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.elder = l.newest; s.elder != nil {
		s.elder.younger = s
	} else {
		l.oldest = s
	}
	l.newest = s
	l.count++
	if most == 0 || l.count <= most {
		return nil
	}
	longest = l.oldest
	l.take(longest)
	return longest
}

// remove is for a session that has signed in or ended; one that is not there
// stays so.
func (l *strangers) remove(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.elder != nil || s.younger != nil || l.oldest == s {
		l.take(s)
	}
}

// take takes one out; l.mu is held.
func (l *strangers) take(s *Session) {
	if s.elder != nil {
		s.elder.younger = s.younger
	} else {
		l.oldest = s.younger
	}
	if s.younger != nil {
		s.younger.elder = s.elder
	} else {
		l.newest = s.elder
	}
	s.elder, s.younger = nil, nil
	l.count--
}

// len is how many there are.
func (l *strangers) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
