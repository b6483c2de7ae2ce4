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
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

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
	d.Gateways[0].WaitSaid("does not accept what this process shows")
	d.Services[process.Auth].WaitSaid("a call was refused")
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
		p.WaitSaid("development mode")
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
