package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

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

// outcome calls a method with nothing in the request.
func outcome(ctx context.Context, conn *grpc.ClientConn, method string) codes.Code {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		if err = stream.SendMsg(&emptypb.Empty{}); err == nil {
			err = stream.RecvMsg(new(emptypb.Empty))
		}
	}
	return status.Code(err)
}

// Every method that is served refuses who has no credentials and who has not
// its scope, and lets those in who have.
func TestProcessEveryMethodIsGuarded(t *testing.T) {
	d := process.Deploy(t, 0)
	d.StartService(process.Events)
	d.WaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	may := map[string]string{
		process.BackEndToken: "publish read rooms users",
		process.AdminToken:   "admin publish read rooms users",
		process.ServiceToken: "service admin publish read rooms users",
	}
	seen := 0
	for _, addr := range d.Addrs {
		nobody, stranger := dialGRPC(t, addr, ""), dialGRPC(t, addr, "a token of somebody else")
		for _, method := range methods(ctx, t, dialGRPC(t, addr, process.BackEndToken)) {
			seen++
			for _, conn := range []*grpc.ClientConn{nobody, stranger} {
				if got := outcome(ctx, conn, method); got != codes.Unauthenticated {
					t.Errorf("%s without credentials: %v", method, got)
				}
			}
			need := access.ScopeName(access.Needs(method))
			for token, scopes := range may {
				got := outcome(ctx, dialGRPC(t, addr, token), method)
				refused := got == codes.PermissionDenied || got == codes.Unauthenticated
				if allowed := strings.Contains(" "+scopes+" ", " "+need+" "); allowed == refused {
					t.Errorf("%s, which needs %s, with %q: %v", method, need, scopes, got)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d methods were tried", seen)
	}
}

// A gateway whose token is another's is served by nobody, and says so.
func TestProcessWrongServiceToken(t *testing.T) {
	d := process.Plan(t, 1)
	d.StartNATS()
	for _, s := range process.Services {
		d.StartService(s)
	}
	d.Trust = []string{"PARLEY_SERVICE_TOKEN=a token of other services"}
	d.StartGateway(0)
	d.WaitReady()
	// The user did nothing wrong, and whoever runs the gateway is told what is.
	if err := signsIn(d.URLs[0], "alice"); err == nil || !strings.HasPrefix(err.Error(), "503") {
		t.Errorf("a user is told %v", err)
	}
	if said := d.Gateways[0].Stderr(); !strings.Contains(said, "does not accept what this process shows") {
		t.Errorf("the gateway says %s", said)
	}
	process.Eventually(t, recovery, "the service tells", func() error {
		if said := d.Services[process.Auth].Stderr(); !strings.Contains(said, "a call was refused") {
			return fmt.Errorf("it said %s", said)
		}
		return nil
	})
	if said := d.Services[process.Auth].Stderr(); strings.Contains(said, "of other services") || strings.Contains(said, process.ServiceToken) {
		t.Error("a token is in the log")
	}
}

// In development nothing is needed, and the log says so.
func TestProcessDevelopment(t *testing.T) {
	d := process.Plan(t, 1)
	d.Trust = []string{"PARLEY_DEV=on"}
	d.Start()
	alice := client.Dial(t, d.URLs[0], client.Options{})
	alice.SignIn(register(t, d.URLs[0], "alice"))
	alice.Join("general")
	for _, p := range d.Services {
		if !strings.Contains(p.Stderr(), "development mode") {
			t.Errorf("%s does not say that it trusts everybody", p.Program)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	if got := outcome(ctx, dialGRPC(t, d.Addrs[process.History], ""), "/parley.history.v1.History/Erase"); got != codes.InvalidArgument {
		t.Errorf("without credentials: %v", got)
	}
}

// Guests and an identity provider are settings of parley serve like any other.
func TestProcessWhoIsLetIn(t *testing.T) {
	provider := startProvider(t)
	file := filepath.Join(t.TempDir(), "issuers.yaml")
	text := fmt.Sprintf("issuers: [{name: corp, issuer: 'https://id.example.com', jwks: %q, audience: [parley]}]", provider.url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, "PARLEY_GUESTS=on", "PARLEY_ISSUERS_FILE="+file)
	p.WaitReady()
	ann := client.Dial(t, p.url, client.Options{})
	if user := ann.SignIn(provider.token(t, nil)).User; user.Id != "corp:7" {
		t.Errorf("signed in as %v", user)
	}
	tutorial := client.Dial(t, p.url, client.Options{})
	tutorial.SendText(`{"type":"chat","user":"Alice","message":"hello"}`)
	name := tutorial.Want("auth-success").GetAuthSuccess().User.Username
	for _, c := range []*client.Client{ann, tutorial} {
		if said := c.Want("chat").GetChat(); said.Message != "hello" || said.User != name {
			t.Errorf("heard %v, want it of %q", said, name)
		}
	}
}
