package registry

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// TestOrdersAreTheModel changes rooms, standings and counts at random and
// compares every list with one that is sorted anew.
func TestOrdersAreTheModel(t *testing.T) {
	const rooms, users = 40, 3
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := newPicture(func(r uint64) string { return fmt.Sprint(r) }, func(string, *registryv1.Room) {})
		p.countedAll()
		revision := uint64(0)
		counts := make(map[string]int64)
		put := func(key string, value []byte) {
			revision++
			if err := p.apply(bus.Entry{Key: key, Value: value, Revision: revision, Deleted: value == nil}); err != nil {
				t.Fatal(err)
			}
		}
		for range 300 {
			id := fmt.Sprintf("%c%d", 'a'+rng.IntN(2), rng.IntN(rooms))
			switch rng.IntN(4) {
			case 0:
				put(roomKey(id), nil)
			case 1:
				room := &registryv1.Room{
					Id: id, Name: []string{"X", "x", "Y", "Xylo", "Ä"}[rng.IntN(5)], Visibility: public, CreationRevision: 1,
				}
				if rng.IntN(2) == 0 {
					room.Visibility = private
				}
				value, err := encodeRoom(room)
				if err != nil {
					t.Fatal(err)
				}
				put(roomKey(id), value)
			case 2:
				m := as(fmt.Sprint("u", rng.IntN(users)))
				value, err := encodeMember(&registryv1.Member{User: m.User, Role: registryv1.Role(rng.IntN(3)), Epoch: "1"})
				if err != nil {
					t.Fatal(err)
				}
				put(memberKey(id, m.User.Id), value)
			case 3:
				counts[id] = rng.Int64N(4)
				p.count(id, counts[id])
			}
		}
		for u := range users + 1 {
			user, all := fmt.Sprint("u", u), u == users
			var seen []*registryv1.Room
			for _, e := range p.byID {
				if all || !isPrivate(e.room) || p.roleIn(e.room, user) != none {
					seen = append(seen, e.room)
				}
			}
			for _, limit := range []int{1, 3, 100} {
				for _, prefix := range []string{"", "a", "x"} {
					var want, got []string
					slices.SortFunc(seen, func(a, b *registryv1.Room) int {
						return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Id, b.Id))
					})
					for _, room := range seen {
						if strings.HasPrefix(strings.ToLower(room.Name), prefix) {
							want = append(want, room.Id)
						}
					}
					for after, more := (named{}), true; more; {
						var page []*registryv1.Room
						page, after = p.listNamed(user, all, after, prefix, limit)
						for _, room := range page {
							got = append(got, room.Id)
						}
						more = len(page) == limit
					}
					if !slices.Equal(got, want) {
						t.Fatalf("seed %d: by name, %s by %d with %q: %v, want %v", seed, user, limit, prefix, got, want)
					}

					want, got = nil, nil
					slices.SortFunc(seen, func(a, b *registryv1.Room) int {
						return cmp.Or(cmp.Compare(counts[b.Id], counts[a.Id]), cmp.Compare(a.Id, b.Id))
					})
					for _, room := range seen {
						if strings.HasPrefix(room.Id, prefix) {
							want = append(want, fmt.Sprint(room.Id, ":", counts[room.Id]))
						}
					}
					var after *crowded
					for more := true; more; {
						page, ns, last, next, known := p.listCrowded(user, all, after, prefix, limit)
						if !known || len(page) > limit {
							t.Fatalf("seed %d: a page of %d, known %v", seed, len(page), known)
						}
						for i, room := range page {
							got = append(got, fmt.Sprint(room.Id, ":", ns[i]))
						}
						after, more = &last, next
					}
					if !slices.Equal(got, want) {
						t.Fatalf("seed %d: by members, %s by %d with %q: %v, want %v", seed, user, limit, prefix, got, want)
					}
				}
			}
		}
		p.forgetCounts()
		if n := p.orders.byCount.Len() + p.orders.publicByCount.Len() + len(p.orders.counts); n != 0 {
			t.Fatalf("seed %d: %d counts are left", seed, n)
		}
	}
}

func TestOrdersAreAskedFor(t *testing.T) {
	c := new(crowd)
	r := alone(t, Options{Presence: c})
	for id, name := range map[string]string{"a": "Zoo", "b": "yak", "c": "Xerus"} {
		r.mustCreate(&registryv1.CreateRoomRequest{RoomId: id, Name: name, Persistent: true})
	}
	list := func(req *registryv1.ListRoomsRequest) (ids string, err error) {
		req.Limit = 2
		for {
			page, err := r.ListRooms(t.Context(), req)
			if err != nil {
				return ids, err
			}
			for _, room := range page.Rooms {
				ids += room.Id
			}
			if req.Cursor = page.NextCursor; req.Cursor == "" {
				return ids, nil
			}
		}
	}
	c.set("b", 3)
	c.set("c", 5)
	for _, want := range []struct {
		sort registryv1.Sort
		ids  string
	}{{registryv1.Sort_SORT_UNSPECIFIED, "abc"}, {registryv1.Sort_SORT_ID, "abc"}, {registryv1.Sort_SORT_NAME, "cba"}, {registryv1.Sort_SORT_MEMBERS, "cba"}} {
		eventually(t, fmt.Sprint("in the order ", want.sort), func() bool {
			got, err := list(&registryv1.ListRoomsRequest{Sort: want.sort})
			return err == nil && got == want.ids
		})
	}
	_, err := r.ListRooms(t.Context(), &registryv1.ListRoomsRequest{Sort: 7})
	wantCode(t, "an order that there is not", err, errs.InvalidArgument)
	page, err := r.ListRooms(t.Context(), &registryv1.ListRoomsRequest{Sort: registryv1.Sort_SORT_NAME, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, sort := range []registryv1.Sort{registryv1.Sort_SORT_ID, registryv1.Sort_SORT_MEMBERS} {
		_, err := r.ListRooms(t.Context(), &registryv1.ListRoomsRequest{Sort: sort, Cursor: page.NextCursor})
		wantCode(t, fmt.Sprint("a cursor of another order for ", sort), err, errs.InvalidArgument)
	}
	c.interrupt(true)
	eventually(t, "without presence nobody knows the counts", func() bool {
		_, err := list(&registryv1.ListRoomsRequest{Sort: registryv1.Sort_SORT_MEMBERS})
		return errs.CodeOf(err) == errs.Unavailable
	})
	c.interrupt(false)
	eventually(t, "they are known again", func() bool {
		got, err := list(&registryv1.ListRoomsRequest{Sort: registryv1.Sort_SORT_MEMBERS})
		return err == nil && got == "cba"
	})
}

// TestAPageLooksAtABoundedNumberOfRooms: what has the prefix lies behind many
// that have not.
func TestAPageLooksAtABoundedNumberOfRooms(t *testing.T) {
	p := newPicture(func(uint64) string { return "" }, func(string, *registryv1.Room) {})
	p.countedAll()
	const rooms = 3*maxLooked + 1
	for i := range rooms {
		id := fmt.Sprintf("a%06d", i)
		if i == rooms-1 {
			id = "z"
		}
		room := &registryv1.Room{Id: id, Name: id, Visibility: public}
		value, err := encodeRoom(room)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.apply(bus.Entry{Key: roomKey(id), Value: value, Revision: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
		p.count(id, 1)
	}
	var found []string
	var after *crowded
	pages := 0
	for more := true; more; pages++ {
		page, _, last, next, _ := p.listCrowded("u", false, after, "z", 10)
		for _, room := range page {
			found = append(found, room.Id)
		}
		after, more = &last, next
	}
	if !slices.Equal(found, []string{"z"}) || pages != 4 {
		t.Errorf("found %v on %d pages", found, pages)
	}
}
