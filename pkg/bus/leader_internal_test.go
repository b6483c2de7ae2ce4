package bus

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/bus/embedded"
)

// TestLeaderThatComesLate: a leader that is elected while somebody waits for its
// answer is asked, and an answer that comes after the leader was asked once more
// counts.
func TestLeaderThatComesLate(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := Connect(t.Context(), Options{InProcess: server, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var asked atomic.Int64
	var second atomic.Pointer[nats.Msg]
	leader := func(answers func(m *nats.Msg, n int64)) {
		asked.Store(0)
		sub, err := b.nc.Subscribe("$JS.API.TEST", func(m *nats.Msg) { answers(m, asked.Add(1)) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() }) // fails only when the connection is closed
	}
	ask := func() (answer struct{ N int }, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = b.askLeader(ctx, "TEST", nil, &answer)
		return answer, err
	}
	leader(func(m *nats.Msg, n int64) {
		switch n {
		case 1: // nobody leads yet
		case 2: // it leads, and is slow
			second.Store(m)
		default:
			_ = second.Load().Respond([]byte(`{"N": 3}`)) // the one who asks sees
		}
	})
	if answer, err := ask(); err != nil || answer.N != 3 {
		t.Errorf("got %+v, %v after %d requests", answer, err, asked.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.askLeader(ctx, "NOBODY", nil, new(struct{})); ctx.Err() == nil || err == nil {
		t.Errorf("nobody answers: %v, %v", err, ctx.Err())
	}
}
