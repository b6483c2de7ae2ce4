package presence

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDevicesRollUp(t *testing.T) {
	w := newWorld(t)
	p, e := w.start().ready(t), w.ear("r")
	g, h := w.gateway("g"), w.gateway("h")
	g.does("s1", announce("u", 1000), join("r"))
	p.sees(t, g)
	e.hears("+u =1")
	h.does("s2", announce("u", 500, "r"))
	p.sees(t, h)
	g.does("s1", leave("r"))
	p.sees(t, g)
	if n := p.count(t, "r"); n != 1 {
		t.Errorf("%d users of one with a device left", n)
	}
	list, err := p.PresenceClient.ListOnline(t.Context(), &presencev1.ListOnlineRequest{})
	if err != nil || len(list.Users) != 1 || list.NextCursor != "" {
		t.Fatalf("ListOnline: %v, %v", list, err)
	}
	if u := list.Users[0]; u.User.Id != "u" || u.User.Username != "name of u" || u.AuthenticatedAt.AsTime().UnixMilli() != 500 || u.Status != "online" {
		t.Errorf("online is %v", u)
	}
	h.does("s2", offline(0))
	p.sees(t, h)
	e.hears("+u =1", "-u =0")
}

func TestLobbyIsCountedButNotTold(t *testing.T) {
	w := newWorld(t)
	p, lobby, e := w.start().ready(t), w.ear(ids.Lobby), w.ear("r")
	g := w.gateway("g")
	g.does("s", announce("u", 1, ids.Lobby, "r"))
	p.sees(t, g)
	e.hears("+u =1")
	lobby.hears()
	if n := p.count(t, ids.Lobby); n != 1 {
		t.Errorf("%d in the lobby", n)
	}
}

func TestHoleIsAskedFor(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Lease = 100 * time.Millisecond }).ready(t)
	g := w.gateway("g")
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)
	g.set(func() { g.lose = true })
	g.does("s2", announce("b", 1, "r"))
	g.set(func() { g.lose = false })
	g.does("s3", announce("c", 1, "r"))
	p.sees(t, g)
	if n := p.count(t, "r"); n != 3 {
		t.Errorf("%d in the room, want 3", n)
	}
	// The last one lost shows by the beats alone.
	g.set(func() { g.lose = true })
	g.does("s2", offline(0))
	g.does("s3", leave("r"))
	eventually(t, "the room has two members and not the one that left", func() bool { return p.count(t, "r") == 1 })
}

func TestSilentGatewayIsGone(t *testing.T) {
	w := newWorld(t)
	p, e := w.start(soonSilent).ready(t), w.ear("r")
	g, h := w.gateway("g"), w.gateway("h")
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)
	e.hears("+a =1")
	h.does("s2", announce("b", 1, "r"))
	p.sees(t, h)
	g.stop()
	e.hears("+a =1", "+b =2", "-a =1")
}

func TestResumeWithinTheLeaseShowsNothing(t *testing.T) {
	w := newWorld(t)
	p, e := w.start().ready(t), w.ear("r")
	g, h := w.gateway("g"), w.gateway("h")
	g.does("s1", announce("a", 1, "r"))
	g.does("s2", announce("b", 1))
	p.sees(t, g)
	g.does("s1", offline(5*time.Second))
	p.sees(t, g)
	h.does("s1", announce("a", 1, "r")) // resumed
	p.sees(t, h)
	g.does("s1", offline(0)) // the old gateway's late word
	p.sees(t, g)
	// A gateway that ends leaves all it had on leases.
	h.stop()
	h.beat(true)
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)
	eventually(t, "no lease is left", func() bool {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return len(p.intake.picture.leases) == 0 && p.intake.picture.sessions.Len() == 2
	})
	g.does("s1", offline(30*time.Millisecond))
	e.hears("+a =1", "-a =0")
}

func TestTwoReplicasOneSpeaker(t *testing.T) {
	w := newWorld(t)
	first := w.start().ready(t)
	// It hears that the first leaves; silence alone would tell it too late.
	second := w.start(func(o *Options) { o.ReplicaTimeout = time.Hour }).ready(t)
	e := w.ear("r")
	g := w.gateway("g")
	var want []string
	come := func(i int, replicas ...*replica) {
		g.does(fmt.Sprint("s", i), announce(fmt.Sprint("u", i), 1, "r"))
		for _, p := range replicas {
			p.sees(t, g)
		}
		want = append(want, fmt.Sprintf("+u%d =%d", i, i+1))
		e.hears(want...)
	}
	for i := range 5 {
		come(i, first, second)
	}
	told := func(p *replica) func() bool {
		return func() bool {
			p.mu.RLock()
			defer p.mu.RUnlock()
			return p.roster.moves == 0
		}
	}
	eventually(t, "the second replica knows that all is told", told(second))
	first.stop() // says so
	for i := range 5 {
		come(5+i, second)
	}
	third := w.start().ready(t)
	come(10, second, third)
	// The speaker is cut off without a word, right after it has told: the next
	// one takes over, forgets nobody and repeats nothing.
	eventually(t, "the third replica knows that all is told", told(third))
	second.Service.bus.Close()
	come(11, third)
	e.hears(want...)
}

// TestReplicaThatSleptGivesNobodyUp: to a process that was stopped for a minute
// it looks as if all others had been silent for one.
func TestReplicaThatSleptGivesNobodyUp(t *testing.T) {
	w := newWorld(t)
	p, e := w.start().ready(t), w.ear("r")
	g := w.gateway("g")
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)
	e.hears("+a =1")
	g.stop() // so that only the sleep keeps its sessions
	p.mu.Lock()
	for _, f := range p.intake.feeds {
		f.heard = f.heard.Add(-time.Minute)
	}
	p.ticked = p.ticked.Add(-time.Minute)
	awake := time.Now()
	if p.speaking(awake) {
		t.Error("it speaks before it has heard whether another one does")
	}
	p.mu.Unlock()
	eventually(t, "it has heard everybody anew", func() bool {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return p.complete && p.hearing.After(awake)
	})
	if n := p.count(t, "r"); n != 1 {
		t.Errorf("%d are left in the room", n)
	}
	h := w.gateway("h")
	h.does("s2", announce("b", 1, "r"))
	e.hears("+a =1", "+b =2")
}

// TestReplicaThatStartsHearsOfWhoIsAway: sessions of gateways that cannot answer
// any more resume without a word, also when the replica that knew them is gone.
func TestReplicaThatStartsHearsOfWhoIsAway(t *testing.T) {
	w := newWorld(t)
	first, e := w.start().ready(t), w.ear("r")
	old, killed, g := w.gateway("old"), w.gateway("killed"), w.gateway("g")
	busy := announce("ou", 1, "r")
	busy.Status = &busv1.SessionStatus{Status: "busy"}
	old.does("o", busy)
	old.does("lost", announce("lost", 1, "s"))
	first.sees(t, old)
	e.hears("+ou =1")
	killed.does("k", announce("ku", 1, "r"))
	first.sees(t, killed)
	e.hears("+ou =1", "+ku =2")
	g.does("x", announce("gone", 1))
	g.does("x", offline(0))
	first.sees(t, g)
	old.stop()
	old.beat(true)
	killed.stop() // without a word
	eventually(t, "both are missed", func() bool {
		first.mu.RLock()
		defer first.mu.RUnlock()
		absent := first.intake.absent(time.Now(), 3*first.opts.BeatEvery)
		return absent["old"] > 0 && absent["killed"] > 0
	})
	second := w.start().ready(t)
	first.stop()
	if n := second.count(t, "r"); n != 2 {
		t.Errorf("%d in the room, want 2", n)
	}
	users, err := second.PresenceClient.GetUsers(t.Context(), &presencev1.GetUsersRequest{UserIds: []string{"ou", "gone"}})
	if err != nil || users.Users[0].GetOnline().GetStatus() != "busy" || users.Users[1].LastSeen == nil {
		t.Errorf("of those who were there before it started it knows %v, %v", users, err)
	}
	g.does("o", announce("ou", 1, "r"))
	g.does("k", announce("ku", 1, "r"))
	g.does("y", announce("new", 1, "r"))
	second.sees(t, g)
	e.hears("+ou =1", "+ku =2", "+new =3")
	eventually(t, "who did not come back is gone", func() bool { return second.count(t, "s") == 0 })
	e.hears("+ou =1", "+ku =2", "+new =3")
}

func TestUsersWhoHaveGoneAreRemembered(t *testing.T) {
	w := newWorld(t)
	p := w.start().ready(t)
	g := w.gateway("g")
	g.does("s1", announce("a", 1000), &busv1.SessionStatus{Status: "away", Text: "lunch"})
	g.does("s2", announce("b", 1))
	p.sees(t, g) // or a first snapshot may come that b is not in any more
	before := time.Now()
	g.does("s2", offline(0))
	p.sees(t, g)
	got, err := p.PresenceClient.GetUsers(t.Context(), &presencev1.GetUsersRequest{UserIds: []string{"b", "a", "c", "b"}})
	if err != nil || len(got.Users) != 4 || got.At.GetEpoch() == "" || got.At.Version == 0 {
		t.Fatalf("GetUsers: %v, %v", got, err)
	}
	for i, want := range []string{"b", "a", "c", "b"} {
		if u := got.Users[i]; u.UserId != want || (u.Online != nil) != (want == "a") || (u.LastSeen != nil) != (want == "b") {
			t.Errorf("user %d is %v", i, u)
		}
	}
	if a := got.Users[1].Online; a.User.Username != "name of a" || a.Status != "away" || a.Text != "lunch" || a.AuthenticatedAt.AsTime().UnixMilli() != 1000 {
		t.Errorf("online: %v", a)
	}
	if b := got.Users[0].LastSeen.AsTime(); b.Before(before.Truncate(time.Millisecond)) || b.After(time.Now()) {
		t.Errorf("b was seen last %v", b)
	}
}

func TestStartIsUnavailableUntilComplete(t *testing.T) {
	w := newWorld(t)
	g, h := w.gateway("g"), w.gateway("h")
	for i := range 20 {
		g.does(fmt.Sprint("s", i), announce(fmt.Sprint("u", i), 1, "r"))
	}
	h.set(func() { h.mute = true })
	h.does("t", announce("v", 1, "r"))
	e := w.ear("r")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.bus.Flush(ctx); err != nil { // or the replica might still hear the deltas themselves
		t.Fatal(err)
	}
	p := w.start()
	eventually(t, "the silent gateway was asked again", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.asked > 4
	})
	_, err := p.Service.ListOnline(t.Context(), &presencev1.ListOnlineRequest{})
	if errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("a query before all is known: %v", err)
	}
	if err := p.Service.Watch(&presencev1.WatchRequest{Rooms: true}, &recorder{ctx: t.Context()}); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("a watch before all is known: %v", err)
	}
	if err := p.Ready(t.Context()); errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("Ready before all is known: %v", err)
	}
	h.set(func() { h.mute = false })
	p.ready(t)
	if n := p.count(t, "r"); n != 21 {
		t.Errorf("%d in the room, want 21", n)
	}
	e.hears() // what a start finds is no news
	g.does("s0", offline(0))
	e.hears("-u0 =20")
}

func TestReconnectAsksAgain(t *testing.T) {
	w := newWorld(t)
	p, e := w.start().ready(t), w.ear("r")
	g := w.gateway("g")
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)
	e.hears("+a =1")
	// As NATS's own callback does; meanwhile b came unheard.
	g.set(func() { g.lose = true })
	g.does("s2", announce("b", 1, "r"))
	wake(p.reconnected)
	if n := p.count(t, "r"); n < 1 {
		t.Errorf("%d in the room: the old picture does not serve", n)
	}
	e.hears("+a =1", "+b =2")
}

func TestOutageOfNATSEndsNobody(t *testing.T) {
	w := newWorld(t)
	p := w.start(soonSilent).ready(t)
	g := w.gateway("g")
	g.does("s1", announce("a", 1, "r"))
	p.sees(t, g)

	w.srv.Shutdown()
	eventually(t, "the replica notices", func() bool { return !p.Service.bus.Connected() })
	g.set(func() { g.lose = true })
	g.does("s2", announce("b", 1, "r"))
	outage := time.Now()
	eventually(t, "a gateway's timeout and more have passed", func() bool {
		if p.count(t, "r") != 1 {
			t.Fatal("somebody was lost with NATS")
		}
		return time.Since(outage) > 2*p.opts.GatewayTimeout
	})
	w.serve()
	eventually(t, "b is there too", func() bool { return p.count(t, "r") == 2 })
	eventually(t, "the picture is complete again", func() bool {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return p.complete
	})
	if n := p.count(t, "r"); n != 2 {
		t.Errorf("%d in the room after the outage", n)
	}
}

func TestLargeRoomIsCounted(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.LargeRoom = 10 }).ready(t)
	e := w.ear("r")
	g := w.gateway("g")
	const users = 2000
	for i := range users {
		g.does(fmt.Sprint("s", i), announce(fmt.Sprintf("u%04d", i), 1, "r"))
	}
	p.sees(t, g)
	eventually(t, "the final count is told", func() bool { return slices.Contains(e.heard(), fmt.Sprintf("=%d", users)) })
	if n := len(e.heard()); n > 60 {
		t.Errorf("%d events for %d joins", n, users)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	p := w.start().ready(t)
	g := w.gateway("g")
	var want []string
	for i := range 250 {
		id := fmt.Sprintf("u%03d é.*", i)
		want = append(want, id)
		g.does(fmt.Sprint("s", i), announce(id, 1, "r"))
	}
	p.sees(t, g)
	for _, list := range []func(limit int32, cursor string) ([]*presencev1.OnlineUser, string, error){
		func(limit int32, cursor string) ([]*presencev1.OnlineUser, string, error) {
			res, err := p.PresenceClient.ListOnline(t.Context(), &presencev1.ListOnlineRequest{Limit: limit, Cursor: cursor})
			return res.GetUsers(), res.GetNextCursor(), err
		},
		func(limit int32, cursor string) ([]*presencev1.OnlineUser, string, error) {
			res, err := p.PresenceClient.ListRoomMembers(t.Context(), &presencev1.ListRoomMembersRequest{RoomId: "r", Limit: limit, Cursor: cursor})
			return res.GetMembers(), res.GetNextCursor(), err
		},
	} {
		var got []string
		var sizes []int
		for cursor := ""; ; {
			users, next, err := list(0, cursor)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(users))
			for _, u := range users {
				got = append(got, u.User.Id)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(sizes, []int{100, 100, 50}) {
			t.Errorf("pages of %v: %q", sizes, got)
		}
		if users, next, _ := list(250, ""); len(users) != 250 || next != "" {
			t.Errorf("a page that fits exactly: %d users, cursor %q", len(users), next)
		}
	}
	empty, err := p.PresenceClient.ListRoomMembers(t.Context(), &presencev1.ListRoomMembersRequest{RoomId: "nobody"})
	if err != nil || len(empty.Members) != 0 {
		t.Errorf("members of an empty room: %v, %v", empty, err)
	}
}

func TestBadArguments(t *testing.T) {
	w := newWorld(t)
	p := w.start().ready(t)
	ctx := t.Context()
	online := func(limit int32, cursor string) func() error {
		return func() error {
			_, err := p.Service.ListOnline(ctx, &presencev1.ListOnlineRequest{Limit: limit, Cursor: cursor})
			return err
		}
	}
	for name, c := range map[string]struct {
		field string
		call  func() error
	}{
		"negative limit": {"limit", online(-1, "")},
		"large limit":    {"limit", online(1001, "")},
		"not base64":     {"cursor", online(0, "%%%")},
		"not a user id":  {"cursor", online(0, "AAAA")},
		"room with dots": {"roomId", func() error {
			_, err := p.Service.ListRoomMembers(ctx, &presencev1.ListRoomMembersRequest{RoomId: "a.b"})
			return err
		}},
		"1001 rooms": {"roomIds", func() error {
			_, err := p.Service.CountRooms(ctx, &presencev1.CountRoomsRequest{RoomIds: make([]string, 1001)})
			return err
		}},
		"nobody": {"userIds", func() error {
			_, err := p.Service.GetUsers(ctx, &presencev1.GetUsersRequest{})
			return err
		}},
		"1001 users": {"userIds", func() error {
			_, err := p.Service.GetUsers(ctx, &presencev1.GetUsersRequest{UserIds: make([]string, 1001)})
			return err
		}},
		"not a user": {"userIds", func() error {
			_, err := p.Service.GetUsers(ctx, &presencev1.GetUsersRequest{UserIds: []string{"a", "b\n"}})
			return err
		}},
		"watch of nothing": {"rooms", func() error {
			return p.Service.Watch(&presencev1.WatchRequest{}, &recorder{ctx: ctx})
		}},
	} {
		err := c.call()
		if errs.CodeOf(err) != errs.InvalidArgument || errs.From(err).Field != c.field {
			t.Errorf("%s: %v, want invalid-argument about %s", name, err, c.field)
		}
	}
}

func TestSeenIsWaitedForButNotForEver(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.SeenWait = 20 * time.Millisecond }).ready(t)
	begin := time.Now()
	_, err := p.PresenceClient.CountRooms(t.Context(), &presencev1.CountRoomsRequest{
		Seen: &presencev1.Seen{GatewayId: "nobody", Delta: 7},
	})
	if took := time.Since(begin); err != nil || took < 20*time.Millisecond {
		t.Errorf("answered after %v: %v", took, err)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.intake.waits) != 0 {
		t.Error("the wait is kept")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	w := newWorld(t)
	for _, o := range []Options{
		{},
		{Bus: w.bus, Lease: -1},
		{Bus: w.bus, LargeRoom: -1},
		{Bus: w.bus, WatchBuffer: -1},
		{Bus: w.bus, LastSeenUsers: -1},
		{Bus: w.bus, LastSeenFor: -1},
		{Bus: w.bus, BeatEvery: 5 * time.Second},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) passed", o)
		}
	}
}
