package fanout

import (
	"fmt"
	"testing"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/conn"
)

// listener is a member that notes what it is handed.
type listener struct {
	nobody
	user   string
	pieces int
	heard  map[string]int
}

func (l *listener) UserID() string { return l.user }

func (l *listener) Deliver(burst *Burst, _ *conn.Flusher) {
	l.pieces++
	for _, out := range burst.Frames {
		l.heard["+"+out.Frame.GetUserJoined().GetUser().GetId()]++
		l.heard["-"+out.Frame.GetUserLeft().GetUser().GetId()]++
		if !out.Ephemeral {
			l.heard["stored"]++
		}
	}
	if !burst.Ephemeral() {
		l.heard["stored"]++
	}
}

// TestRosterComesInPieces: everybody hears of everybody else once, and who is
// told of many at once gets few pieces.
func TestRosterComesInPieces(t *testing.T) {
	const moved = rosterPiece + 8 // 30 have left, the others have come
	r := crowd(t, 0)
	join := func(user string) *listener {
		l := &listener{user: user, heard: make(map[string]int)}
		r.members = append(r.members, &Membership{room: r.id, member: l, index: len(r.members)})
		return l
	}
	event := new(busv1.RosterEvent)
	var subjects []*listener
	for i := range moved {
		user := &wirev1.User{Id: fmt.Sprint("u", i)}
		subjects = append(subjects, join(user.Id))
		if i < moved-30 {
			event.Joined = append(event.Joined, user)
		} else {
			event.Left = append(event.Left, user)
		}
	}
	witness := join("witness")
	r.live(&busv1.LiveEvent{Event: &busv1.LiveEvent_Roster{Roster: event}})

	if witness.pieces != 2 {
		t.Errorf("%d changes came in %d pieces, want 2", moved, witness.pieces)
	}
	for _, l := range append(subjects, witness) {
		if l.heard["stored"] != 0 {
			t.Errorf("%s: a piece may not be dropped", l.user)
		}
		for i := range moved {
			sign, user := "+", fmt.Sprint("u", i)
			if i >= moved-30 {
				sign = "-"
			}
			want := 1
			if user == l.user {
				want = 0
			}
			if got := l.heard[sign+user]; got != want {
				t.Errorf("%s hears %s%s %d times, want %d", l.user, sign, user, got, want)
			}
		}
	}
}
