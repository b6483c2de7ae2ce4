package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	historyv1 "github.com/parley-im/parley/proto/history/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// Who asks, by what they are in the room that they ask about. nobody has not
// signed in; guest is that by account; user has no part in the room; a visitor
// is in a public one without a role; admin is that by account, and in the room;
// banned and muted were members.
const whoAsks = "nobody guest user visitor member moderator owner admin banned muted"

// accessToPublic is what each is answered who asks about a public room, and
// accessToPrivate about a private one, where nobody is a visitor. A dot is a
// success; absent is the answer about a room that there is none of.
const accessToPublic = `
                      nobody           guest       user        visitor     member      moderator   owner       admin       banned      muted
auth                  .                .           .           .           .           .           .           .           .           .
ping                  .                .           .           .           .           .           .           .           .           .
resume                resume-failed    resume-failed resume-failed resume-failed resume-failed resume-failed resume-failed resume-failed resume-failed resume-failed
create-room           unauthenticated  forbidden   .           .           .           .           .           .           .           .
create-room again     unauthenticated  forbidden   taken       taken       taken       taken       taken       taken       taken       taken
join-room             unauthenticated  .           .           .           .           .           .           .           banned      .
leave-room            unauthenticated  not-joined  not-joined  .           .           .           .           .           not-joined  .
chat-message          unauthenticated  not-joined  not-joined  .           .           .           .           .           not-joined  muted
room-message          unauthenticated  not-joined  not-joined  .           .           .           .           .           not-joined  muted
signal                unauthenticated  not-joined  not-joined  .           .           .           .           .           not-joined  muted
chat                  unauthenticated  .           .           .           .           .           .           .           .           .
get-history           unauthenticated  .           .           .           .           .           .           .           banned      .
get-rooms             unauthenticated  .           .           .           .           .           .           .           .           .
get-room-info         unauthenticated  .           .           .           .           .           .           .           banned      .
get-room-members      unauthenticated  .           .           .           .           .           .           .           banned      .
get-room-sanctions    unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
get-online-users      unauthenticated  .           .           .           .           .           .           .           banned      .
get-presence          unauthenticated  .           .           .           .           .           .           .           .           .
set-status            unauthenticated  forbidden   .           .           .           .           .           .           .           .
edit-message          unauthenticated  not-joined  not-joined  forbidden   forbidden   .           .           .           not-joined  muted
delete-message        unauthenticated  not-joined  not-joined  forbidden   forbidden   .           .           .           not-joined  forbidden
mark-read             unauthenticated  forbidden   not-joined  .           .           .           .           .           not-joined  .
kick                  unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
ban                   unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
unban                 unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
mute                  unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
unmute                unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
kick moderator        unauthenticated  forbidden   forbidden   forbidden   forbidden   forbidden   .           .           forbidden   forbidden
set-role member       unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
set-role moderator    unauthenticated  forbidden   forbidden   forbidden   forbidden   forbidden   .           .           forbidden   forbidden
update-room           unauthenticated  forbidden   forbidden   forbidden   forbidden   forbidden   .           .           forbidden   forbidden
delete-room           unauthenticated  forbidden   forbidden   forbidden   forbidden   forbidden   .           .           forbidden   forbidden
open-direct           unauthenticated  forbidden   .           .           .           .           .           .           .           .
invite                unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
uninvite              unauthenticated  forbidden   forbidden   forbidden   forbidden   .           .           .           forbidden   forbidden
admin-broadcast       unauthenticated  forbidden   forbidden   forbidden   forbidden   forbidden   forbidden   .           forbidden   forbidden
configure             unauthenticated  .           .           .           .           .           .           .           .           .
`

const accessToPrivate = `
                      nobody           guest       user        visitor     member      moderator   owner       admin       banned      muted
create-room again     unauthenticated  forbidden   taken       -           taken       taken       taken       taken       taken       taken
join-room             unauthenticated  not-found   forbidden   -           .           .           .           .           banned      .
leave-room            unauthenticated  not-joined  not-joined  -           .           .           .           .           not-joined  .
chat-message          unauthenticated  not-joined  not-joined  -           .           .           .           .           not-joined  muted
room-message          unauthenticated  not-joined  not-joined  -           .           .           .           .           not-joined  muted
signal                unauthenticated  not-joined  not-joined  -           .           .           .           .           not-joined  muted
get-history           unauthenticated  not-found   not-found   -           .           .           .           .           banned      .
get-room-info         unauthenticated  absent      absent      -           .           .           .           .           banned      .
get-room-members      unauthenticated  not-found   not-found   -           .           .           .           .           banned      .
get-room-sanctions    unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
get-online-users      unauthenticated  not-found   not-found   -           .           .           .           .           banned      .
edit-message          unauthenticated  not-joined  not-joined  -           forbidden   .           .           .           not-joined  muted
delete-message        unauthenticated  not-joined  not-joined  -           forbidden   .           .           .           not-joined  forbidden
mark-read             unauthenticated  forbidden   not-joined  -           .           .           .           .           not-joined  .
kick                  unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
ban                   unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
unban                 unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
mute                  unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
unmute                unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
kick moderator        unauthenticated  forbidden   not-found   -           forbidden   forbidden   .           .           not-found   forbidden
set-role member       unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
set-role moderator    unauthenticated  forbidden   not-found   -           forbidden   forbidden   .           .           not-found   forbidden
update-room           unauthenticated  forbidden   not-found   -           forbidden   forbidden   .           .           not-found   forbidden
delete-room           unauthenticated  forbidden   not-found   -           forbidden   forbidden   .           .           not-found   forbidden
invite                unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
uninvite              unauthenticated  forbidden   not-found   -           forbidden   .           .           .           not-found   forbidden
`

// accessRequests make each request about a room, in which the user other is a
// member, mod2 a moderator, and the message at seq is other's.
var accessRequests = map[string]func(room string, seq int64) *wirev1.ClientFrame{
	"ping":   func(string, int64) *wirev1.ClientFrame { return ask.Ping() },
	"resume": func(string, int64) *wirev1.ClientFrame { return ask.Resume("none", nil) },
	"create-room": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.CreateRoom(&wirev1.CreateRoom{RoomId: room + "-new"})
	},
	"create-room again": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.CreateRoom(&wirev1.CreateRoom{RoomId: room})
	},
	"join-room": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.JoinRoom(&wirev1.JoinRoom{RoomId: room})
	},
	"leave-room":   func(room string, _ int64) *wirev1.ClientFrame { return ask.LeaveRoom(room) },
	"chat-message": func(room string, _ int64) *wirev1.ClientFrame { return says(room, "hello") },
	"room-message": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.RoomMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("hello")})
	},
	"signal": func(room string, _ int64) *wirev1.ClientFrame { return typing(room) },
	"chat":   func(string, int64) *wirev1.ClientFrame { return ask.Chat("hello") },
	"get-history": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.GetHistory(&wirev1.GetHistory{RoomId: room})
	},
	"get-rooms":     func(string, int64) *wirev1.ClientFrame { return ask.GetRooms(&wirev1.GetRooms{}) },
	"get-room-info": func(room string, _ int64) *wirev1.ClientFrame { return ask.GetRoomInfo(room) },
	"get-room-members": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.GetRoomMembers(&wirev1.GetRoomMembers{RoomId: room})
	},
	"get-room-sanctions": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.GetRoomSanctions(&wirev1.GetRoomSanctions{RoomId: room})
	},
	"get-online-users": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.GetOnlineUsers(&wirev1.GetOnlineUsers{RoomId: &room})
	},
	"get-presence": func(string, int64) *wirev1.ClientFrame { return ask.GetPresence("other") },
	"set-status":   func(string, int64) *wirev1.ClientFrame { return ask.SetStatus("busy", "") },
	"edit-message": func(room string, seq int64) *wirev1.ClientFrame {
		return ask.EditMessage(&wirev1.EditMessage{RoomId: room, Target: seq, Content: proto.String("edited")})
	},
	"delete-message": func(room string, seq int64) *wirev1.ClientFrame { return ask.DeleteMessage(room, seq) },
	"mark-read":      func(room string, seq int64) *wirev1.ClientFrame { return ask.MarkRead(room, seq) },
	"kick":           acts(ask.Kick, "other"),
	"ban":            acts(ask.Ban, "other"),
	"unban":          acts(ask.Unban, "other"),
	"mute":           acts(ask.Mute, "other"),
	"unmute":         acts(ask.Unmute, "other"),
	"kick moderator": acts(ask.Kick, "mod2"),
	"set-role member": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.SetRole(room, "newcomer", "member")
	},
	"set-role moderator": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.SetRole(room, "other", "moderator")
	},
	"update-room": func(room string, _ int64) *wirev1.ClientFrame {
		return ask.UpdateRoom(&wirev1.UpdateRoom{RoomId: room, Topic: proto.String("changed")})
	},
	"delete-room":     func(room string, _ int64) *wirev1.ClientFrame { return ask.DeleteRoom(room) },
	"open-direct":     func(string, int64) *wirev1.ClientFrame { return ask.OpenDirect("other") },
	"invite":          func(room string, _ int64) *wirev1.ClientFrame { return ask.Invite(room, "newcomer") },
	"uninvite":        func(room string, _ int64) *wirev1.ClientFrame { return ask.Uninvite(room, "other") },
	"admin-broadcast": func(string, int64) *wirev1.ClientFrame { return ask.AdminBroadcast("hello") },
	"configure":       func(string, int64) *wirev1.ClientFrame { return ask.Configure(&wirev1.Configure{}) },
}

func acts(request func(*wirev1.Moderate) *wirev1.ClientFrame, user string) func(string, int64) *wirev1.ClientFrame {
	return func(room string, _ int64) *wirev1.ClientFrame {
		return request(&wirev1.Moderate{RoomId: room, UserId: user})
	}
}

// TestAccess sends every request as everybody who may or may not, each about a
// room of its own, and holds the answers against the tables above. Who was
// signed in and is not any more may nothing (revoked), and an outsider learns
// nothing of private rooms (access_private_test.go).
func TestAccess(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	s := stack.Start(t, stack.Options{
		Gateway: func(o *gateway.Options) {
			o.JWTSecret = secret
			o.RateLimit, o.RateBurst = 1e6, 1e6
		},
		// Only what asks for it is traced.
		Traces: sdk.NewTracerProvider(sdk.WithSyncer(spans), sdk.WithSampler(sdk.ParentBased(sdk.NeverSample()))),
	})
	a := &accessRun{t: t, stack: s, clients: make(map[string]*client.Client), spans: spans}
	for _, who := range strings.Fields(whoAsks) {
		if who != "nobody" {
			a.clients[who] = client.Dial(t, s.URLs[0], client.Options{})
			a.clients[who].SignIn(tokenOf(t, who))
		}
	}
	t.Run("complete", testEveryRequestHasARow)
	t.Run("public", func(t *testing.T) { a.table(t, accessToPublic, registryv1.Visibility_VISIBILITY_PUBLIC) })
	t.Run("private", func(t *testing.T) { a.table(t, accessToPrivate, registryv1.Visibility_VISIBILITY_PRIVATE) })
	t.Run("revoked", a.revoked)
	t.Run("private is as none", a.privateIsAsNone)
	t.Run("nothing is heard", a.nothingIsHeard)
}

// testEveryRequestHasARow: what is added to the protocol is to be added here.
func testEveryRequestHasARow(t *testing.T) {
	fields := (&wirev1.ClientFrame{}).ProtoReflect().Descriptor().Oneofs().ByName("request").Fields()
	for i := range fields.Len() {
		request := strings.ReplaceAll(string(fields.Get(i).Name()), "_", "-")
		if !strings.Contains(accessToPublic, "\n"+request+" ") {
			t.Errorf("%s has no row", request)
		}
	}
	for name := range accessRequests {
		if !strings.Contains(accessToPublic, "\n"+name+" ") {
			t.Errorf("%s is not asked about public rooms", name)
		}
		if name != "create-room" && namesARoom(name) && !strings.Contains(accessToPrivate, "\n"+name+" ") {
			t.Errorf("%s is not asked about private rooms", name)
		}
	}
}

type accessRun struct {
	t       *testing.T
	stack   *stack.Stack
	clients map[string]*client.Client
	rooms   int
	private []string // rooms of which outsiders may know nothing
	spans   *tracetest.InMemoryExporter
}

// room makes a room with everybody in their places, and gives what other has
// said there.
func (a *accessRun) room(t *testing.T, visibility registryv1.Visibility) (room string, seq int64) {
	t.Helper()
	a.rooms++
	room = fmt.Sprint("access-", a.rooms)
	if visibility == registryv1.Visibility_VISIBILITY_PRIVATE {
		a.private = append(a.private, room)
	}
	ctx := t.Context()
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(a.stack.Registry.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: room, Visibility: visibility, Persistent: true,
		Actor: &registryv1.Actor{User: &wirev1.User{Id: "owner", Username: "owner"}}}))
	for user, role := range map[string]string{"member": "member", "banned": "member", "muted": "member", "other": "member", "moderator": "moderator", "mod2": "moderator"} {
		setRole(t, a.stack, room, user, role)
	}
	do(a.stack.Registry.Ban(ctx, &registryv1.BanRequest{RoomId: room, UserId: "banned"}))
	do(a.stack.Registry.Mute(ctx, &registryv1.MuteRequest{RoomId: room, UserId: "muted"}))
	said, err := a.stack.History.Publish(ctx, &historyv1.PublishRequest{RoomId: room, User: &wirev1.User{Id: "other", Username: "other"}, Content: proto.String("a secret")})
	do(said, err)
	return room, int64(said.GetSeq())
}

// namesARoom says whether a request names a room; "auth" alone is made elsewhere.
func namesARoom(name string) bool {
	request := accessRequests[name]
	return request != nil && strings.Contains(fmt.Sprint(request("a-room", 1)), "a-room")
}

// isIn says whether who asks has joined the room before.
func isIn(who string) bool {
	return slices.Contains([]string{"visitor", "member", "moderator", "owner", "admin", "muted"}, who)
}

func (a *accessRun) table(t *testing.T, table string, visibility registryv1.Visibility) {
	columns := strings.Fields(whoAsks)
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		cells := strings.Fields(line)
		if slices.Equal(cells, columns) {
			continue
		}
		name := strings.Join(cells[:len(cells)-len(columns)], " ")
		t.Run(name, func(t *testing.T) {
			for i, want := range cells[len(cells)-len(columns):] {
				if want == "-" {
					continue
				}
				who := columns[i]
				room, seq := "", int64(0)
				if namesARoom(name) {
					room, seq = a.room(t, visibility)
				}
				c := a.as(t, who)
				if isIn(who) && room != "" && name != "join-room" {
					c.Join(room)
				}
				if got := answered(c, request(t, name, who, room, seq)); got != want {
					t.Errorf("%s is answered %s, want %s", who, got, want)
				}
			}
		})
	}
}

// as gives the connection of who asks; nobody has a new one each time, for none
// may stay for long without signing in.
func (a *accessRun) as(t *testing.T, who string) *client.Client {
	t.Helper()
	if who == "nobody" {
		return client.Dial(t, a.stack.URLs[0], client.Options{})
	}
	return a.clients[who]
}

// tokenOf makes a token of a user, in which some have a role.
func tokenOf(t *testing.T, who string) string {
	var roles []string
	if who == "guest" || who == "admin" {
		roles = append(roles, who)
	}
	return signHS256(t, secret, claims{"sub": who, "roles": roles})
}

func request(t *testing.T, name, who, room string, seq int64) *wirev1.ClientFrame {
	if name == "auth" {
		return ask.Auth(tokenOf(t, who))
	}
	return accessRequests[name](room, seq)
}

// answered sends a request and gives the code of the answer, or a word of the
// tables.
func answered(c *client.Client, f *wirev1.ClientFrame) string {
	if f.GetSignal() != nil { // which is answered only where it is refused
		f.Id = proto.String("signal")
		c.Send(f)
		leave := ask.LeaveRoom(f.GetSignal().RoomId) // behind it: both are about one room
		leave.Id = proto.String("behind")
		c.Send(leave)
		answer := c.Wait("an answer", func(f *wirev1.ServerFrame) bool { return f.GetId() == "signal" || f.GetId() == "behind" })
		if answer.GetId() == "signal" {
			c.Reply("behind")
			return answer.GetError().Code
		}
		return "."
	}
	answer := c.Ask(f)
	switch {
	case answer.GetError() != nil:
		return answer.GetError().Code
	case answer.GetAuthFailed() != nil:
		return answer.GetAuthFailed().Code
	case answer.GetRoomCreated() != nil && !answer.GetRoomCreated().Success:
		return "taken"
	case answer.GetRoomInfo() != nil && !answer.GetRoomInfo().Exists:
		return "absent"
	}
	return "."
}
