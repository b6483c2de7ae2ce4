package rpc_test

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// A back end says something in a room. Over TLS, LoadTLS with the file of the
// authority makes what ClientOptions.TLS takes.
func ExampleDial() {
	conn, err := rpc.Dial("history", "127.0.0.1:9103", rpc.ClientOptions{
		Token: func(context.Context) (string, error) { return os.Getenv("PARLEY_BACKEND_TOKEN"), nil },
	})
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	content := "shipped"
	stored, err := historyv1.NewHistoryClient(conn).Publish(context.Background(), &historyv1.PublishRequest{
		RoomId: "general", Id: "order-17", User: &wirev1.User{Id: "shop", Username: "Shop"}, Content: &content,
	})
	if err != nil {
		panic(err) // errs.CodeOf(err) tells what to do about it
	}
	fmt.Println("stored as", stored.Seq)
}

// bearerToken goes with each call as metadata.
type bearerToken string

func (b bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is true where the network is not private.
func (bearerToken) RequireTransportSecurity() bool { return false }

// The same with nothing of Parley but the contracts.
func Example_plainGRPC() {
	conn, err := grpc.NewClient("127.0.0.1:9103",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // or credentials.NewTLS
		grpc.WithPerRPCCredentials(bearerToken(os.Getenv("PARLEY_BACKEND_TOKEN"))))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	page, err := historyv1.NewHistoryClient(conn).ListMessages(context.Background(), &historyv1.ListMessagesRequest{RoomId: "general"})
	if err != nil {
		panic(err)
	}
	for _, message := range page.Messages {
		fmt.Println(message.GetUser().GetUsername(), message.GetContent())
	}
}
