package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

const hall = "hall"

// town is a deployment of two presence replicas and three gateways, and those who
// are in one room there.
type town struct {
	t *testing.T
	*process.Deployment
	replicas [2]*process.Process
	addrs    [2]string // of the replicas
	devices  []*device
	all      []*client.Client // that ever were in the room
}

// device is one of a user's, wherever it is connected.
type device struct {
	*client.Client
	user    string
	gateway int
	token   string // to resume with
	epoch   string
}

// arrive signs a user in and asks to join, without waiting for the answer.
func (w *town) arrive(user string, gateway int) *device {
	w.t.Helper()
	c := client.Dial(w.t, w.URLs[gateway], client.Options{})
	me := c.SignIn(signHS256(w.t, secret, claims{"sub": user}))
	d := &device{Client: c, user: user, gateway: gateway, token: me.ResumeToken}
	c.Send(ask.JoinRoom(&wirev1.JoinRoom{RoomId: hall}))
	w.devices = append(w.devices, d)
	w.all = append(w.all, c)
	return d
}

// joined waits until a device is in the room.
func (d *device) joined() { d.epoch = d.Want("room-joined").GetRoomJoined().Epoch }

// resume brings a device back on another gateway.
func (w *town) resume(d *device, gateway int) {
	w.t.Helper()
	d.Client, d.gateway = client.Dial(w.t, w.URLs[gateway], client.Options{}), gateway
	answer := d.Ask(ask.Resume(d.token, map[string]*wirev1.Position{hall: {Epoch: &d.epoch}}))
	if answer.GetResumed().GetRooms()[hall].GetMemberCount() == 0 {
		w.t.Fatalf("%s resumed with %v", d.user, answer)
	}
	d.token = answer.GetResumed().ResumeToken
	w.all = append(w.all, d.Client)
}

// leave takes devices out of the town; what they do is the caller's.
func (w *town) leave(gone []*device) {
	w.devices = slices.DeleteFunc(w.devices, func(d *device) bool { return slices.Contains(gone, d) })
}

// users are those who are there.
func (w *town) users() []string {
	users := make(map[string]bool)
	for _, d := range w.devices {
		users[d.user] = true
	}
	return slices.Sorted(maps.Keys(users))
}

// notices are how often a connection was told that somebody came ("+name") or left
// ("-name").
func notices(c *client.Client) map[string]int {
	n := make(map[string]int)
	for _, f := range c.Untaken("user-joined") {
		n["+"+f.GetUserJoined().User.Id]++
	}
	for _, f := range c.Untaken("user-left") {
		n["-"+f.GetUserLeft().User.Id]++
	}
	return n
}

// hear waits until these have been told all of this.
func (w *town) hear(patience time.Duration, devices []*device, news ...string) {
	w.t.Helper()
	process.Eventually(w.t, patience, fmt.Sprint("everybody hears of ", news), func() error {
		for _, d := range devices {
			known := notices(d.Client)
			for _, n := range news {
				if known[n] == 0 {
					return fmt.Errorf("%s at gateway %d has not been told %s", d.user, d.gateway, n)
				}
			}
		}
		return nil
	})
}

// check sees that no connection was ever told anything twice, nor of anybody's
// leaving who stayed, and that all gateways say who is there.
func (w *town) check(stayed []string) {
	w.t.Helper()
	for _, c := range w.all {
		for news, n := range notices(c) {
			if n > 1 {
				w.t.Errorf("one connection was told %s %d times", news, n)
			}
			if user, left := strings.CutPrefix(news, "-"); left && slices.Contains(stayed, user) {
				w.t.Errorf("one connection was told that %s had left, who stayed", user)
			}
		}
	}
	for _, d := range w.devices {
		var there []string
		for _, m := range d.Ask(ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: hall})).GetRoomMembers().GetMembers() {
			there = append(there, m.Id)
		}
		slices.Sort(there)
		if want := w.users(); !slices.Equal(there, want) {
			w.t.Errorf("at gateway %d the members are %v, want %v", d.gateway, there, want)
		}
	}
}

// marked has a user come and go, of which everybody hears, so that whatever was
// to be told before has been told.
func (w *town) marked(name string) {
	w.t.Helper()
	marker := w.arrive(name, len(w.devices)%len(w.URLs))
	marker.joined()
	w.leave([]*device{marker})
	w.hear(recovery, w.devices, "+"+name)
	marker.Close()
	w.hear(recovery, w.devices, "-"+name)
}

// Whichever process is killed or restarted, each member of a room is told once
// that a user came and once that the user left, and nothing of those who stayed.
func TestProcessPresence(t *testing.T) {
	d := process.Plan(t, 3)
	d.Trust = append(d.Trust, "PARLEY_JWT_SECRET="+string(secret))
	d.StartNATS()
	for _, s := range process.Services {
		d.StartService(s)
	}
	w := &town{t: t, Deployment: d}
	w.replicas = [2]*process.Process{d.Services[process.Presence], d.AddReplica(process.Presence)}
	w.addrs = [2]string(strings.Split(d.Addrs[process.Presence], ","))
	for i := range d.Gateways {
		d.StartGateway(i)
	}
	d.WaitReady()

	for i := range 6 {
		w.arrive(fmt.Sprint("resident", i), i%3).joined()
	}
	w.arrive("resident0", 1).joined() // another device
	for i := range 6 {
		w.hear(recovery, w.devices[:i], fmt.Sprint("+resident", i))
	}
	residents, stayed := slices.Clone(w.devices), w.users()
	w.marked("first")
	w.check(stayed)

	// Each time it is the replica that speaks that is killed, while some come
	// and others leave.
	var visitors []*device
	for round, speaker := range w.replicas {
		var news []string
		before := visitors
		w.leave(before)
		visitors = nil
		for i := range 6 {
			v := w.arrive(fmt.Sprintf("visitor%d-%d", round, i), i%3)
			visitors = append(visitors, v)
			news = append(news, "+"+v.user)
			if i < len(before) {
				before[i].Close()
				news = append(news, "-"+before[i].user)
			}
			if i == 3 {
				speaker.Kill()
			}
		}
		for _, v := range visitors {
			v.joined()
		}
		w.hear(recovery, residents, news...)
		speaker.Restart()
		w.answersWhole(w.addrs[round])
		speaker.WaitReady()
		w.marked(fmt.Sprint("marker", round))
		w.check(stayed)
	}

	// All gateways are restarted, one after the other, and whoever is there goes
	// to the others.
	for g, gateway := range d.Gateways {
		gateway.Signal(syscall.SIGTERM)
		for i, v := range w.devices {
			if v.gateway == g {
				v.Closed()
				w.resume(v, (g+1+i%2)%3)
			}
		}
		if code := gateway.Wait(); code != 0 {
			t.Errorf("gateway %d ended with %d", g, code)
		}
		gateway.Restart()
		gateway.WaitReady()
	}
	w.marked("rolled")
	stayed = w.users()
	w.check(stayed)

	// One is killed. Every second user comes back, the others do not.
	var back, gone []*device
	for i, name := range stayed {
		for _, v := range w.devices {
			switch {
			case v.user != name || v.gateway != 0:
			case i%2 == 0 || name == "resident0": // whose other device may be elsewhere
				back = append(back, v)
			default:
				gone = append(gone, v)
			}
		}
	}
	if len(back) == 0 || len(gone) == 0 {
		t.Fatalf("at gateway 0 %d would come back and %d would not", len(back), len(gone))
	}
	d.Gateways[0].Kill()
	killed := time.Now()
	w.leave(gone)
	for i, v := range back {
		v.Closed()
		w.resume(v, 1+i%2)
	}
	var news []string
	for _, v := range gone {
		news = append(news, "-"+v.user)
	}
	w.hear(20*time.Second, w.devices, news...)
	t.Logf("%d users were gone %v after the kill", len(gone), time.Since(killed).Round(10*time.Millisecond))
	stayed = w.users()
	d.Gateways[0].Restart()
	d.Gateways[0].WaitReady()
	w.arrive("newcomer", 0).joined()
	w.hear(recovery, w.devices[:len(w.devices)-1], "+newcomer")
	w.marked("last")
	w.check(stayed)
}

// answersWhole asks a replica that is starting all the time, and sees that its
// first answer has everybody.
func (w *town) answersWhole(addr string) {
	w.t.Helper()
	presence := presencev1.NewPresenceClient(dialGRPC(w.t, addr, process.BackEndToken))
	refused := 0
	process.Eventually(w.t, recovery, "the replica answers", func() error {
		online, err := presence.ListOnline(w.t.Context(), &presencev1.ListOnlineRequest{Limit: 1000})
		if status.Code(err) == codes.Unavailable {
			refused++
			return err
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if want := len(w.users()); len(online.Users) != want {
			w.t.Errorf("the first answer, after %d refusals, has %d users of %d", refused, len(online.Users), want)
		}
		return nil
	})
	if refused == 0 {
		w.t.Error("it answered at once")
	}
}
