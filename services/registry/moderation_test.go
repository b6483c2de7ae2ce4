package registry

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func (r *replica) ban(room, user string, until *timestamppb.Timestamp, who *registryv1.Actor) error {
	_, err := r.Ban(r.t.Context(), &registryv1.BanRequest{RoomId: room, UserId: user, Until: until, Actor: who})
	return err
}

func (r *replica) mute(room, user string, until *timestamppb.Timestamp, who *registryv1.Actor) error {
	_, err := r.Mute(r.t.Context(), &registryv1.MuteRequest{RoomId: room, UserId: user, Until: until, Actor: who})
	return err
}

func (r *replica) admit(room string, who *registryv1.Actor) (*registryv1.AdmitResponse, error) {
	return r.Admit(r.t.Context(), &registryv1.AdmitRequest{RoomId: room, Actor: who})
}

func in(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(d)) }

func TestBansAndMutesAtAnotherReplica(t *testing.T) {
	a, b := pair(t, Options{})
	ctx := t.Context()
	for _, visibility := range []registryv1.Visibility{public, private} {
		room := "of-" + visibility.String()
		a.mustCreate(&registryv1.CreateRoomRequest{RoomId: room, Visibility: visibility, Actor: as("ann")})
		a.mustSet(room, "eve", moderator)
		if _, err := b.admit(room, as("eve")); err != nil {
			t.Fatal(err)
		}
		if err := a.ban(room, "eve", nil, as("ann")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other replica refuses her", func() bool {
			_, err := b.admit(room, as("eve"))
			return errs.CodeOf(err) == errs.Banned
		})
		_, err := b.GetRoom(ctx, &registryv1.GetRoomRequest{RoomId: room, Actor: as("eve")})
		wantCode(t, "a banned user looks", err, errs.Banned)
		_, err = b.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: room, User: as("eve").User, Actor: as("ann")})
		wantCode(t, "inviting a banned user", err, errs.Forbidden)
		if got := b.roles(room); len(got) != 1 {
			t.Errorf("roles = %v", got)
		}
		if _, err := b.admit(room, as("eve", "admin")); err != nil {
			t.Errorf("an admin is kept out: %v", err)
		}
		// Lifted here, the other replica must know at once, for it asks before
		// it refuses.
		if _, err := a.Unban(ctx, &registryv1.UnbanRequest{RoomId: room, UserId: "eve", Actor: as("ann")}); err != nil {
			t.Fatal(err)
		}
		want := errs.Code("")
		if visibility == private {
			want = errs.NotFound // the role is gone
		}
		_, err = b.admit(room, as("eve"))
		wantCode(t, "after the ban", err, want)
		if st := a.picture.stored(room, "eve"); st != nil {
			t.Errorf("kept: %v", st.member)
		}
	}
}

func TestSanctionsEndByThemselves(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	until := in(300 * time.Millisecond)
	if err := r.ban("room", "eve", until, as("ann")); err != nil {
		t.Fatal(err)
	}
	if err := r.mute("room", "bob", until, as("ann")); err != nil {
		t.Fatal(err)
	}
	_, err := r.admit("room", as("eve"))
	wantCode(t, "a ban for a while", err, errs.Banned)
	if after := errs.From(err).RetryAfter; after <= 0 || after > 300*time.Millisecond {
		t.Errorf("try again after %v", after)
	}
	if answer, err := r.admit("room", as("bob")); err != nil || !answer.Mute.GetUntil().AsTime().Equal(until.AsTime()) {
		t.Errorf("admitted with %v, %v", answer, err)
	}
	eventually(t, "both are over", func() bool {
		_, err := r.admit("room", as("eve"))
		answer, errBob := r.admit("room", as("bob"))
		return err == nil && errBob == nil && answer.Mute == nil
	})
	if time.Now().Before(until.AsTime()) {
		t.Error("over too early")
	}
	r.mustSet("room", "eve", member) // an old ban is no reason against it
	if got := r.roles("room"); got["eve"] != member {
		t.Errorf("roles = %v", got)
	}
}

// TestSanctionsAndRolesAreOneStanding: changes of the same standing at two
// replicas at once lose nothing of each other.
func TestSanctionsAndRolesAreOneStanding(t *testing.T) {
	a, b := pair(t, Options{})
	a.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	for range 20 {
		var both sync.WaitGroup
		both.Go(func() {
			if err := a.mute("room", "eve", nil, as("ann")); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() { b.mustSet("room", "eve", moderator) })
		both.Wait()
		answer, err := a.admit("room", as("eve"))
		if err == nil && (answer.Role != moderator || answer.Mute == nil) {
			// Its own writes a replica knows; the other's it hears of.
			eventually(t, "both changes", func() bool {
				answer, err = a.admit("room", as("eve"))
				return err == nil && answer.Role == moderator && answer.Mute != nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, undo := range []error{
			func() error {
				_, err := a.Unmute(t.Context(), &registryv1.UnmuteRequest{RoomId: "room", UserId: "eve"})
				return err
			}(),
			func() error {
				_, err := b.RemoveMember(t.Context(), &registryv1.RemoveMemberRequest{RoomId: "room", UserId: "eve"})
				return err
			}(),
		} {
			if undo != nil {
				t.Fatal(undo)
			}
		}
	}
	eventually(t, "nothing is left", func() bool {
		return a.picture.stored("room", "eve") == nil && b.picture.stored("room", "eve") == nil
	})
}

// TestTheMakerCanBePutOut by another owner, and is nobody then.
func TestTheMakerCanBePutOut(t *testing.T) {
	r := alone(t, Options{})
	r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Actor: as("ann")})
	r.mustSet("room", "bob", owner)
	if err := r.mute("room", "ann", nil, as("bob")); err != nil {
		t.Fatal(err)
	}
	if got := r.roles("room"); got["ann"] != owner {
		t.Errorf("muting has made her %v", got)
	}
	if err := r.ban("room", "ann", nil, as("bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Unban(t.Context(), &registryv1.UnbanRequest{RoomId: "room", UserId: "ann", Actor: as("bob")}); err != nil {
		t.Fatal(err)
	}
	answer, err := r.admit("room", as("ann"))
	if err != nil || answer.Role != member || answer.Mute == nil {
		t.Errorf("admitted as %v, %v", answer, err)
	}
	if got := r.roles("room"); len(got) != 1 || got["bob"] != owner {
		t.Errorf("roles = %v", got)
	}
}

// TestGatewaysAreToldOfRights listens as a gateway does: everything is said at
// once, and what is in force a moment later again.
func TestGatewaysAreToldOfRights(t *testing.T) {
	r := alone(t, Options{})
	heard := make(chan *busv1.LiveEvent, 10_000)
	feed := r.bus.NewFeed(1, func(_ int, batch []bus.Delivery) {
		for _, d := range batch {
			if d.Live != nil {
				heard <- d.Live
			}
		}
	})
	t.Cleanup(feed.Close)
	if _, err := feed.Subscribe("room"); err != nil {
		t.Fatal(err)
	}
	if err := r.bus.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	epoch := r.mustCreate(&registryv1.CreateRoomRequest{RoomId: "room", Visibility: private, Actor: as("ann")}).Epoch
	next := func() *busv1.LiveEvent {
		t.Helper()
		for {
			select {
			case e := <-heard:
				if e.GetRole() != nil {
					continue
				}
				return e
			case <-time.After(patience):
				t.Fatal("nothing is told")
				return nil
			}
		}
	}
	wantOut := func(code errs.Code) {
		t.Helper()
		if got := next().GetOut(); got.GetUserId() != "eve" || got.Epoch != epoch || got.Code != string(code) {
			t.Errorf("told %v, want %q", got, code)
		}
	}
	wantMute := func(until int64) {
		t.Helper()
		if got := next().GetMuted(); got.GetUserId() != "eve" || got.Epoch != epoch || got.UntilMs != until {
			t.Errorf("told %v, want until %d", got, until)
		}
	}
	_, err := r.Kick(t.Context(), &registryv1.KickRequest{RoomId: "room", UserId: "eve", Reason: "why", Actor: as("ann")})
	if err != nil {
		t.Fatal(err)
	}
	wantOut("")
	if err := r.ban("room", "eve", nil, as("ann")); err != nil {
		t.Fatal(err)
	}
	wantOut(errs.Banned)
	wantMute(0)
	wantOut(errs.Banned)
	if err := r.mute("room", "eve", nil, as("ann")); err != nil {
		t.Fatal(err)
	}
	wantMute(math.MaxInt64)
	wantMute(math.MaxInt64)
	wantOut(errs.Banned)
	// A big room is told in pieces.
	users := []string{"ann"}
	for i := range maxPage {
		user := "u" + time.Duration(i).String()
		users = append(users, user)
		r.mustSet("room", user, member)
	}
	slices.Sort(users)
	room := r.picture.room("room")
	r.tellPrivate(room, actor{user: as("zoe").User, all: true})
	var told []string
	for range 2 {
		only := next().GetMembersOnly()
		if len(told) > 0 && only.GetFrom() != told[len(told)-1]+"\x00" {
			t.Errorf("from %q after %q", only.GetFrom(), told[len(told)-1])
		}
		told = append(told, only.GetUsers()...)
	}
	if !slices.Equal(told, append(users, "zoe")) {
		t.Errorf("told of %d users, want %d", len(told), len(users)+1)
	}
}
