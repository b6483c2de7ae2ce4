package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// accessToMethods are all methods, the scope that each needs, and what who has
// it is answered on a request with nothing in it: a dot for a success, or the
// code with the field.
const accessToMethods = `
auth.Register            users    invalid-argument/username
auth.Login               users    invalid-argument/username
auth.Refresh             users    invalid-argument/refreshToken
auth.Verify              read     invalid-argument/token
auth.Revoke              admin    invalid-argument/sessionId
auth.GetUser             read     invalid-argument/id
auth.Touch               service  .
auth.ChangePassword      users    invalid-argument/token
auth.ListSessions        read     invalid-argument/userId
auth.CreateUser          users    invalid-argument/username
auth.ListUsers           read     .
auth.SetRoles            admin    invalid-argument/userId
auth.SetPassword         admin    invalid-argument/password
auth.DisableUser         admin    invalid-argument/userId
auth.EnableUser          admin    invalid-argument/userId
auth.CreateInvite        admin    .
auth.ListInvites         admin    .
auth.RevokeInvite        admin    invalid-argument/id
auth.RotateKeys          admin    .
registry.CreateRoom      rooms    invalid-argument/roomId
registry.GetRoom         read     invalid-argument/roomId
registry.ListRooms       read     .
registry.UpdateRoom      rooms    invalid-argument/roomId
registry.DeleteRoom      rooms    invalid-argument/roomId
registry.Admit           service  invalid-argument/roomId
registry.AdmitAll        service  invalid-argument/requests
registry.SetMember       rooms    invalid-argument/roomId
registry.RemoveMember    rooms    invalid-argument/roomId
registry.Kick            rooms    invalid-argument/roomId
registry.Ban             rooms    invalid-argument/roomId
registry.Unban           rooms    invalid-argument/roomId
registry.Mute            rooms    invalid-argument/roomId
registry.Unmute          rooms    invalid-argument/roomId
registry.OpenDirect      rooms    invalid-argument/actor
registry.ListSanctions   read     invalid-argument/roomId
registry.ListMembers     read     invalid-argument/roomId
registry.GetMembers      read     invalid-argument/roomId
registry.MarkRead        rooms    invalid-argument/roomId
registry.GetReadMark     read     invalid-argument/roomId
history.Publish          publish  invalid-argument/roomId
history.ListMessages     read     invalid-argument/roomId
history.Replay           read     invalid-argument/roomId
history.EditMessage      publish  invalid-argument/roomId
history.DeleteMessage    publish  invalid-argument/roomId
history.Broadcast        admin    invalid-argument/content
history.Erase            service  invalid-argument/roomId
history.Trim             service  invalid-argument/roomId
presence.ListOnline      read     .
presence.CountRooms      read     .
presence.ListRoomMembers read     invalid-argument/roomId
presence.GetUsers        read     invalid-argument/userIds
presence.Watch           read     invalid-argument/rooms
events.Subscribe         read     invalid-argument/after
`

// methodRow is a row of accessToMethods.
type methodRow struct{ scope, answer string }

func methodRows() map[string]methodRow {
	rows := make(map[string]methodRow)
	for line := range strings.Lines(accessToMethods) {
		if cells := strings.Fields(line); len(cells) == 3 {
			service, method, _ := strings.Cut(cells[0], ".")
			name := fmt.Sprintf("/parley.%s.v1.%s/%s", service, strings.ToUpper(service[:1])+service[1:], method)
			rows[name] = methodRow{cells[1], cells[2]}
		}
	}
	return rows
}

// scopes that the callers have, beside service, which has all.
const (
	backEndScopes = "publish read rooms users"
	adminScopes   = "admin " + backEndScopes
)

// TestProcessEveryMethodIsGuarded calls every method as everybody there is: the
// answer is what the table says to who has the scope, and the exact refusal to
// all others. What a user is known by is nothing to a gRPC API.
func TestProcessEveryMethodIsGuarded(t *testing.T) {
	rows := methodRows()
	t.Run("complete", func(t *testing.T) { testEveryMethodHasARow(t, rows) })
	d := process.Plan(t, 1)
	callers := filepath.Join(t.TempDir(), "callers.yaml")
	const removed = "a token that is taken away"
	write := func(more string) {
		t.Helper()
		text := "callers:\n"
		for _, scope := range []string{"admin", "publish", "read", "rooms", "users"} {
			text += fmt.Sprintf("- {name: only-%s, token: the token of only-%s, scopes: [%s]}\n", scope, scope, scope)
		}
		if err := os.WriteFile(callers, []byte(text+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("- {name: removed, token: " + removed + ", scopes: [admin]}\n")
	d.Trust = append(d.Trust, "PARLEY_CALLERS_FILE="+callers, "PARLEY_JWT_SECRET="+string(secret))
	d.Start()
	d.StartService(process.Events)
	d.WaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()

	const known, unknown, none = "known", "the token is not known here", `no credentials: send a token as metadata "authorization: Bearer …", or a client certificate`
	type caller struct{ name, header, scopes, refusal string }
	all := []caller{
		{"", "", "", none},
		{"", "Basic " + process.AdminToken, "", none},
		{"", "Bearer " + process.AdminToken + "x", "", unknown},
		{"", "Bearer a token of somebody else", "", unknown},
		{"", "Bearer " + removed, "", unknown},
		{"", "Bearer " + register(t, d.URLs[0], "alice"), "", unknown},
		{"", "Bearer " + signHS256(t, secret, claims{"sub": "root", "roles": []string{"admin"}}), "", unknown},
		{"", "Bearer " + signHS256(t, secret, claims{"sub": "root", "exp": time.Now().Add(-time.Hour).Unix()}), "", unknown},
		{"backend", "Bearer " + process.BackEndToken, backEndScopes, known},
		{"admin", "bearer " + process.AdminToken, adminScopes, known},
		{"service", "Bearer " + process.ServiceToken, "service " + adminScopes, known},
		{"only-admin", "Bearer the token of only-admin", adminScopes, known},
	}
	for _, scope := range strings.Fields(backEndScopes) {
		all = append(all, caller{"only-" + scope, "Bearer the token of only-" + scope, scope, known})
	}
	conns := make(map[string]*grpc.ClientConn)
	for name := range rows {
		program := strings.Split(name, ".")[1]
		if conns[program] == nil {
			conns[program] = dialGRPC(t, d.Addrs[program], "")
		}
	}
	conn := func(method string) *grpc.ClientConn { return conns[strings.Split(method, ".")[1]] }
	const forGone = "/parley.auth.v1.Auth/ListInvites"
	if got, message := answerTo(ctx, conn(forGone), forGone, "Bearer "+removed); got != "." {
		t.Errorf("before it is taken away, a token is answered %s %s", got, message)
	}
	write("")
	process.Eventually(t, recovery, "the token is taken away", func() error {
		for program, conn := range conns {
			method := map[string]string{"history": "/parley.history.v1.History/Publish", "presence": "/parley.presence.v1.Presence/CountRooms", "events": "/parley.events.v1.Events/Subscribe",
				"auth": forGone, "registry": "/parley.registry.v1.Registry/ListRooms"}[program]
			if got, _ := answerTo(ctx, conn, method, "Bearer "+removed); got != "unauthenticated" {
				return fmt.Errorf("%s answers %s", program, got)
			}
		}
		return nil
	})
	for program := range conns {
		for _, method := range methods(ctx, t, dialGRPC(t, d.Addrs[program], process.BackEndToken)) {
			if _, ok := rows[method]; !ok {
				t.Errorf("%s serves %s, which has no row", program, method)
			}
		}
	}
	for method, row := range rows {
		for _, c := range all {
			want, says := row.answer, ""
			switch {
			case c.refusal != known:
				want, says = "unauthenticated", c.refusal
			case !slices.Contains(strings.Fields(c.scopes), row.scope):
				want, says = "forbidden", fmt.Sprintf("%q has not the scope %s, which %s needs", c.name, row.scope, method)
			}
			got, message := answerTo(ctx, conn(method), method, c.header)
			if got != want || says != "" && message != says {
				t.Errorf("%s is answered by %s: %s %q, want %s %q", c.header, method, got, message, want, says)
			}
		}
	}
	// A token for gRPC signs nobody in.
	eve := client.Dial(t, d.URLs[0], client.Options{Header: bearer(process.ServiceToken)})
	if code := eve.Closed(); code != 1008 {
		t.Errorf("the services' token at the gateway: %d", code)
	}
}

// testEveryMethodHasARow: a method that is added to a contract is to be added to
// the table, with the scope that the contract names.
func testEveryMethodHasARow(t *testing.T, rows map[string]methodRow) {
	found := 0
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			if !strings.HasPrefix(string(s.FullName()), "parley.") || s.FullName() == "parley.hook.v1.Hook" {
				continue // the hook is asked by gateways, and is whoever's it is
			}
			for j := range s.Methods().Len() {
				found++
				name := fmt.Sprintf("/%s/%s", s.FullName(), s.Methods().Get(j).Name())
				if row, ok := rows[name]; !ok || row.scope != access.ScopeName(access.Needs(name)) {
					t.Errorf("%s, which needs %s, has the row %v", name, access.ScopeName(access.Needs(name)), row)
				}
			}
		}
		return true
	})
	if found != len(rows) {
		t.Errorf("%d methods, and %d rows", found, len(rows))
	}
}

// answerTo calls a method with nothing in the request and gives the code of the
// answer, behind it the field that is at fault, and what it says.
func answerTo(ctx context.Context, conn *grpc.ClientConn, method, header string) (answer, message string) {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	if header != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", header)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.WaitForReady(true))
	if err == nil {
		// A stream that was refused takes nothing more, and says why to who reads.
		_ = stream.SendMsg(&emptypb.Empty{})
		_ = stream.CloseSend()
		err = stream.RecvMsg(new(emptypb.Empty))
	}
	if err == nil {
		return ".", ""
	}
	st := status.Convert(err)
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			answer = info.Reason
			if field := info.Metadata["field"]; field != "" {
				answer += "/" + field
			}
		}
	}
	if answer == "" {
		answer = st.Code().String()
	}
	return answer, st.Message()
}

// methods asks a server for all methods that it serves, but those of gRPC
// itself.
func methods(ctx context.Context, t *testing.T, conn *grpc.ClientConn) []string {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var found []string
	list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().GetService() {
		if strings.HasPrefix(s.Name, "grpc.") {
			continue
		}
		answer := ask(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s.Name},
		})
		var file descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(answer.GetFileDescriptorResponse().GetFileDescriptorProto()[0], &file); err != nil {
			t.Fatal(err)
		}
		for _, service := range file.Service {
			for _, m := range service.Method {
				found = append(found, fmt.Sprintf("/%s.%s/%s", file.GetPackage(), service.GetName(), m.GetName()))
			}
		}
	}
	return found
}
