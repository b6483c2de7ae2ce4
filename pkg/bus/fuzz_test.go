package bus

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	eventsv1 "github.com/parley-im/parley/proto/events/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// deaf is a Bus without a connection, for what only reads.
func deaf() *Bus {
	return &Bus{
		log: slog.New(slog.DiscardHandler), deployment: Deployment{Shards: 7, Incarnation: "x"},
		tracer: noop.NewTracerProvider().Tracer(""),
	}
}

// FuzzNames: what a user chooses never leads to another room's or user's subject
// or key, nor to more than one.
func FuzzNames(f *testing.F) {
	for _, seed := range [][4]string{
		{"lobby", "lobby2", "u_1", "u_2"},
		{"dm:abc", "dm_abc", "guest:x", "guest"},
		{"a", "A", "a.b", "a*b"},
		{"*", ">", "*", ">"},
		{"a.b", "a b", "a\r\nPUB parley.out.0.b 1", "\x00"},
		{"general", "general.", "é", "e\u0301"},
		{strings.Repeat("r", 64), strings.Repeat("r", 65), strings.Repeat("u", 128), ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, room, other, user, another string) {
		b := deaf()
		var subjects, keys []string
		for _, r := range []string{room, other} {
			if ids.CheckRoom("roomId", r) != nil {
				continue
			}
			log, out := b.logSubject(r), b.outSubject(r)
			one(t, log, 4)
			one(t, out, 4)
			for _, subject := range []string{log, out} {
				if back, err := roomOf(subject); err != nil || back != r {
					t.Errorf("%q is the subject of %q, but read as one of %q, %v", subject, r, back, err)
				}
			}
			stored := eventSubject(&eventsv1.Event{Event: &eventsv1.Event_MessageStored{
				MessageStored: &eventsv1.MessageEvent{Message: &historyv1.Message{RoomId: r}},
			}})
			one(t, stored, 5)
			subjects = append(subjects, log, out, stored)
			for _, u := range []string{user, another} {
				key := "m." + ids.Token(r) + "." + ids.Token(u)
				if kind, ofRoom, ofUser := parseChange(key); kind != "m" || ofRoom != r || ofUser != u {
					t.Errorf("the key of %q in %q is read as %q of %q in %q", u, r, kind, ofUser, ofRoom)
				}
				keys = append(keys, key, "id "+ids.Message(r, u, "1"))
				if user == another {
					break
				}
			}
			filters := EventSubjects([]string{"message", "room.updated"}, []string{r}, []string{user})
			for _, filter := range filters[:len(filters)-1] { // the last are the gaps
				if !strings.HasSuffix(filter, "."+r) {
					t.Errorf("%q is not about %q", filter, r)
				}
			}
			if room == other {
				break
			}
		}
		for _, u := range []string{user, another} {
			if u == "" { // is nobody's: ids.CheckUser
				continue
			}
			subject := userSubject(u)
			one(t, subject, 3)
			if back, err := ids.FromToken(strings.TrimPrefix(subject, subjectUser)); err != nil || back != u {
				t.Errorf("%q is the subject of %q, but read as one of %q, %v", subject, u, back, err)
			}
			subjects = append(subjects, subject)
			if user == another {
				break
			}
		}
		different(t, subjects)
		different(t, keys)
		if direct := ids.Direct(user, another); direct != ids.Direct(another, user) || ids.CheckRoom("roomId", direct) != nil {
			t.Errorf("the room of %q and %q is %q", user, another, direct)
		}
	})
}

// one fails unless a subject is one, of so many tokens.
func one(t *testing.T, subject string, tokens int) {
	t.Helper()
	parts := strings.Split(subject, ".")
	if len(parts) != tokens || strings.ContainsAny(subject, "*> \t\r\n\x00") {
		t.Errorf("%q is not one subject of %d tokens", subject, tokens)
	}
	for _, part := range parts {
		if part == "" {
			t.Errorf("%q has an empty token", subject)
		}
	}
}

func different(t *testing.T, names []string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, name := range names {
		if seen[name] {
			t.Errorf("%q stands for two", name)
		}
		seen[name] = true
	}
}

// FuzzForeign hears whatever somebody says on NATS who is none of us, on all
// subjects and as all records. It is handed on whole or passed over, and counted.
func FuzzForeign(f *testing.F) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	user := &wirev1.User{Id: "u", Username: "U"}
	entry := &busv1.LogEntry{Kind: busv1.LogEntry_KIND_CHAT_MESSAGE, Id: "1", User: user, Content: proto.String("hello"), Data: []byte(`{"a":[1]}`), TimeMs: 1_750_000_000_000}
	wrong := func(change func(*busv1.LogEntry)) []byte {
		e := proto.CloneOf(entry)
		change(e)
		return encode(e)
	}
	online := &busv1.SessionOnline{User: user, AuthenticatedAtMs: 1, Rooms: []string{"a"}}
	for _, seed := range []struct {
		subject, header string
		data            []byte
	}{
		{"parley.out.3.room", "Nats-Sequence: 7\r\nNats-Last-Sequence: 5\r\n", encode(entry)},
		{"parley.out.3.room", "Nats-Sequence: 7\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nNats-Time-Stamp: 2026-01-02T03:04:05Z\r\n", encode(entry)},
		{"parley.out.3.room", "Nats-Sequence: 18446744073709551615\r\nNats-Last-Sequence: -1\r\n", encode(entry)},
		{"parley.out.3.room", "Nats-Sequence: 7\r\n", wrong(func(e *busv1.LogEntry) { e.TimeMs = 1 << 62 })},
		{"parley.out.3.room", "Nats-Sequence: 7\r\n", wrong(func(e *busv1.LogEntry) { e.Data = []byte("{") })},
		{"parley.out.3.room", "Nats-Sequence: 7\r\n", wrong(func(e *busv1.LogEntry) { e.Target = 1 << 60 })},
		{"parley.out.3.room", "", encode(&busv1.LiveEvent{Event: &busv1.LiveEvent_Signal{Signal: &busv1.LiveSignal{User: user, Event: "typing"}}})},
		{"parley.out.", "", nil},
		{"parley.all", "", encode(&busv1.Broadcast{Content: "all", From: user, TimeMs: 1 << 62})},
		{"parley.user.dQ", "", encode(&busv1.UserEvent{Event: &busv1.UserEvent_AccountDisabled{AccountDisabled: &busv1.AccountDisabled{}}})},
		{"parley.user.*", "", encode(&busv1.UserEvent{})},
		{"parley.presence.beat.g", "", encode(&busv1.GatewayBeat{GatewayId: "g", Delta: 3})},
		{"parley.presence.delta.g", "", encode(&busv1.PresenceDelta{GatewayId: "g", Number: 1, Changes: []*busv1.PresenceChange{{SessionId: "s", Change: &busv1.PresenceChange_Online{Online: online}}}})},
		{"_INBOX.x", "", encode(&busv1.PresenceSnapshot{GatewayId: "g", Number: 1, Last: true, Sessions: []*busv1.SnapshotSession{{SessionId: "s", Online: online}}})},
		{"revoked.s_1", "KV-Operation: PUT\r\n", []byte("1750000000000")},
		{"revoked-user.dQ", "Nats-Marker-Reason: MaxAge\r\n", []byte("-9223372036854775808")},
		{"disabled.dQ", "Nats-Stream-Source: KV_parley_rooms 12 x\r\n", encode(&busv1.Standing{Revision: 3, Disabled: true, Roles: []string{"admin"}})},
		{"m.cm9vbQ.dQ", "Nats-Sequence: 4\r\nNats-Time-Stamp: yesterday\r\nNats-Subject: $KV.parley_rooms.m.a.b\r\n", nil},
		{"_INBOX.p.f1w0.3.1", "Status: 503\r\n", []byte(`{"stream":"PARLEY_LOG_3","seq":12,"duplicate": true}`)},
		{"_INBOX.p.f1w0.3.1", "", []byte(`{"error":{"code":400,"err_code":10071}}`)},
	} {
		f.Add(seed.subject, seed.header, seed.data)
	}
	f.Fuzz(func(t *testing.T, subject, header string, data []byte) {
		b := deaf()
		headers, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + header + "\r\n"))
		if err != nil {
			headers = nats.Header{}
		}
		msg := &nats.Msg{Subject: subject, Header: headers, Data: data}

		if d, err := b.Decode(subject, headers, data); err == nil {
			if d.Room == "" || (d.Stored == nil) == (d.Live == nil) {
				t.Errorf("%+v is neither an entry nor an event of a room", d)
			}
			if s := d.Stored; s != nil && (s.Seq > maxInteger || s.Prev > maxInteger || s.Room != d.Room) {
				t.Errorf("%+v is in no place of %q", s, d.Room)
			}
			if s := d.Stored; s != nil && s.Entry != nil && (checkTime(s.Entry.TimeMs) != nil || s.Entry.Target > maxInteger) {
				t.Errorf("%v cannot be told to anybody", s.Entry)
			}
		}
		handed(t, b, "a broadcast", func(on func()) {
			take(b, msg, broadcastTo(func(m *busv1.Broadcast) { on() }))
		})
		handed(t, b, "a user's event", func(on func()) { take(b, msg, userTo(func(string, *busv1.UserEvent) { on() })) })
		handed(t, b, "a beat", func(on func()) { take(b, msg, each(func(*busv1.GatewayBeat) { on() })) })
		handed(t, b, "a delta", func(on func()) { take(b, msg, each(func(*busv1.PresenceDelta) { on() })) })
		handed(t, b, "a replica's beat", func(on func()) { take(b, msg, each(func(*busv1.PresenceReplicaBeat) { on() })) })
		handed(t, b, "a snapshot", func(on func()) { take(b, msg, each(func(*busv1.PresenceSnapshot) { on() })) })

		record := Entry{Key: subject, Value: data, Revision: 1, Deleted: isMarker(headers), Stored: time.Unix(1, 0)}
		if !record.Deleted {
			revocations := NewRevocations(b, nil)
			before := b.foreign.Load()
			revocations.note(record)
			if known := len(revocations.sessions) + len(revocations.users); int64(known)+b.foreign.Load()-before != 1 {
				t.Errorf("%d revocations of one record, %d are not ours", known, b.foreign.Load()-before)
			}
			standings := NewStandings(b, nil)
			standings.note(strings.TrimPrefix(subject, keyDisabled), record, standings.noteDisabled)
			standings.note(strings.TrimPrefix(subject, keyRoles), record, standings.noteRoles)
			if len(standings.disabled) > 1 || len(standings.roles) > 1 {
				t.Errorf("%d and %d standings of one record", len(standings.disabled), len(standings.roles))
			}
		}
		if kind, room, _ := parseChange(subject); (kind == "") != (room == "") {
			t.Errorf("%q is read as the record %q of room %q", subject, kind, room)
		}
		_, _ = sourceSeq(headers)
		_, _, _ = parseAck(msg)
		_ = isTombstone([]byte(header))
		if e, err := (&KV{b: b, bucket: Rooms}).entry(msg); err == nil && e.Deleted != (e.Value == nil) && len(data) > 0 {
			t.Errorf("%+v is deleted and has a value, or neither", e)
		}
	})
}

// handed fails unless what hear is given is handed on or counted as not ours.
func handed(t *testing.T, b *Bus, what string, hear func(on func())) {
	t.Helper()
	before, on := b.foreign.Load(), int64(0)
	hear(func() { on++ })
	if on+b.foreign.Load()-before != 1 {
		t.Errorf("%s: handed on %d times, counted as not ours %d times", what, on, b.foreign.Load()-before)
	}
}
