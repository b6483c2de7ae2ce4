package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/parley-im/parley/proto/auth/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	presencev1 "github.com/parley-im/parley/proto/presence/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// dialGRPC connects as any program in any language does: with nothing of ours
// but the contracts, and a token, empty for none.
func dialGRPC(t *testing.T, addr, token string) *grpc.ClientConn {
	t.Helper()
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearerToken(token)))
	}
	conn, err := grpc.NewClient(addr, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// bearerToken goes with each call.
type bearerToken string

func (b bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearerToken) RequireTransportSecurity() bool { return false }

// The services are there for other back ends too, in programs of their own and
// in parley serve.
func TestProcessGRPC(t *testing.T) {
	t.Run("separate", func(t *testing.T) {
		d := process.Deploy(t, 1)
		testServices(t, d.Addrs)
		testBackEnd(t, d.Addrs, d.URLs[0])
	})
	t.Run("serve", func(t *testing.T) {
		addr := process.Addr(t)
		addrs := make(map[string]string)
		for _, s := range process.Services {
			addrs[s] = addr
		}
		p := serve(t, "PARLEY_BACKEND_TOKEN="+process.BackEndToken, "PARLEY_ADMIN_TOKEN="+process.AdminToken,
			"PARLEY_AUTH_ADDR="+addr, "PARLEY_REGISTRY_ADDR="+addr, "PARLEY_HISTORY_ADDR="+addr, "PARLEY_PRESENCE_ADDR="+addr)
		p.WaitReady()
		testServices(t, addrs)
		testBackEnd(t, addrs, p.url)
	})
}

// testServices asks each service how it does and what it serves.
func testServices(t *testing.T, addrs map[string]string) {
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for program, name := range map[string]string{
		process.Auth: authv1.Auth_ServiceDesc.ServiceName, process.Registry: registryv1.Registry_ServiceDesc.ServiceName,
		process.History: historyv1.History_ServiceDesc.ServiceName, process.Presence: presencev1.Presence_ServiceDesc.ServiceName,
	} {
		conn := dialGRPC(t, addrs[program], "")
		for _, service := range []string{name, ""} {
			// It is asked for every 100 ms, and so a moment behind /readyz.
			process.Eventually(t, recovery, program+" serves", func() error {
				answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
				if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
					return fmt.Errorf("health of %q: %v, %v", service, answer, err)
				}
				return nil
			})
		}
		conn = dialGRPC(t, addrs[program], process.BackEndToken)
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		if err := stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
		}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		for _, s := range answer.GetListServicesResponse().GetService() {
			names = append(names, s.Name)
		}
		if !slices.Contains(names, name) || !slices.Contains(names, "grpc.health.v1.Health") {
			t.Errorf("%s: reflection lists %v, %v", program, names, err)
		}
		if err := stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
		}); err != nil {
			t.Fatal(err)
		}
		if answer, err = stream.Recv(); len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: no description of %s: %v, %v", program, name, answer, err)
		}
	}
}

// testBackEnd is another back end: it makes a room, says something to those in
// it, hears what they say, and sees who they are.
func testBackEnd(t *testing.T, addrs map[string]string, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	auth := authv1.NewAuthClient(dialGRPC(t, addrs[process.Auth], process.BackEndToken))
	rooms := registryv1.NewRegistryClient(dialGRPC(t, addrs[process.Registry], process.BackEndToken))
	history := historyv1.NewHistoryClient(dialGRPC(t, addrs[process.History], process.BackEndToken))
	presence := presencev1.NewPresenceClient(dialGRPC(t, addrs[process.Presence], process.BackEndToken))

	in, err := auth.Register(ctx, &authv1.RegisterRequest{Username: "alice", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	bot := &wirev1.User{Id: "bot", Username: "Bot"}
	room, err := rooms.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: "news", Name: "News", Persistent: true, Actor: &registryv1.Actor{User: bot}})
	if err != nil || room.Id != "news" {
		t.Fatalf("making a room: %v, %v", room, err)
	}
	text := "before anybody came"
	first, err := history.Publish(ctx, &historyv1.PublishRequest{RoomId: "news", Id: "1", User: bot, Content: &text})
	if err != nil {
		t.Fatal(err)
	}

	alice := client.Dial(t, url, client.Options{})
	alice.SignIn(in.Token)
	joined, page := alice.Join("news")
	if joined.Epoch != room.Epoch || len(page.Messages) != 1 || page.Messages[0].GetChatMessage().GetContent() != text {
		t.Errorf("joined %v, %v", joined, page)
	}
	replay, err := history.Replay(ctx, &historyv1.ReplayRequest{RoomId: "news", From: &historyv1.ReplayRequest_After{After: 0}, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	hear := func(want string, seq uint64) {
		t.Helper()
		m, err := replay.Recv()
		if err != nil || m.GetContent() != want || m.Seq != seq {
			t.Fatalf("replay: %v, %v, want %q at %d", m, err, want, seq)
		}
	}
	hear(text, first.Seq)
	text = "to those who are here"
	second, err := history.Publish(ctx, &historyv1.PublishRequest{RoomId: "news", Id: "2", User: bot, Content: &text})
	if err != nil {
		t.Fatal(err)
	}
	heard := alice.Hear("news", text)
	if uint64(heard.Seq) != second.Seq || uint64(heard.GetPrev()) != first.Seq || heard.User.Username != "Bot" {
		t.Errorf("heard %v", heard)
	}
	hear(text, second.Seq)
	again, err := history.Publish(ctx, &historyv1.PublishRequest{RoomId: "news", Id: "2", User: bot, Content: &text})
	if err != nil || !again.Duplicate || again.Seq != second.Seq {
		t.Errorf("published again: %v, %v", again, err)
	}
	answer := alice.Say("news", "an answer")
	hear("an answer", uint64(answer.GetSeq()))

	process.Eventually(t, recovery, "presence has alice in the room", func() error {
		members, err := presence.ListRoomMembers(ctx, &presencev1.ListRoomMembersRequest{RoomId: "news"})
		if err != nil {
			return err
		}
		if len(members.Members) != 1 || members.Members[0].User.GetUsername() != "alice" {
			t.Fatalf("in the room are %v", members)
		}
		return nil
	})
	testBackEndRooms(ctx, t, rooms, &wirev1.User{Id: in.User.Id, Username: in.User.Username}, alice)
	if who, err := auth.Verify(ctx, &authv1.VerifyRequest{Token: in.Token}); err != nil || who.User.GetUsername() != "alice" {
		t.Errorf("verify: %v, %v", who, err)
	}
	if _, err := auth.Revoke(ctx, &authv1.RevokeRequest{What: &authv1.RevokeRequest_Token{Token: in.Token}}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a back end revokes: %v", err)
	}
	operator := authv1.NewAuthClient(dialGRPC(t, addrs[process.Auth], process.AdminToken))
	if _, err := operator.Revoke(ctx, &authv1.RevokeRequest{What: &authv1.RevokeRequest_Token{Token: in.Token}}); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	if code := alice.Closed(); code != 4001 || time.Since(revoked) > 5*time.Second {
		t.Errorf("closed with %d %v after the revocation", code, time.Since(revoked))
	}
}

// testBackEndRooms: a back end makes a room that only those may join whom it
// adds, says what they may there, and takes one out again.
func testBackEndRooms(ctx context.Context, t *testing.T, rooms registryv1.RegistryClient, user *wirev1.User, alice *client.Client) {
	t.Helper()
	private, moderators := registryv1.Visibility_VISIBILITY_PRIVATE, registryv1.Who_WHO_MODERATORS
	made, err := rooms.CreateRoom(ctx, &registryv1.CreateRoomRequest{
		RoomId: "staff", Visibility: private, Persistent: true,
		Policy: &registryv1.Policy{Post: &moderators}, Attributes: []byte(`{"team":7}`),
	})
	if err != nil || made.Owner != nil {
		t.Fatalf("making a private room: %v, %v", made, err)
	}
	say := "hello"
	said := ask.ChatMessage(&wirev1.SendMessage{RoomId: "staff", Content: &say})
	alice.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "staff"}), "forbidden")
	if _, err := rooms.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: "staff", User: user, Role: registryv1.Role_ROLE_MEMBER}); err != nil {
		t.Fatal(err)
	}
	alice.Join("staff")
	alice.AskError(said, "forbidden")
	member, err := rooms.SetMember(ctx, &registryv1.SetMemberRequest{RoomId: "staff", User: user, Role: registryv1.Role_ROLE_MODERATOR})
	if err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, recovery, "a moderator may write", func() error {
		if answer := alice.Ask(proto.CloneOf(said)); answer.GetAck() == nil {
			return fmt.Errorf("answered %v", answer)
		}
		return nil
	})
	members, err := rooms.ListMembers(ctx, &registryv1.ListMembersRequest{RoomId: "staff"})
	if err != nil || len(members.Members) != 1 || !proto.Equal(members.Members[0], member) {
		t.Errorf("members %v, %v, want %v", members, err, member)
	}
	if _, err := rooms.RemoveMember(ctx, &registryv1.RemoveMemberRequest{RoomId: "staff", UserId: user.Id}); err != nil {
		t.Fatal(err)
	}
	if kicked := alice.Want("kicked").GetKicked(); kicked.RoomId != "staff" {
		t.Errorf("kicked %v", kicked)
	}
	alice.AskError(proto.CloneOf(said), "not-joined")
	page, err := rooms.ListRooms(ctx, &registryv1.ListRoomsRequest{Prefix: "sta"})
	if err != nil || len(page.Rooms) != 1 || string(page.Rooms[0].Attributes) != `{"team":7}` {
		t.Errorf("listed %v, %v", page, err)
	}
}
