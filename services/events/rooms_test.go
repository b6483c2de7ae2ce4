package events

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/bus/bustest"
	"github.com/parley-im/parley/pkg/ids"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// records writes what the registry would.
type records struct {
	t  *testing.T
	kv *bus.KV
}

func recordsOf(t *testing.T, b *bus.Bus) records {
	t.Helper()
	kv, err := b.Bucket(t.Context(), bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	return records{t, kv}
}

func (r records) value(m proto.Message) []byte {
	r.t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// put writes a record over the revision before it, 0 for a new one.
func (r records) put(key string, m proto.Message, before uint64) uint64 {
	r.t.Helper()
	var err error
	if before == 0 {
		before, err = r.kv.Create(r.t.Context(), key, r.value(m))
	} else {
		before, err = r.kv.Update(r.t.Context(), key, r.value(m), before)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return before
}

func (r records) remove(key string, m proto.Message, before uint64) {
	r.t.Helper()
	if err := r.kv.Remove(r.t.Context(), key, before, r.value(m)); err != nil {
		r.t.Fatal(err)
	}
}

func roomKey(room string) string { return "r." + ids.Token(room) }

func memberKey(room, user string) string { return "m." + ids.Token(room) + "." + ids.Token(user) }

func standing(user string, kind registryv1.StandingChange_Kind) *registryv1.Member {
	return &registryv1.Member{User: &wirev1.User{Id: user}, Change: &registryv1.StandingChange{
		Kind: kind, By: &wirev1.User{Id: "owner"}, Reason: "because",
	}}
}

// wantKinds waits until the events are these, and gives them.
func wantKinds(t *testing.T, b *bus.Bus, want ...string) (events []*eventsv1.Event) {
	t.Helper()
	eventually(t, "the events", func() error {
		if events = all(t, b); !slices.Equal(kinds(events), want) {
			return fmt.Errorf("are %v, want %v", kinds(events), want)
		}
		return nil
	})
	return events
}

// What happens to rooms and standings is told in its order, also what happened
// while nobody made events.
func TestRoomsAndModeration(t *testing.T) {
	for name, deployment := range map[string]func(testing.TB) *bustest.Deployment{"single": bustest.Single, "cluster": bustest.Cluster} {
		t.Run(name, func(t *testing.T) {
			if name == "cluster" && testing.Short() {
				t.Skip("takes a while")
			}
			d := deployment(t)
			b := deploy(t, d, bus.LogConfig{})
			begin(t, d)
			r := recordsOf(t, b)
			room := &registryv1.Room{Name: "General"}
			made := r.put(roomKey("general"), room, 0)
			banned := standing("bob", registryv1.StandingChange_KIND_BAN)
			banned.Ban = &registryv1.Sanction{Reason: "because"}
			standing1 := r.put(memberKey("general", "bob"), banned, 0)
			kicked := r.put(memberKey("general", "eve:*"), standing("eve:*", registryv1.StandingChange_KIND_KICK), 0)
			eventually(t, "these are copied", func() error { return copied(t, b, kicked) })
			s := serve(t, d.Connect(t, bus.Options{}), Options{})
			wantKinds(t, b, "room.created", "moderation.banned", "moderation.kicked")

			room.CreationRevision, room.Topic = made, "all"
			changed := r.put(roomKey("general"), room, made)
			r.remove(memberKey("general", "bob"), standing("bob", registryv1.StandingChange_KIND_UNBAN), standing1)
			events := wantKinds(t, b, "room.created", "moderation.banned", "moderation.kicked", "room.updated", "moderation.unbanned")
			s.stop()
			publish(t, b, "general", chat("a secret"))
			last := serve(t, d.Connect(t, bus.Options{}), Options{})
			wantKinds(t, b, append(kinds(events), "message.stored")...)
			r.remove(roomKey("general"), room, changed)
			events = wantKinds(t, b, append(kinds(events), "room.deleted")...)
			last.stop()

			if got := events[0].GetRoomCreated().Room; got.Id != "general" || got.Name != "General" ||
				got.CreationRevision != made || got.Revision != made || got.Epoch != b.Epoch(made) {
				t.Errorf("made: %v", got)
			}
			ban := events[1].GetModerationBanned()
			if ban.RoomId != "general" || ban.Member.GetUser().GetId() != "bob" || ban.Member.Ban == nil || ban.Member.Change != nil ||
				ban.By.GetId() != "owner" || ban.Reason != "because" {
				t.Errorf("banned: %v", ban)
			}
			if got := events[2].GetModerationKicked(); got.Member.GetUser().GetId() != "eve:*" {
				t.Errorf("kicked: %v", got)
			}
			if got := events[3].GetRoomUpdated().Room; got.Topic != "all" || got.Epoch != b.Epoch(made) || got.Revision != changed {
				t.Errorf("changed: %v", got)
			}
			if got := events[5].GetRoomDeleted().Room; got.Id != "general" || got.Topic != "all" {
				t.Errorf("deleted: %v", got)
			}
		})
	}
}

// copied waits for a revision to be in the stream of changes.
func copied(t *testing.T, b *bus.Bus, revision uint64) error {
	t.Helper()
	reader := b.ReadChanges(0)
	defer reader.Close()
	for {
		change, _, err := reader.Next(t.Context(), 0)
		if err != nil {
			return err
		}
		if change.Revision >= revision {
			return nil
		}
	}
}

// What the bucket does not keep until it is copied is told as a gap, but for
// that a room was made, which its later record tells.
func TestGapWhereRevisionsWereOver(t *testing.T) {
	m := &maker{s: &Service{bus: deploy(t, bustest.Single(t), bus.LogConfig{}), log: discard()}}
	if err := m.s.observe(noMeter()); err != nil {
		t.Fatal(err)
	}
	stored := time.Now()
	made := func(at, revision, creation uint64) string {
		value, err := proto.Marshal(&registryv1.Room{Name: "General", CreationRevision: creation})
		if err != nil {
			t.Fatal(err)
		}
		change := bus.Change{Entry: bus.Entry{Value: value, Revision: revision, Stored: stored}, Kind: "r", Room: "general"}
		events, err := m.change(t.Context(), change, bus.Place{Seq: 9, Stored: stored}, place{8, at})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, e := range events {
			text += fmt.Sprintf("%s@%d/%d", bus.EventKind(e), e.Source.Seq, e.Source.Revision)
			if gap := e.GetGap(); gap != nil {
				text += fmt.Sprintf("(%d-%d)", gap.From, gap.To)
			}
			text += " "
		}
		return text
	}
	for _, c := range []struct {
		at, revision, creation uint64
		want                   string
	}{
		{20, 21, 0, "room.created@9/21 "},
		{20, 21, 7, "room.updated@9/21 "},
		{20, 23, 7, "gap@8/22(21-22) room.updated@9/23 "},
		{20, 22, 21, "room.created@8/21 room.updated@9/22 "},
		{20, 29, 24, "gap@8/23(21-23) room.created@8/24 gap@8/28(25-28) room.updated@9/29 "},
		// Going on where the one before was interrupted.
		{24, 29, 24, "gap@8/28(25-28) room.updated@9/29 "},
		{28, 29, 24, "room.updated@9/29 "},
	} {
		if got := made(c.at, c.revision, c.creation); got != c.want {
			t.Errorf("from %d to %d, made at %d: %s, want %s", c.at, c.revision, c.creation, got, c.want)
		}
	}
}
