package registry

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// FuzzRecords writes two records into the bucket of rooms, whatever they are, and
// goes through all lists from any cursor on. Nobody finds a private room of others,
// no list names what is not there, and pages follow each other.
func FuzzRecords(f *testing.F) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	alice := &wirev1.User{Id: "alice", Username: "Alice"}
	private := registryv1.Visibility_VISIBILITY_PRIVATE
	soon := &registryv1.Sanction{Until: timestamppb.New(time.Unix(1, 0)), Reason: "r"}
	for _, seed := range []struct {
		key1   string
		value1 []byte
		key2   string
		value2 []byte
		cursor string
		prefix string
	}{
		{roomKey("one"), encode(&registryv1.Room{Id: "one", Name: "One", Owner: alice}), roomKey("two"), encode(&registryv1.Room{Id: "two", Name: "one", Visibility: private, Owner: alice}), cursorOf("one"), "o"},
		// What is in a record is not what its key says.
		{roomKey("one"), encode(&registryv1.Room{Id: "two", Name: "Two"}), roomKey("three"), encode(&registryv1.Room{}), named{"one", "one"}.cursor(), ""},
		{roomKey("one"), encode(&registryv1.Room{Id: "one", Direct: []*wirev1.User{alice, {}}}), memberKey("one", "bob"), encode(&registryv1.Member{Role: member, Ban: soon, Mute: &registryv1.Sanction{}}), cursorOf("alice"), ""},
		{roomKey("one"), encode(&registryv1.Room{Id: "one", HiddenAt: timestamppb.Now()}), memberKey("one", "bob"), encode(&registryv1.Member{User: alice, Role: 77}), crowded{3, "one"}.cursor(), "x"},
		{endingKey("one"), []byte(`{"epoch":"x-1","claimed":true}`), "r.YS5i", encode(&registryv1.Room{Id: "a.b"}), "AA", "\x00"},
		{".", nil, "rm.a.b", []byte("x"), "bgAA", "dm:"},
	} {
		f.Add(seed.key1, seed.value1, seed.key2, seed.value2, seed.cursor, seed.prefix)
	}
	f.Fuzz(func(t *testing.T, key1 string, value1 []byte, key2 string, value2 []byte, cursor, prefix string) {
		p := newPicture(func(uint64) string { return "x" }, func(string, *registryv1.Room) {})
		p.begin()
		p.sweep()
		p.countedAll()
		fixed := []*registryv1.Room{
			{Id: "open", Name: "Open", Visibility: registryv1.Visibility_VISIBILITY_PUBLIC},
			{Id: "secret", Name: "Secret", Visibility: private, Owner: &wirev1.User{Id: "carol"}},
		}
		for i, room := range fixed {
			value, err := encodeRoom(room)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.apply(bus.Entry{Key: roomKey(room.Id), Value: value, Revision: uint64(i + 1)}); err != nil {
				t.Fatal(err)
			}
			p.count(room.Id, int64(i+1))
		}
		_ = p.apply(bus.Entry{Key: key1, Value: value1, Revision: 10})
		_ = p.apply(bus.Entry{Key: key2, Value: value2, Revision: 11})
		if _, room, _, ok := parseKey(key1); ok {
			p.count(room, 2)
		}
		lists(t, p, cursor, prefix)

		// And all of it goes again.
		for i, key := range []string{key1, key2} {
			_ = p.apply(bus.Entry{Key: key, Revision: 20 + uint64(i), Deleted: true})
		}
		for i, room := range fixed {
			_ = p.apply(bus.Entry{Key: roomKey(room.Id), Revision: 30 + uint64(i), Deleted: true})
		}
		if left := len(p.byID) + len(p.rosters) + len(p.endings) + len(p.private) + len(p.sanctions.users) + p.sanctions.ends.Len() + p.listed.Len() + p.public.Len() + p.hidden.Len() + p.orders.byName.Len() + p.orders.publicByName.Len() + p.orders.byCount.Len(); left > 0 {
			t.Errorf("%d entries are left when all records are gone", left)
		}
		p.begin()
		p.sweep()
		lists(t, p, cursor, prefix)
	})
}

// lists reads all lists, by users of whom none belongs to a private room but carol,
// and as an admin.
func lists(t *testing.T, p *picture, cursor, prefix string) {
	t.Helper()
	for _, who := range []string{"nobody", "alice", "carol", ""} {
		all := who == ""
		look := func(rooms []*registryv1.Room) {
			for _, room := range rooms {
				switch {
				case p.room(room.Id) != room:
					t.Errorf("%v is listed and not there", room)
				case !all && isPrivate(room) && p.role(room, who) == none:
					t.Errorf("%s sees the private room %q", who, room.Id)
				}
			}
		}
		if after, err := fromCursor(cursor, ids.CheckRoom); err == nil && checkPrefix(prefix) == nil {
			from := ""
			if after != "" {
				from = after + "\x00"
			}
			page := p.list(who, all, from, prefix, 3)
			look(page)
			for _, room := range page {
				if room.Id <= after || !strings.HasPrefix(room.Id, prefix) {
					t.Errorf("%q comes after %q with the prefix %q", room.Id, after, prefix)
				}
			}
		}
		if after, err := fromNameCursor(cursor); err == nil {
			if cursor != "" && after.cursor() != cursor {
				// More than one spelling of a place is no harm, but a place it must be.
				if again, err := fromNameCursor(after.cursor()); err != nil || again != after {
					t.Errorf("the cursor %q is read as %+v, which is written %q", cursor, after, after.cursor())
				}
			}
			page, last := p.listNamed(who, all, after, strings.ToLower(prefix), 1)
			look(page)
			if len(page) == 1 && !namedLess(&after, &last) {
				t.Errorf("%+v comes after %+v", last, after)
			}
		}
		if after, err := fromCountCursor(cursor); err == nil && checkPrefix(prefix) == nil {
			page, counts, last, more, known := p.listCrowded(who, all, after, prefix, 1)
			look(page)
			if !known || len(page) != len(counts) {
				t.Errorf("%d rooms with %d counts, known %t", len(page), len(counts), known)
			}
			if more && after != nil && !crowdedLess(*after, last) {
				t.Errorf("the page behind %+v goes on after %+v", *after, last)
			}
		}
	}
	for id, e := range p.byID {
		if e.room.Id != id || ids.CheckRoom("roomId", id) != nil {
			t.Errorf("%q is the room %v", id, e.room)
		}
		after, err := fromCursor(cursor, ids.CheckUser)
		if err != nil {
			continue
		}
		for _, m := range append(p.members(e.room, after, 3), p.sanctioned(e.room, after, 3)...) {
			if m.User.Id <= after {
				t.Errorf("%q comes after %q", m.User.Id, after)
			}
		}
	}
}
