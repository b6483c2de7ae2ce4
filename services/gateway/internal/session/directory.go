package session

import (
	"slices"
	"sync"
)

// directory knows the sessions that are signed in, by user, and all that are
// open. Its size is bounded by the gateway's limit of connections.
//
// Sessions carry what they are found by themselves (listed, and sibling for the
// next session of the same user): maps of maps would cost each 200 bytes.
type directory struct {
	most  int // sessions of one user, 0 for any number
	mu    sync.Mutex
	all   []*Session
	users map[string]*Session // the first of each user's
}

func newDirectory(most int) *directory {
	return &directory{most: most, users: make(map[string]*Session)}
}

func (d *directory) open(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.listed = int32(len(d.all))
	d.all = append(d.all, s)
}

func (d *directory) close(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.all[len(d.all)-1]
	last.listed, d.all[s.listed] = s.listed, last
	d.all[len(d.all)-1] = nil
	d.all = d.all[:len(d.all)-1]
}

// add says whether the user may have one session more; only then it is there.
func (d *directory) add(s *Session, i *Identity) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most > 0 {
		n := 0
		for t := d.users[i.User.Id]; t != nil; t = t.sibling {
			n++
		}
		if n >= d.most {
			return false
		}
	}
	s.sibling = d.users[i.User.Id]
	d.users[i.User.Id] = s
	return true
}

func (d *directory) remove(s *Session, i *Identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.users[i.User.Id]
	if first == s {
		first = s.sibling
	}
	for t := first; t != nil; t = t.sibling {
		if t.sibling == s {
			t.sibling = s.sibling
			break
		}
	}
	s.sibling = nil
	if first == nil {
		delete(d.users, i.User.Id)
	} else {
		d.users[i.User.Id] = first
	}
}

// everyone gives all open sessions.
func (d *directory) everyone() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// signedIn gives the sessions of one user, or of all where user is "".
func (d *directory) signedIn(user string) []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Session
	take := func(s *Session) {
		for ; s != nil; s = s.sibling {
			list = append(list, s)
		}
	}
	if user != "" {
		take(d.users[user])
		return list
	}
	for _, first := range d.users {
		take(first)
	}
	return list
}

func (d *directory) counts() (sessions, users int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all), len(d.users)
}
