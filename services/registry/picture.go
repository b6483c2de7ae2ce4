package registry

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// picture is the whole bucket in memory, indexed for what is asked.
//
// Entries come from the watch and from this replica's own reads and writes, in
// any order; of each key the greatest revision wins. Records in it are never
// changed, only replaced, so they may be handed out without a copy.
//
// Its lock is taken before vacancy's, never the other way round.
type picture struct {
	epoch func(creationRevision uint64) string
	// changed is told of every change of a room (nil: it is gone), under mu.
	changed func(id string, room *registryv1.Room)

	mu        sync.RWMutex
	byID      map[string]*roomEntry
	listed    btree.Map[string, *registryv1.Room] // neither hidden nor the lobby
	public    btree.Map[string, *registryv1.Room] // of those the public ones
	hidden    btree.Map[string, *registryv1.Room]
	private   map[string]*btree.Set[string] // user → listed private rooms that the user belongs to
	rosters   map[string]*roster            // by room; also of rooms that are gone
	standings int                           // in all rosters
	endings   map[string]*endingEntry       // by room
	sanctions sanctions
	orders    orders

	// gone keeps a key that this replica knows to have been deleted from coming
	// back by what the watch still has to tell of earlier. An entry stays only
	// until the watch tells of the deletion.
	gone map[string]tombstone
	// told is how far the present watch has come. What is no newer and not here
	// was taken away since: an answer that was on its way meanwhile does not
	// bring it back.
	told uint64
	// generation counts the watches; what a whole one did not mention is gone.
	generation uint32
}

type roomEntry struct {
	room       *registryv1.Room
	generation uint32
}

type roster = btree.Map[string, *standing] // by user

type standing struct {
	member     *registryv1.Member
	revision   uint64
	generation uint32
}

type endingEntry struct {
	ending
	revision   uint64
	seen       time.Time // by this replica, at this revision
	generation uint32
}

type tombstone struct {
	revision   uint64
	generation uint32
}

func newPicture(epoch func(uint64) string, changed func(string, *registryv1.Room)) *picture {
	return &picture{
		epoch:   epoch,
		changed: changed,
		byID:    make(map[string]*roomEntry),
		private: make(map[string]*btree.Set[string]),
		rosters: make(map[string]*roster),
		endings: make(map[string]*endingEntry),
		gone:    make(map[string]tombstone),

		sanctions: newSanctions(),
		orders:    newOrders(),
	}
}

// watched takes in an entry that the watch tells.
func (p *picture) watched(entry bus.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.take(entry, 0)
	p.told = max(p.told, entry.Revision)
	return err
}

// apply takes in an entry that was asked for.
func (p *picture) apply(entry bus.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(entry, p.told)
}

// take takes one entry in; what is older than what is known has no effect, and of
// a key that is not here, what is known is that it had no value at revision none.
// The error is of a value that nobody could decode; mu is held.
func (p *picture) take(entry bus.Entry, none uint64) error {
	kind, room, user, ok := parseKey(entry.Key)
	if !ok {
		return nil
	}
	known := p.touch(kind, room, user)
	if known == 0 {
		known = none
	}
	if entry.Revision <= known {
		return nil
	}
	if t, ok := p.gone[entry.Key]; ok {
		if entry.Revision <= t.revision {
			return nil
		}
		delete(p.gone, entry.Key)
	}
	if entry.Deleted {
		p.remove(kind, room, user)
		return nil
	}
	switch kind {
	case "r":
		record, err := decodeRoom(entry, p.epoch)
		if err == nil {
			err = checkRecord(entry.Key, room, record)
		}
		if err != nil {
			return err
		}
		p.setRoom(room, record)
	case "m":
		member := new(registryv1.Member)
		if err := proto.Unmarshal(entry.Value, member); err != nil {
			return fmt.Errorf("decoding %s: %w", entry.Key, err)
		}
		if err := checkStanding(entry.Key, room, user, member); err != nil {
			return err
		}
		member.Revision = entry.Revision
		p.setStanding(room, user, &standing{member, entry.Revision, p.generation})
	case "e":
		e := &endingEntry{revision: entry.Revision, seen: time.Now(), generation: p.generation}
		if err := json.Unmarshal(entry.Value, &e.ending); err != nil {
			return fmt.Errorf("decoding %s: %w", entry.Key, err)
		}
		p.endings[room] = e
	}
	return nil
}

// forget takes in that a key has no value any more, of which only this is
// known: it had none after this revision.
func (p *picture) forget(key string, revision uint64) {
	kind, room, user, ok := parseKey(key)
	if !ok || revision == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// A key that is not here any more was taken away by the watch, which is past
	// all that there was to tell.
	if known := p.touch(kind, room, user); known == 0 || known > revision {
		return
	}
	p.gone[key] = tombstone{revision, p.generation}
	p.remove(kind, room, user)
}

// touch marks a key as seen by this generation and gives the revision that is
// known of it, 0 for none; mu is held.
func (p *picture) touch(kind, room, user string) uint64 {
	switch kind {
	case "r":
		if e := p.byID[room]; e != nil {
			e.generation = p.generation
			return e.room.Revision
		}
	case "m":
		if st := p.standing(room, user); st != nil {
			st.generation = p.generation
			return st.revision
		}
	case "e":
		if e := p.endings[room]; e != nil {
			e.generation = p.generation
			return e.revision
		}
	}
	return 0
}

// revision tells what is known of a key, 0 for nothing.
func (p *picture) revision(key string) uint64 {
	kind, room, user, _ := parseKey(key)
	p.mu.RLock()
	defer p.mu.RUnlock()
	switch kind {
	case "r":
		if e := p.byID[room]; e != nil {
			return e.room.Revision
		}
	case "m":
		if st := p.standing(room, user); st != nil {
			return st.revision
		}
	case "e":
		if e := p.endings[room]; e != nil {
			return e.revision
		}
	}
	return 0
}

func (p *picture) remove(kind, room, user string) {
	switch kind {
	case "r":
		p.setRoom(room, nil)
	case "m":
		p.setStanding(room, user, nil)
	case "e":
		delete(p.endings, room)
	}
}

// setRoom replaces a record, or takes it away when next is nil; mu is held.
func (p *picture) setRoom(id string, next *registryv1.Room) {
	var old *registryv1.Room
	if e := p.byID[id]; e != nil {
		old = e.room
	}
	if next == nil {
		delete(p.byID, id)
	} else {
		p.byID[id] = &roomEntry{next, p.generation}
	}
	place := func(index *btree.Map[string, *registryv1.Room], in bool) {
		if in {
			index.Set(id, next)
		} else {
			index.Delete(id)
		}
	}
	place(&p.listed, isListed(next))
	place(&p.public, isListed(next) && !isPrivate(next))
	place(&p.hidden, next != nil && next.HiddenAt != nil)
	p.orders.replace(id, old, next)

	if isListedPrivate(old) != isListedPrivate(next) || old.GetEpoch() != next.GetEpoch() {
		if r := p.rosters[id]; r != nil {
			r.Scan(func(user string, _ *standing) bool {
				p.indexPrivate(id, user)
				return true
			})
		}
		for _, r := range []*registryv1.Room{old, next} {
			for _, user := range impliedMembers(r) {
				p.indexPrivate(id, user.Id)
			}
		}
	}
	p.changed(id, next)
}

// setStanding replaces a standing, or takes it away when next is nil; mu is held.
func (p *picture) setStanding(room, user string, next *standing) {
	r := p.rosters[room]
	if r == nil {
		r = new(roster)
		p.rosters[room] = r
	}
	p.sanctions.replace(room, user, p.standing(room, user), next)
	p.standings -= r.Len()
	if next != nil {
		r.Set(user, next)
	} else {
		r.Delete(user)
	}
	p.standings += r.Len()
	if r.Len() == 0 {
		delete(p.rosters, room)
	}
	p.indexPrivate(room, user)
}

// indexPrivate puts a room into a user's private rooms, or out of them.
func (p *picture) indexPrivate(id, user string) {
	if user == "" {
		return
	}
	var room *registryv1.Room
	if e := p.byID[id]; e != nil {
		room = e.room
	}
	set := p.private[user]
	if isListedPrivate(room) && p.roleIn(room, user) != registryv1.Role_ROLE_UNSPECIFIED {
		if set == nil {
			set = new(btree.Set[string])
			p.private[user] = set
		}
		set.Insert(id)
	} else if set != nil {
		set.Delete(id)
		if set.Len() == 0 {
			delete(p.private, user)
		}
	}
}

func (p *picture) standing(room, user string) *standing {
	if r := p.rosters[room]; r != nil {
		st, _ := r.Get(user)
		return st
	}
	return nil
}

// roleIn tells a user's role in the present life of a room; mu is held.
func (p *picture) roleIn(room *registryv1.Room, user string) registryv1.Role {
	if st := p.standing(room.Id, user); st != nil && st.member.Epoch == room.Epoch {
		return st.member.Role
	}
	switch {
	case implied(room, user) == nil:
		return registryv1.Role_ROLE_UNSPECIFIED
	case len(room.Direct) > 0:
		return registryv1.Role_ROLE_MEMBER
	}
	return registryv1.Role_ROLE_OWNER
}

// impliedMembers are those who need no standing to belong to a room, ordered by
// their ids: the maker, or the two of a direct room.
func impliedMembers(room *registryv1.Room) []*wirev1.User {
	if room.GetOwner().GetId() != "" {
		return []*wirev1.User{room.Owner}
	}
	return room.GetDirect()
}

// implied gives the user among the implied members of a room, nil if it is none
// of them.
func implied(room *registryv1.Room, id string) *wirev1.User {
	if room.Owner.GetId() == id && id != "" {
		return room.Owner
	}
	for _, u := range room.Direct {
		if u.Id == id {
			return u
		}
	}
	return nil
}

// begin starts a generation: a watch that tells everything anew.
func (p *picture) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders.loading = p.orders.loading || p.generation == 0
	p.generation++
	p.told = 0
}

// sweep ends the telling: what the present generation has not seen was
// deleted, and its marker too, while nobody was watching.
func (p *picture) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.byID {
		if e.generation != p.generation {
			p.setRoom(id, nil)
		}
	}
	for id, r := range p.rosters {
		var old []string
		r.Scan(func(user string, st *standing) bool {
			if st.generation != p.generation {
				old = append(old, user)
			}
			return true
		})
		for _, user := range old {
			p.setStanding(id, user, nil)
		}
	}
	for id, e := range p.endings {
		if e.generation != p.generation {
			delete(p.endings, id)
		}
	}
	for key, t := range p.gone {
		if t.generation != p.generation {
			delete(p.gone, key)
		}
	}
	if p.orders.loading {
		p.loaded()
	}
}

func isListed(room *registryv1.Room) bool {
	return room != nil && room.HiddenAt == nil && room.Id != ids.Lobby
}

func isListedPrivate(room *registryv1.Room) bool {
	return isListed(room) && isPrivate(room)
}
