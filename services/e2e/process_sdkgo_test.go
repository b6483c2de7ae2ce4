package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/frame"
	parley "github.com/parley-im/parley/pkg/sdk-go"
)

// What the Go client promises, counted while a parley serve is killed under it:
// what was acknowledged comes to each client once, in one order, and is in the log
// once.
func TestProcessGoClient(t *testing.T) {
	const kills, between = 3, 60 // messages between two kills
	p := serve(t)
	p.WaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	writing, enough := context.WithCancel(ctx)
	defer enough()

	var acks atomic.Int64
	var writers, readers sync.WaitGroup
	users := []*countingUser{
		{name: "ada", options: parley.Options{}},
		{name: "bob", options: parley.Options{Encoding: frame.Proto}},
		{name: "eve", options: parley.Options{Buffer: 16}}, // each page is too large for it
	}
	for _, u := range users {
		u.options.GetToken = (&parley.SignIn{URL: p.url, Username: u.name, Password: "correct horse"}).Token
		c, err := parley.Dial(ctx, p.url, u.options)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		u.client, u.room = c, c.Room("count")
		if err := u.room.Join(ctx, parley.JoinOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range users {
		writers.Go(func() { u.write(ctx, writing, &acks) })
		readers.Go(func() { u.read(ctx) })
	}
	for i := range kills {
		for acks.Load() < int64((i+1)*between) && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond) // a poll
		}
		p.Kill()
		p.Restart()
		p.WaitReady()
	}
	for acks.Load() < (kills+1)*between && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	enough()
	writers.Wait()
	// The last word, behind which nobody has to read.
	if _, err := users[0].room.Send(ctx, lastWord); err != nil {
		t.Fatal(err)
	}
	readers.Wait()

	sent := make(map[string]int64) // seq by content
	for _, u := range users {
		if u.err != nil {
			t.Errorf("%s: %v", u.name, u.err)
		}
		if len(u.sent) < between/len(users) {
			t.Errorf("%s has sent %d messages only", u.name, len(u.sent))
		}
		for content, seq := range u.sent {
			sent[content] = seq
		}
	}
	for _, u := range users {
		if len(u.got) != len(sent) {
			t.Errorf("%s got %d messages, %d were acknowledged", u.name, len(u.got), len(sent))
		}
		if !slices.IsSortedFunc(u.got, func(a, b parley.Message) int { return int(a.Seq - b.Seq) }) {
			t.Errorf("%s got them in another order", u.name)
		}
		seen := make(map[string]bool)
		for _, m := range u.got {
			if seen[m.Content] {
				t.Errorf("%s got %s twice", u.name, m.Content)
			}
			seen[m.Content] = true
			if sent[m.Content] != m.Seq {
				t.Errorf("%s got %s as %d, which was acknowledged as %d", u.name, m.Content, m.Seq, sent[m.Content])
			}
		}
	}
	h, err := users[0].room.History(ctx, parley.Page{Limit: 1000})
	if err != nil || len(h.Messages()) != len(sent)+1 {
		t.Errorf("the log has %d messages, and the last word: %v", len(h.Messages())-1, err)
	}
	t.Logf("%d messages, each once to each of %d clients, over %d kills", len(sent), len(users), kills)
}

const lastWord = "enough"

// countingUser writes and reads in one room, and keeps what comes of it.
type countingUser struct {
	name    string
	options parley.Options
	client  *parley.Client
	room    *parley.Room

	sent map[string]int64
	got  []parley.Message
	err  error
}

// write sends numbered messages until writing ends, no more than the gateway lets a
// connection send.
func (u *countingUser) write(ctx, writing context.Context, acks *atomic.Int64) {
	u.sent = make(map[string]int64)
	pace := time.NewTicker(30 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-writing.Done():
			return
		case <-pace.C:
		}
		content := fmt.Sprint(u.name, " ", i)
		ack, err := u.room.Send(ctx, content)
		if err != nil {
			u.err = err
			return
		}
		u.sent[content] = ack.Seq
		acks.Add(1)
	}
}

func (u *countingUser) read(ctx context.Context) {
	for m, err := range u.room.Messages(ctx) {
		if err != nil {
			u.got = append(u.got, parley.Message{Content: err.Error()})
			return
		}
		if m.Content == lastWord {
			return
		}
		u.got = append(u.got, m)
	}
}
