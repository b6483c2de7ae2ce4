package registry

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/btree"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// Rooms are listed by id, by name and by how many users are in them. The first
// order is that of the picture's own indexes (list in look.go); here are the
// other two. Each has one index of the public rooms and one of all, so that a
// page never looks at rooms that the asker may not know of; a user's own private
// rooms are few, and sorted in between when they are asked for.

// named is a place in the order of names. The room is in it so that an index
// holds only pointers.
type named struct {
	name string // in lower case; the record's own string where it is that already
	id   string
}

func compareNames(a, b *named) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
}

func namedLess(a, b *named) bool {
	if a.name != b.name {
		return a.name < b.name
	}
	return a.id < b.id
}

// crowded is a place in the order of members. Only rooms that somebody is in
// have one, which are few beside those that there are; the others come behind
// them, by id.
type crowded struct {
	count int64
	id    string
}

func crowdedLess(a, b crowded) bool {
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.id, b.id)) < 0
}

// orders are the indexes. They belong to a picture, whose lock they are under.
type orders struct {
	byName, publicByName   *btree.BTreeG[*named]
	byCount, publicByCount *btree.BTreeG[crowded]
	counts                 map[string]int64 // users in each room that somebody is in
	counted                bool             // whether counts is the whole picture

	// loading: nobody asks yet, and names are sorted once when all are there,
	// which takes half as long as finding each its place.
	loading bool
}

func newOrders() orders {
	options := btree.Options{NoLocks: true}
	return orders{
		byName:        btree.NewBTreeGOptions(namedLess, options),
		publicByName:  btree.NewBTreeGOptions(namedLess, options),
		byCount:       btree.NewBTreeGOptions(crowdedLess, options),
		publicByCount: btree.NewBTreeGOptions(crowdedLess, options),
		counts:        make(map[string]int64),
	}
}

// replace takes in that a room's record has changed; nil is none.
func (o *orders) replace(id string, old, next *registryv1.Room) {
	place := func(room *registryv1.Room, in bool) {
		if !isListed(room) {
			return
		}
		if !o.loading {
			o.placeName(room, in)
		}
		if c := (crowded{o.counts[id], id}); c.count > 0 {
			o.placeCount(room, c, in)
		}
	}
	if isListed(old) && isListed(next) && old.Name == next.Name && old.Visibility == next.Visibility {
		return
	}
	place(old, false)
	place(next, true)
}

func (o *orders) placeName(room *registryv1.Room, in bool) {
	n := &named{strings.ToLower(room.Name), room.Id}
	for _, index := range []*btree.BTreeG[*named]{o.byName, o.publicByName} {
		switch {
		case index == o.publicByName && isPrivate(room):
		case in:
			index.Set(n)
		default:
			index.Delete(n)
		}
	}
}

// loaded ends the loading of the first picture; its lock is held.
func (p *picture) loaded() {
	o := &p.orders
	o.loading = false
	all := make([]*named, 0, len(p.byID))
	for id, e := range p.byID {
		if isListed(e.room) {
			all = append(all, &named{strings.ToLower(e.room.Name), id})
		}
	}
	slices.SortFunc(all, compareNames)
	for _, n := range all {
		o.byName.Load(n)
		if !isPrivate(p.byID[n.id].room) {
			o.publicByName.Load(n)
		}
	}
}

func (o *orders) placeCount(room *registryv1.Room, c crowded, in bool) {
	for _, index := range []*btree.BTreeG[crowded]{o.byCount, o.publicByCount} {
		switch {
		case index == o.publicByCount && isPrivate(room):
		case in:
			index.Set(c)
		default:
			index.Delete(c)
		}
	}
}

// count takes in how many users are in a room, of which it may have no record.
func (p *picture) count(id string, users int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &p.orders
	var room *registryv1.Room
	if e := p.byID[id]; e != nil && isListed(e.room) {
		room = e.room
	}
	if old := o.counts[id]; old > 0 && room != nil {
		o.placeCount(room, crowded{old, id}, false)
	}
	if users <= 0 {
		delete(o.counts, id)
		return
	}
	o.counts[id] = users
	if room != nil {
		o.placeCount(room, crowded{users, id}, true)
	}
}

// countedAll begins the time in which the counts are known, forgetCounts ends it.
func (p *picture) countedAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders.counted = true
}

func (p *picture) forgetCounts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders.counted = false
	clear(p.orders.counts)
	p.orders.byCount.Clear()
	p.orders.publicByCount.Clear()
}

// maxLooked bounds how many rooms one page looks at to find those with a
// prefix, or those that nobody is in. What it has not found by then is on the
// next pages.
const maxLooked = 10_000

// listNamed gives up to limit listed rooms that come after a place in the order
// of names, as long as their names begin with prefix.
func (p *picture) listNamed(user string, everything bool, after named, prefix string, limit int) (page []*registryv1.Room, last named) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	index := p.orders.publicByName
	var own []*named
	if everything {
		index = p.orders.byName
	} else {
		own = ownRooms(p, user, func(room *registryv1.Room) *named {
			n := &named{strings.ToLower(room.Name), room.Id}
			if !namedLess(&after, n) || !strings.HasPrefix(n.name, prefix) {
				return nil
			}
			return n
		})
		slices.SortFunc(own, compareNames)
	}
	if after.name < prefix {
		after = named{prefix, ""}
	}
	it := index.Iter()
	more := it.Seek(&after)
	if more && *it.Item() == after {
		more = it.Next()
	}
	for len(page) < limit && (more || len(own) > 0) {
		var next *named
		if more && (len(own) == 0 || namedLess(it.Item(), own[0])) {
			next, more = it.Item(), it.Next()
		} else {
			next, own = own[0], own[1:]
		}
		if !strings.HasPrefix(next.name, prefix) {
			more = false // and own has no such ones
			continue
		}
		page, last = append(page, p.byID[next.id].room), *next
	}
	return page, last
}

// listCrowded gives up to limit listed rooms that come after a place in the
// order of members and whose ids begin with prefix, with their counts. Where
// more is set, the list goes on after last; the page may be short, or empty,
// all the same. known says whether the counts are.
func (p *picture) listCrowded(user string, everything bool, after *crowded, prefix string, limit int) (page []*registryv1.Room, counts []int64, last crowded, more, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if !p.orders.counted {
		return nil, nil, last, false, false
	}
	looked := 0
	add := func(room *registryv1.Room, c crowded) bool {
		if len(page) == limit || looked == maxLooked {
			more = true
			return false
		}
		looked++
		last = c
		if strings.HasPrefix(c.id, prefix) && (c.count > 0 || p.orders.counts[c.id] == 0) {
			page, counts = append(page, room), append(counts, c.count)
		}
		return true
	}
	from := ""
	if after == nil || after.count > 0 {
		p.someoneIn(user, everything, after, func(c crowded) bool { return add(p.byID[c.id].room, c) })
	} else {
		from = after.id + "\x00"
	}
	if more {
		return page, counts, last, true, true
	}
	p.inOrder(user, everything, max(from, prefix), func(room *registryv1.Room) bool {
		return strings.HasPrefix(room.Id, prefix) && add(room, crowded{0, room.Id})
	})
	return page, counts, last, more, true
}

// someoneIn hands the rooms that somebody is in to f, those with the most
// users first, until f returns false; mu is held.
func (p *picture) someoneIn(user string, everything bool, after *crowded, f func(crowded) bool) {
	index := p.orders.publicByCount
	var own []crowded
	if everything {
		index = p.orders.byCount
	} else {
		for _, c := range ownRooms(p, user, func(room *registryv1.Room) *crowded {
			c := crowded{p.orders.counts[room.Id], room.Id}
			if c.count == 0 || after != nil && !crowdedLess(*after, c) {
				return nil
			}
			return &c
		}) {
			own = append(own, *c)
		}
		slices.SortFunc(own, func(a, b crowded) int {
			return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.id, b.id))
		})
	}
	it := index.Iter()
	more := it.First()
	if after != nil {
		if more = it.Seek(*after); more && it.Item() == *after {
			more = it.Next()
		}
	}
	for more || len(own) > 0 {
		var next crowded
		if more && (len(own) == 0 || crowdedLess(it.Item(), own[0])) {
			next, more = it.Item(), it.Next()
		} else {
			next, own = own[0], own[1:]
		}
		if !f(next) {
			return
		}
	}
}

// ownRooms gives what place makes of the listed private rooms that a user
// belongs to, leaving nil out; mu is held.
func ownRooms[T any](p *picture, user string, place func(*registryv1.Room) *T) (own []*T) {
	if set := p.private[user]; set != nil {
		set.Scan(func(id string) bool {
			if t := place(p.byID[id].room); t != nil {
				own = append(own, t)
			}
			return true
		})
	}
	return own
}

func isPrivate(room *registryv1.Room) bool {
	return room.GetVisibility() == registryv1.Visibility_VISIBILITY_PRIVATE
}

// The cursors of these orders: a place, written so that it fits no other order.

func (n named) cursor() string { return cursorOf("n" + n.name + "\x00" + n.id) }

func fromNameCursor(cursor string) (named, error) {
	text, err := fromCursor(cursor, func(field, text string) error {
		name, id, ok := strings.Cut(strings.TrimPrefix(text, "n"), "\x00")
		if !ok || text[0] != 'n' || name == "" {
			return errs.Invalid(field, "is of another order")
		}
		return ids.CheckRoom(field, id)
	})
	if err != nil || text == "" {
		return named{}, err
	}
	name, id, _ := strings.Cut(text[1:], "\x00")
	return named{name, id}, nil
}

func (c crowded) cursor() string { return cursorOf(strconv.FormatInt(c.count, 10) + "\x00" + c.id) }

func fromCountCursor(cursor string) (*crowded, error) {
	var place crowded
	text, err := fromCursor(cursor, func(field, text string) error {
		count, id, _ := strings.Cut(text, "\x00")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 0 {
			return errs.Invalid(field, "is of another order")
		}
		place = crowded{n, id}
		return ids.CheckRoom(field, id)
	})
	if err != nil || text == "" {
		return nil, err
	}
	return &place, nil
}
