package session

import (
	"slices"
	"strings"

	"github.com/parley-im/parley/services/gateway/internal/fanout"
)

// places are the rooms that a session is in, ordered by their ids. Most
// sessions are in a room or two, for which a map would cost 250 bytes.
type places []*fanout.Membership

func (p places) search(room string) (int, bool) {
	return slices.BinarySearchFunc(p, room, func(m *fanout.Membership, room string) int {
		return strings.Compare(m.Room(), room)
	})
}

// in gives the place in a room, nil where there is none.
func (p places) in(room string) *fanout.Membership {
	if i, ok := p.search(room); ok {
		return p[i]
	}
	return nil
}

// put notes a place, instead of the one that was had in its room.
func (p *places) put(m *fanout.Membership) {
	i, ok := p.search(m.Room())
	if ok {
		(*p)[i] = m
		return
	}
	*p = slices.Insert(*p, i, m)
}

// remove forgets the place in a room.
func (p *places) remove(room string) {
	if i, ok := p.search(room); ok {
		*p = slices.Delete(*p, i, i+1)
	}
}
