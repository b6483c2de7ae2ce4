package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// feeder plays one gateway to an intake, at a time of its own.
type feeder struct {
	t   *testing.T
	in  *intake
	now time.Time
}

func newFeeder(t *testing.T) *feeder {
	o := Options{GatewayTimeout: 15 * time.Second, Lease: 15 * time.Second, HoleWait: time.Second}
	return &feeder{t, newIntake(o), time.Unix(1000, 0)}
}

// delta announces that user u<number> came to room r.
func (f *feeder) delta(number uint64) {
	f.in.delta(&busv1.PresenceDelta{GatewayId: "g", Number: number, Changes: []*busv1.PresenceChange{
		changeOf(fmt.Sprint("s", number), announce(fmt.Sprint("u", number), 1, "r")),
	}}, f.now)
}

func (f *feeder) beat(delta uint64) {
	f.in.beat(&busv1.GatewayBeat{GatewayId: "g", Delta: delta}, f.now)
}

// snapshot announces all that deltas 1 to number have.
func (f *feeder) snapshot(number uint64) {
	var sessions []*busv1.SnapshotSession
	for n := uint64(1); n <= number; n++ {
		sessions = append(sessions, &busv1.SnapshotSession{
			SessionId: fmt.Sprint("s", n), Online: announce(fmt.Sprint("u", n), 1, "r"),
		})
	}
	f.in.snapshot("g", number, sessions, f.now)
}

func (f *feeder) pass(d time.Duration) {
	f.now = f.now.Add(d)
	f.in.expire(f.now, time.Time{})
	f.work()
	f.in.expire(f.now, time.Time{}) // what is over may be forgotten now
}

// work does what is to be done in steps.
func (f *feeder) work() {
	for f.in.step(f.now) || len(f.in.todo) > 0 {
	}
}

func (f *feeder) want(users, asks int) {
	f.t.Helper()
	f.work()
	if got := f.in.picture.users.Len(); got != users {
		f.t.Errorf("%d users, want %d", got, users)
	}
	if got := len(f.in.asks); got != asks {
		f.t.Errorf("%d asks, want %d", got, asks)
	}
	f.in.asks = nil
}

func TestDeltasInOrderNeedNoSnapshot(t *testing.T) {
	f := newFeeder(t)
	f.beat(0)
	f.delta(1)
	f.delta(2)
	f.delta(2) // again
	f.delta(1)
	f.beat(2)
	f.pass(2 * time.Second)
	f.want(2, 0)
	if !f.in.whole(time.Time{}) || f.in.deltas != 2 || f.in.holes != 0 {
		t.Errorf("whole %v, %d deltas, %d holes", f.in.whole(time.Time{}), f.in.deltas, f.in.holes)
	}
}

func TestHoleIsFilledBySnapshot(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.delta(3)
	f.want(1, 1)
	f.delta(4)
	f.delta(5)
	f.want(1, 0) // asked once
	f.pass(time.Second)
	f.want(1, 1) // and again, as no answer came
	f.snapshot(4)
	f.delta(6)   // held while the snapshot is taken in
	f.want(6, 0) // 4 of the snapshot, and the held 5 and 6
	if !f.in.settledFor("g") {
		t.Error("not settled after the snapshot")
	}
	f.snapshot(2) // late: older than what is known
	f.want(6, 0)
	f.delta(7)
	f.want(7, 0)
}

func TestSnapshotOlderThanTheHoleIsNotEnough(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.delta(5)
	f.want(1, 1)
	f.snapshot(3)
	f.want(3, 1) // 4 is still missing
	f.snapshot(5)
	f.want(5, 0)
}

func TestLostLastDeltaIsNoticedByBeat(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.beat(2)
	f.pass(900 * time.Millisecond)
	f.want(1, 0) // it may be on its way
	f.beat(2)
	f.pass(200 * time.Millisecond)
	f.want(1, 1)
	f.snapshot(2)
	f.want(2, 0)
}

func TestBusyGatewayIsNotTakenForLate(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	for n := uint64(2); n < 10; n++ {
		f.beat(n) // always a little ahead of the delta
		f.pass(900 * time.Millisecond)
		f.delta(n)
	}
	f.want(9, 0)
}

func TestTooManyHeldDeltasAreAnotherHole(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	for n := range uint64(maxHeldDeltas + 10) {
		f.delta(n + 3)
	}
	f.want(1, 1)
	if n := len(f.in.feeds["g"].held); n > maxHeldDeltas {
		t.Errorf("%d held", n)
	}
	f.snapshot(10)
	f.want(10, 1)
	f.snapshot(maxHeldDeltas + 5)
	f.want(maxHeldDeltas+12, 0)
}

func TestSilentGatewayLosesItsSessions(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.beat(1)
	f.pass(14 * time.Second)
	f.want(1, 0)
	f.in.expire(f.now.Add(time.Hour), f.now.Add(time.Hour)) // out of hearing until then
	f.want(1, 0)
	f.pass(time.Second)
	f.want(0, 0)
	if len(f.in.feeds) != 0 {
		t.Error("the gateway is still known")
	}
	f.beat(1) // it was only cut off
	f.want(0, 1)
	f.snapshot(1)
	f.want(1, 0)
}

func TestLeavingGatewayLeavesItsLeases(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.delta(2)
	f.in.beat(&busv1.GatewayBeat{GatewayId: "g", Delta: 2, Leaving: true}, f.now)
	f.pass(10 * time.Second)
	f.in.delta(&busv1.PresenceDelta{GatewayId: "h", Number: 1, Changes: []*busv1.PresenceChange{
		changeOf("s1", announce("u1", 1, "r")), // resumes
	}}, f.now)
	f.want(2, 0)
	f.in.beat(&busv1.GatewayBeat{GatewayId: "h", Delta: 1}, f.now)
	f.in.picture.take()
	f.pass(5 * time.Second)
	f.want(1, 0)
	kinds := []changeKind{}
	for _, c := range f.in.picture.take() {
		kinds = append(kinds, c.kind)
		if c.user.id != "u2" {
			t.Errorf("%s changed, who had resumed", c.user.id)
		}
	}
	if !slices.Equal(kinds, []changeKind{userLeft, userOffline}) {
		t.Errorf("changes %v", kinds)
	}
}

func TestSessionLostInASnapshotMayResume(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.delta(2)
	f.beat(5)
	f.pass(time.Second)
	f.want(2, 1)
	f.in.snapshot("g", 5, nil, f.now)
	f.want(2, 0)
	f.beat(5)
	f.pass(14 * time.Second)
	f.want(2, 0)
	f.beat(5)
	f.pass(time.Second)
	f.want(0, 0)
}

// TestSnapshotThatOvertakesADelta: a late answer must not make a lease of a
// session of which the delta that it overtook says that it has ended.
func TestSnapshotThatOvertakesADelta(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.delta(2)
	f.in.snapshot("g", 3, []*busv1.SnapshotSession{{SessionId: "s2", Online: announce("u2", 1, "r")}}, f.now)
	f.want(2, 0)
	f.in.delta(&busv1.PresenceDelta{GatewayId: "g", Number: 3, Changes: []*busv1.PresenceChange{
		changeOf("s1", offline(0)),
	}}, f.now)
	f.want(1, 0)
}

func (in *intake) settledFor(gateway string) bool { return in.feeds[gateway].settled }

// TestDeltasAreHeldWhileASnapshotArrives: what a delta brings is not among the
// snapshot's sessions, and must not be taken for one that has vanished.
func TestDeltasAreHeldWhileASnapshotArrives(t *testing.T) {
	f := newFeeder(t)
	const sessions = 3 * stepSize
	f.delta(1)
	f.delta(sessions + 1)
	f.in.asks = nil
	f.snapshot(sessions)
	f.in.step(f.now)
	if got := f.in.picture.users.Len(); got >= sessions {
		t.Fatalf("%d users after one step", got)
	}
	if f.in.whole(time.Time{}) {
		t.Error("whole in the middle of a snapshot")
	}
	f.delta(sessions + 2)
	f.pass(time.Second / 2)
	f.want(sessions+2, 0)
	if len(f.in.picture.leases) != 0 || !f.in.whole(time.Time{}) {
		t.Errorf("%d leases; whole: %v", len(f.in.picture.leases), f.in.whole(time.Time{}))
	}
}

// TestGatewayGoesInSteps: its sessions do not all go at once, and if it is back
// before they are gone, it is heard.
func TestGatewayGoesInSteps(t *testing.T) {
	f := newFeeder(t)
	const sessions = 3 * stepSize
	f.snapshot(sessions)
	f.in.step(f.now)
	f.work()
	f.now = f.now.Add(15 * time.Second)
	f.in.expire(f.now, time.Time{})
	f.in.step(f.now)
	left := f.in.picture.users.Len()
	if left == 0 || left == sessions {
		t.Fatalf("%d of %d users left after one step", left, sessions)
	}
	f.beat(sessions)
	f.want(left, 1) // who is left stays, and the snapshot is wanted
	f.snapshot(sessions)
	f.want(sessions, 0)
	f.pass(15 * time.Second)
	f.want(0, 0)
	if len(f.in.feeds) != 0 {
		t.Error("the gateway is still known")
	}
}

// TestForeignSnapshotIsUnlearned: what somebody else said in a gateway's name does
// not make the gateway unheard for ever.
func TestForeignSnapshotIsUnlearned(t *testing.T) {
	foreign := func(f *feeder) {
		f.in.snapshot("g", 1000, []*busv1.SnapshotSession{{SessionId: "s9", Online: announce("u9", 1, "r")}}, f.now)
	}
	longer := func(f *feeder, delta uint64) { // than a lease
		for range 2 {
			f.pass(8 * time.Second)
			f.beat(delta)
		}
	}
	f := newFeeder(t)
	f.beat(1)
	f.want(0, 1)
	foreign(f) // is there before the answer
	f.want(1, 0)
	f.beat(1) // a delta may have overtaken one beat
	f.delta(2)
	f.want(1, 0)
	f.pass(time.Second)
	f.beat(2)
	f.want(1, 1)
	f.snapshot(2)
	f.want(3, 0)
	longer(f, 2)
	f.want(2, 0)
	f.delta(3)
	f.want(3, 0)

	f = newFeeder(t) // which has nobody
	foreign(f)
	f.want(1, 0)
	f.beat(0)
	f.pass(time.Second)
	f.beat(0)
	longer(f, 0)
	f.want(0, 0)
	foreign(f) // nothing is missing of it now
	f.want(0, 0)
}

// TestBeatsThatDeltasOvertook: they come late, several at once, and say nothing
// against what is known; only a gateway that goes on telling of less does.
func TestBeatsThatDeltasOvertook(t *testing.T) {
	f := newFeeder(t)
	for n := range uint64(9) {
		f.delta(n + 1)
	}
	f.beat(1)
	f.beat(2)
	f.beat(3)
	f.want(9, 0)
	for n := range uint64(30) { // each tells of what was known 600 ms before
		f.delta(n + 10)
		f.pass(600 * time.Millisecond)
		f.beat(n + 9)
		f.want(int(n)+10, 0)
	}
	f.beat(39)
	f.beat(38)
	f.pass(time.Second)
	f.beat(38)
	f.want(39, 1)
}

// TestGatewayThatIsBackIsAsked: one that was given up, while a lease keeps some
// of its sessions, and was only out of hearing.
func TestGatewayThatIsBackIsAsked(t *testing.T) {
	f := newFeeder(t)
	f.delta(1)
	f.in.delta(&busv1.PresenceDelta{GatewayId: "g", Number: 2, Changes: []*busv1.PresenceChange{
		changeOf("t", announce("v", 1)), changeOf("t", offline(time.Minute)),
	}}, f.now)
	f.beat(2)
	f.pass(15 * time.Second)
	f.want(1, 0) // on a lease
	f.beat(2)    // the same number, but nothing of it is known any more
	f.want(1, 1)
	f.snapshot(2)
	f.want(3, 0)
}

func TestStandInsSessionsStayForTheirLease(t *testing.T) {
	f := newFeeder(t)
	sessions := []*busv1.SnapshotSession{
		{SessionId: "s1", Online: announce("u1", 1, "r")}, {SessionId: "s2", Online: announce("u2", 1, "r")},
	}
	f.in.standIn("old", 7, slices.Clone(sessions), f.now.Add(5*time.Second), f.now)
	f.want(2, 0)
	if !f.in.whole(time.Time{}) {
		t.Error("a gateway that has gone is waited for")
	}
	f.in.delta(&busv1.PresenceDelta{GatewayId: "g", Number: 1, Changes: []*busv1.PresenceChange{
		changeOf("s1", announce("u1", 1, "r")), // resumes
	}}, f.now)
	f.in.picture.take()
	f.beat(1)
	f.pass(5 * time.Second)
	f.want(1, 0)
	// Of one that speaks for itself nobody else is believed.
	f.in.standIn("g", 9, slices.Clone(sessions), f.now.Add(5*time.Second), f.now)
	f.want(1, 0)
	// One that was only thought to have gone is heard anew.
	f.in.standIn("back", 1, slices.Clone(sessions[1:]), f.now.Add(5*time.Second), f.now)
	f.want(2, 0)
	f.in.beat(&busv1.GatewayBeat{GatewayId: "back", Delta: 1}, f.now)
	f.want(2, 1)
	f.in.snapshot("back", 1, []*busv1.SnapshotSession{{SessionId: "s2", Online: announce("u2", 1, "r")}}, f.now)
	f.want(2, 0)
	f.beat(1)
	f.pass(6 * time.Second)
	f.want(2, 0)
}
