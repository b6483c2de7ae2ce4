package session

import "sync"

// directory knows the sessions that are signed in, by user, and all that are
// open. Its size is bounded by the gateway's limit of connections.
type directory struct {
	mu    sync.Mutex
	all   map[*Session]struct{}
	users map[string]map[*Session]struct{}
}

func newDirectory() *directory {
	return &directory{all: make(map[*Session]struct{}), users: make(map[string]map[*Session]struct{})}
}

func (d *directory) open(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[s] = struct{}{}
}

func (d *directory) close(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, s)
}

func (d *directory) add(s *Session, i *Identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set := d.users[i.User.Id]
	if set == nil {
		set = make(map[*Session]struct{}, 1)
		d.users[i.User.Id] = set
	}
	set[s] = struct{}{}
}

func (d *directory) remove(s *Session, i *Identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set := d.users[i.User.Id]
	delete(set, s)
	if len(set) == 0 {
		delete(d.users, i.User.Id)
	}
}

// everyone gives all open sessions.
func (d *directory) everyone() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*Session, 0, len(d.all))
	for s := range d.all {
		list = append(list, s)
	}
	return list
}

// signedIn gives the sessions of one user, or of all where user is "".
func (d *directory) signedIn(user string) []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Session
	if user != "" {
		for s := range d.users[user] {
			list = append(list, s)
		}
		return list
	}
	for _, set := range d.users {
		for s := range set {
			list = append(list, s)
		}
	}
	return list
}

func (d *directory) counts() (sessions, users int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all), len(d.users)
}
