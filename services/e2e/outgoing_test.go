package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

func testBatch(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	configured := func(r *wirev1.Configure) *wirev1.Configured {
		t.Helper()
		answer := bob.Ask(ask.Configure(r))
		if answer.GetConfigured() == nil {
			t.Fatalf("configure was answered %v", answer)
		}
		return answer.GetConfigured()
	}
	if c := configured(&wirev1.Configure{}); c.Batch != nil || c.Compression != "none" {
		t.Errorf("by default %v is in force", c)
	}
	if c := configured(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 7}}); c.Batch.GetIntervalMs() != 100 {
		t.Errorf("without an interval %v is in force", c)
	}
	if c := configured(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 10, IntervalMs: 10_000}}); c.Batch.GetMaxMessages() != 10 || c.Batch.IntervalMs != 10_000 || c.Compression != "none" {
		t.Errorf("%v is in force", c)
	}
	alice.Join(room)
	bob.Join(room)
	witness := signedIn(t, s, 1, encoding, "witness") // on bob's gateway: what it hears, bob's batch has
	witness.Join(room)
	for i := 1; i <= 25; i++ {
		alice.Say(room, fmt.Sprint(i))
	}
	witness.Hear(room, "25")
	next := 1
	batch := func(size int) {
		t.Helper()
		b := bob.Want("message-batch").GetMessageBatch()
		if b.RoomId != room || len(b.Messages) != size || b.Timestamp == nil {
			t.Fatalf("message-batch %v, want one of %d", b, size)
		}
		for _, f := range b.Messages {
			if m := f.GetChatMessage(); m.GetContent() != fmt.Sprint(next) || f.Id == nil || m.Prev == nil {
				t.Errorf("message %d is %v", next, f)
			}
			next++
		}
	}
	batch(10) // by their number
	batch(10)
	// The rest waits, and goes out before anything else of the room.
	bob.Settle()
	if early := append(bob.Untaken("message-batch"), bob.Untaken("chat-message")...); len(early) > 0 {
		t.Errorf("came early: %v", early)
	}
	bob.Ask(ask.LeaveRoom(room))
	if n := len(bob.Untaken("message-batch")); n != 1 {
		t.Errorf("%d batches before room-left", n)
	}
	batch(5)
	configured(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 1000, IntervalMs: 150}})
	bob.Join(room)
	witness.Ask(ask.LeaveRoom(room)) // and back, to stand behind bob again
	witness.Join(room)
	began := time.Now()
	alice.Say(room, "26")
	alice.Say(room, "27")
	batch(2) // by the time
	if took := time.Since(began); took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("a batch came after %v", took)
	}
	configured(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 1000, IntervalMs: 10_000}})
	alice.Say(room, "28")
	witness.Hear(room, "28")
	if c := configured(&wirev1.Configure{Batch: &wirev1.Batch{}}); c.Batch != nil {
		t.Errorf("%v is in force", c)
	}
	batch(1) // what was pending
	alice.Say(room, "29")
	bob.Hear(room, "29")
}

func testCompressed(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, encoding, "alice"), signedIn(t, s, 1, encoding, "bob")
	alice.Join(room)
	bob.Join(room)
	if c := bob.Ask(ask.Configure(&wirev1.Configure{Compression: proto.String("gzip")})).GetConfigured(); c.GetCompression() != "gzip" || c.Batch != nil {
		t.Errorf("%v is in force", c)
	}
	unpack := func() *wirev1.ServerFrame {
		t.Helper()
		data := bob.Want("compressed").GetCompressed().Data
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) <= 1024 || len(data) >= len(raw) {
			t.Errorf("%d bytes were compressed to %d", len(raw), len(data))
		}
		f, err := frame.DecodeServer(encoding, raw)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	large := strings.Repeat("large ü ", 1000)
	for _, content := range []string{"small", large, strings.Repeat("x", 700)} {
		ack := alice.Say(room, content)
		if alice.Hear(room, content).Seq != ack.GetSeq() { // who has not asked gets it plain
			t.Error("alice heard another")
		}
		m := (*wirev1.Message)(nil)
		if content == large {
			m = unpack().GetChatMessage()
		} else {
			m = bob.Hear(room, content)
		}
		if m.GetContent() != content || m.Seq != ack.GetSeq() {
			t.Errorf("a message of %d bytes came as %d", len(content), len(m.GetContent()))
		}
	}
	// Replies too, with their id inside.
	f := ask.GetHistory(&wirev1.GetHistory{RoomId: room})
	f.Id = proto.String("page")
	bob.Send(f)
	if page := unpack(); page.GetId() != "page" || len(page.GetMessageHistory().GetMessages()) != 3 {
		t.Errorf("history came as %v", page)
	}
	// And batches.
	bob.Ask(ask.Configure(&wirev1.Configure{Batch: &wirev1.Batch{MaxMessages: 2, IntervalMs: 10_000}}))
	alice.Say(room, large)
	alice.Say(room, large)
	if batch := unpack(); len(batch.GetMessageBatch().GetMessages()) != 2 {
		t.Errorf("a batch came as %v", batch)
	}
	if c := bob.Ask(ask.Configure(&wirev1.Configure{Compression: proto.String("none"), Batch: &wirev1.Batch{}})).GetConfigured(); c.GetCompression() != "none" {
		t.Errorf("%v is in force", c)
	}
	alice.Say(room, large)
	bob.Hear(room, large)
}

func testDeflate(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	_, answer := client.Upgrade(t, s.URLs[0], "/ws", http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate; client_max_window_bits"}})
	agreed := answer.Header.Get("Sec-WebSocket-Extensions")
	if !strings.HasPrefix(agreed, "permessage-deflate") || !strings.Contains(agreed, "server_no_context_takeover") {
		t.Errorf("agreed on %q", agreed)
	}
	if _, answer := client.Upgrade(t, s.URLs[0], "/ws", nil); answer.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("agreed on %q unasked", answer.Header.Get("Sec-WebSocket-Extensions"))
	}
	room := named(t, "a")
	plain := signedIn(t, s, 1, encoding, "plain")
	plain.Join(room)
	for _, mode := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		c := client.Dial(t, s.URLs[0], client.Options{Encoding: encoding, Compression: mode})
		c.SignIn(signHS256(t, secret, claims{"sub": "squeezed"}))
		c.Join(room)
		for i, n := range []int{1, 100, 1000, 1023, 1024, 1025, 5000, 16 << 10} {
			content := strings.Repeat(fmt.Sprintf("%d·", i), n)[:n]
			content = strings.ToValidUTF8(content, "")
			ack := c.Say(room, content)
			for _, listener := range []*client.Client{c, plain} {
				if m := listener.Hear(room, content); m.Seq != ack.GetSeq() {
					t.Errorf("mode %d, %d bytes: %v", mode, n, m)
				}
			}
		}
		page := c.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room})).GetMessageHistory()
		if len(page.GetMessages()) < 8 {
			t.Errorf("history %v", page)
		}
		c.Close()
	}
}

// testSlowReader has a client stop reading: signals to it are dropped, stored
// messages never; it is sent away when they do not fit any more, and recovers.
func testSlowReader(t *testing.T, s *stack.Stack) {
	const queue = 128 << 10
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("slow")
	n := s.AddGateway(t, func(o *gateway.Options) { o.QueueBytes, o.Meter = queue, meter })
	room := named(t, "a")
	alice, bob := signedIn(t, s, 0, frame.JSON, "alice"), signedIn(t, s, 1, frame.JSON, "bob")
	alice.Join(room)
	bob.Join(room)
	slow, _ := client.Upgrade(t, s.URLs[n], "/ws", http.Header{
		"Authorization": {"Bearer " + signHS256(t, secret, claims{"sub": "slow"})}, "Sec-WebSocket-Protocol": {"parley.v1.json"},
	})
	slow.ReadBuffer(256 << 10)
	slow.Write(client.OpText, fmt.Appendf(nil, `{"type":"join-room","id":"j","roomId":%q}`, room))
	for slow.ReadText()["type"] != "message-history" {
	}
	// It does not read any more. Signals alone never end a connection, however
	// many they are.
	const signals = 500
	data := dataOf(15 << 10)
	for i := range signals {
		alice.Send(ask.Signal(&wirev1.SendSignal{RoomId: room, Event: fmt.Sprintf("e%d", i), Data: data}))
		if i%20 == 19 { // no faster than one who reads can follow
			bob.Wait("a signal", func(f *wirev1.ServerFrame) bool { return f.GetSignal().GetEvent() == fmt.Sprintf("e%d", i) })
		}
	}
	// Some stored messages find room where signals were.
	for i := range 4 {
		alice.Say(room, fmt.Sprintf("stored %d", i))
	}
	bob.Hear(room, "stored 3")
	got, heard, last := 0, 0, int64(0)
	for heard < 4 {
		switch m := slow.ReadText(); m["type"] {
		case "signal":
			got++
		case "chat-message":
			if m["content"] != fmt.Sprintf("stored %d", heard) {
				t.Errorf("message %d is %v", heard, m["content"])
			}
			heard++
			last = int64(m["seq"].(float64))
		}
	}
	if got == 0 || got >= signals {
		t.Errorf("%d of %d signals came", got, signals)
	}
	// Stored messages are never dropped: too many end the connection.
	content := strings.Repeat("x", 15<<10)
	stored := 0
	for ; counted(t, reader, "parley.gateway.queue.overflows") == 0; stored++ {
		alice.Say(room, fmt.Sprintf("%d %s", stored, content))
		bob.Hear(room, fmt.Sprintf("%d %s", stored, content))
		if stored > 900 {
			t.Fatal("the queue does not overflow")
		}
	}
	code, messages := 0, 0
	for code == 0 {
		opcode, payload, err := slow.Read()
		if err != nil {
			t.Fatalf("after %d messages: %v", messages, err)
		}
		switch opcode {
		case client.OpClose:
			code = client.CloseCode(payload)
		case client.OpText:
			f, err := frame.DecodeServer(frame.JSON, payload)
			if err != nil {
				t.Fatal(err)
			}
			if m := f.GetChatMessage(); m != nil {
				if m.GetPrev() != last {
					t.Fatalf("after seq %d came one after %d", last, m.GetPrev())
				}
				last = m.Seq
				messages++
			}
		}
	}
	if code != 4102 || messages == 0 || messages >= stored {
		t.Errorf("closed with %d after %d of %d messages", code, messages, stored)
	}
	if !bob.Alive() {
		t.Error("one that reads was closed too")
	}
	// Nothing is lost: the log has the rest, in pages that fit a queue.
	back, rest := signedIn(t, s, 0, frame.JSON, "slow"), 0
	for more := true; more; {
		page := back.Ask(ask.GetHistory(&wirev1.GetHistory{RoomId: room, After: &last, Limit: proto.Int32(50)})).GetMessageHistory()
		if len(page.GetMessages()) == 0 {
			t.Fatalf("nothing after %d", last)
		}
		rest += len(page.Messages)
		last = page.Messages[len(page.Messages)-1].GetChatMessage().Seq
		more = page.HasMore
	}
	if rest+messages != stored {
		t.Errorf("%d before and %d after, %d were stored", messages, rest, stored)
	}
}

// counted reads a counter, or a gauge.
func counted(t *testing.T, reader *metric.ManualReader, name string) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name && len(sum.DataPoints) == 1 {
				return sum.DataPoints[0].Value
			}
			if gauge, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == name && len(gauge.DataPoints) == 1 {
				return gauge.DataPoints[0].Value
			}
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
