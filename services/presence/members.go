package presence

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// smallRoom is how many members a sorted slice holds before a tree takes over:
// a slice costs 8 bytes a member, and moving 4 KiB on an insert is still
// cheaper than what a tree weighs.
const smallRoom = 512

// members is a set of users in the order of their ids.
type members struct {
	small []*user
	large *btree.BTreeG[*user] // in place of small once it was too long
}

func (m *members) len() int {
	if m.large != nil {
		return m.large.Len()
	}
	return len(m.small)
}

// add reports whether u is new.
func (m *members) add(u *user) bool {
	if m.large != nil {
		_, had := m.large.Set(u)
		return !had
	}
	i, had := m.find(u.id)
	if had {
		return false
	}
	m.small = slices.Insert(m.small, i, u)
	if len(m.small) > smallRoom {
		m.large = newIndex(userLess)
		for _, u := range m.small {
			m.large.Load(u) // in order, so the nodes are filled one by one
		}
		m.small = nil
	}
	return true
}

func (m *members) remove(u *user) {
	if m.large != nil {
		m.large.Delete(u)
		return
	}
	if i, had := m.find(u.id); had {
		m.small = slices.Delete(m.small, i, i+1)
	}
}

func (m *members) has(id string) bool {
	if m.large != nil {
		_, had := m.large.Get(&user{id: id})
		return had
	}
	_, had := m.find(id)
	return had
}

// after calls f with the members whose ids follow id, until f returns false.
func (m *members) after(id string, f func(*user) bool) {
	if m.large != nil {
		usersAfter(m.large, id, f)
		return
	}
	i, had := m.find(id)
	if had {
		i++
	}
	for _, u := range m.small[i:] {
		if !f(u) {
			return
		}
	}
}

func (m *members) find(id string) (int, bool) {
	return slices.BinarySearchFunc(m.small, id, func(u *user, id string) int { return strings.Compare(u.id, id) })
}

// usersAfter calls f with the users of an index whose ids follow id, until f
// returns false.
func usersAfter(index *btree.BTreeG[*user], id string, f func(*user) bool) {
	index.Ascend(&user{id: id}, func(u *user) bool { return u.id == id || f(u) })
}
