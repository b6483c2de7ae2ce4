package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/obs"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// TestTraces: one trace goes with a message from its sender's frame, through the
// log, to the members on every gateway, and with a request through the services.
func TestTraces(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	var lines written
	logger, err := obs.NewLogger(&lines, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	s := stack.Start(t, stack.Options{Gateways: 2, Traces: provider, Logger: logger})
	alice, bob := client.Dial(t, s.URLs[0], client.Options{}), client.Dial(t, s.URLs[1], client.Options{})
	alice.SignIn(s.Token(t, "alice"))
	bob.SignIn(s.Token(t, "bob"))
	alice.Join("general")
	bob.Join("general")
	say := func(text string) *wirev1.ClientFrame {
		return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_ChatMessage{
			ChatMessage: &wirev1.SendMessage{RoomId: "general", Content: proto.String(text)},
		}}
	}
	// The trace is complete when all of these spans have ended.
	want := func(t *testing.T, id trace.TraceID, names ...string) tracetest.SpanStubs {
		t.Helper()
		var found tracetest.SpanStubs
		stack.Eventually(t, "the trace is complete", func() error {
			found = slices.DeleteFunc(spans.GetSpans(), func(s tracetest.SpanStub) bool { return s.SpanContext.TraceID() != id })
			var have []string
			for _, s := range found {
				have = append(have, s.Name)
			}
			slices.Sort(have)
			if slices.Sort(names); !slices.Equal(have, names) {
				return fmt.Errorf("spans %q, want %q", have, names)
			}
			return nil
		})
		return found
	}

	t.Run("message", func(t *testing.T) {
		id, parent, header := newTrace(1, "01")
		frame := say("traced")
		frame.Traceparent = &header
		ack := alice.Ask(frame).GetAck()
		bob.Hear("general", "traced")
		found := want(t, id, "chat-message", "publish parley.log", "deliver", "deliver")
		request := one(t, found, "chat-message")
		if request.Parent.SpanID() != parent || request.SpanKind != trace.SpanKindServer {
			t.Errorf("the request is a %v below %v", request.SpanKind, request.Parent.SpanID())
		}
		publish := one(t, found, "publish parley.log")
		if publish.Parent.SpanID() != request.SpanContext.SpanID() || publish.SpanKind != trace.SpanKindProducer {
			t.Errorf("the publish is a %v below %v", publish.SpanKind, publish.Parent.SpanID())
		}
		for _, s := range found {
			if s.Name != "deliver" {
				continue
			}
			if s.Parent.SpanID() != publish.SpanContext.SpanID() || !s.Parent.IsRemote() || s.SpanKind != trace.SpanKindConsumer {
				t.Errorf("a delivery is a %v below %v", s.SpanKind, s.Parent.SpanID())
			}
			has := attribute.NewSet(s.Attributes...)
			if v, _ := has.Value("parley.seq"); v.AsInt64() != ack.GetSeq() {
				t.Errorf("delivered %d, acknowledged %d", v.AsInt64(), ack.GetSeq())
			}
			if v, _ := has.Value("parley.members"); v.AsInt64() != 1 {
				t.Errorf("delivered to %d members, want the one of its gateway", v.AsInt64())
			}
			if len(s.Events) != 1 || s.Events[0].Name != "stored" {
				t.Errorf("a delivery has the events %v, want when it was stored", s.Events)
			}
		}
	})
	t.Run("not sampled", func(t *testing.T) {
		id, _, header := newTrace(2, "00")
		frame := say("unsampled")
		frame.Traceparent = &header
		alice.Ask(frame)
		bob.Hear("general", "unsampled")
		// What comes behind it in the same room and is traced is there.
		next, _, header := newTrace(3, "01")
		frame = say("sampled")
		frame.Traceparent = &header
		alice.Ask(frame)
		want(t, next, "chat-message", "publish parley.log", "deliver", "deliver")
		want(t, id)
	})
	t.Run("malformed", func(t *testing.T) {
		frame := say("malformed")
		frame.Traceparent = proto.String("00-zz-1")
		if ack := alice.Ask(frame).GetAck(); ack == nil {
			t.Error("no ack")
		}
	})
	t.Run("request", func(t *testing.T) {
		id, parent, header := newTrace(4, "01")
		alice.Ask(&wirev1.ClientFrame{Traceparent: &header, Request: &wirev1.ClientFrame_CreateRoom{
			CreateRoom: &wirev1.CreateRoom{RoomId: "made"},
		}})
		const call = "parley.registry.v1.Registry/CreateRoom"
		found := want(t, id, "create-room", call, call)
		if request := one(t, found, "create-room"); request.Parent.SpanID() != parent {
			t.Errorf("the request is below %v", request.Parent.SpanID())
		}
		stack.Eventually(t, "lines of the trace", func() error {
			if text := lines.String(); !strings.Contains(text, `"trace_id":"`+id.String()+`"`) {
				return fmt.Errorf("no line has the trace %s", id)
			}
			return nil
		})
	})
	t.Run("log", func(t *testing.T) {
		id, _, header := newTrace(5, "01")
		carol := client.Dial(t, s.URLs[1], client.Options{})
		carol.Ask(&wirev1.ClientFrame{Traceparent: &header, Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: s.Token(t, "carol")}}})
		stack.Eventually(t, "the line of the sign-in", func() error {
			for line := range strings.Lines(lines.String()) {
				if strings.Contains(line, `"msg":"signed in"`) && strings.Contains(line, `"trace_id":"`+id.String()+`"`) {
					return nil
				}
			}
			return fmt.Errorf("no line has the trace %s", id)
		})
	})
	t.Run("back end", func(t *testing.T) {
		ctx, span := provider.Tracer("shop").Start(t.Context(), "order")
		if _, err := s.History.Publish(ctx, &historyv1.PublishRequest{
			RoomId: "general", User: &wirev1.User{Id: "shop", Username: "Shop"}, Content: proto.String("shipped"),
		}); err != nil {
			t.Fatal(err)
		}
		span.End()
		bob.Hear("general", "shipped")
		const call = "parley.history.v1.History/Publish"
		want(t, span.SpanContext().TraceID(), "order", call, call, "publish parley.log", "deliver", "deliver")
	})
}

// newTrace makes a trace as a client would.
func newTrace(n byte, flags string) (trace.TraceID, trace.SpanID, string) {
	id, parent := trace.TraceID{0: 0xaa, 15: n}, trace.SpanID{0: 0xbb, 7: n}
	return id, parent, "00-" + hex.EncodeToString(id[:]) + "-" + hex.EncodeToString(parent[:]) + "-" + flags
}

func one(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no span %q", name)
	}
	return spans[i]
}

// written is a log that may be read while it is written.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
