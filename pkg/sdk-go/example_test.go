package parley_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	parley "github.com/parley-im/parley/pkg/sdk-go"
)

// The gateway of the examples.
var gateway = echoGateway()

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	who := &parley.SignIn{URL: gateway.URL, Username: "ada", Password: "correct horse"}
	client, err := parley.Dial(ctx, gateway.URL, parley.Options{GetToken: who.Token})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	room := client.Room("general")
	if err := room.Join(ctx, parley.JoinOptions{History: 20}); err != nil {
		log.Fatal(err)
	}
	ack, err := room.Send(ctx, "hello")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored as", ack.Seq, "in", ack.Durability)

	for message, err := range room.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", message.User.Username, message.Content)
		break
	}
	// Output:
	// stored as 1 in file
	// ada: hello
}

func ExampleRoom_Queue() {
	ctx := context.Background()
	client, err := parley.Dial(ctx, gateway.URL, parley.Options{Token: "t"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	room := client.Room("orders")
	if err := room.Join(ctx, parley.JoinOptions{History: -1}); err != nil {
		log.Fatal(err)
	}
	// An id of one's own makes sending the same again harmless, also in another process.
	var orders []*parley.Outgoing
	for _, id := range []string{"order-17", "order-18"} {
		o, err := room.Queue(parley.Draft{ID: id, Content: "shipped", Data: parley.JSON(map[string]int{"boxes": 2})})
		if err != nil {
			log.Fatal(err)
		}
		orders = append(orders, o)
	}
	for _, o := range orders {
		if _, err := o.Wait(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println(o.ID(), "is stored")
	}
	// Output:
	// order-17 is stored
	// order-18 is stored
}

// The program of the README is the example that runs here.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("there is no Go in the README")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		want := "\t" + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n\t")
		if !strings.Contains(string(source), strings.ReplaceAll(want, "\t\n", "\n")) {
			t.Errorf("no example has\n%s", block)
		}
	}
}
