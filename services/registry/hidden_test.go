package registry

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// TestHiddenIsAsNone makes every call that there is about a room, on behalf of
// who has no part in it, about a private room and about one that there is none
// of. The answers are the same to the letter, and so is how often NATS is
// asked for them: how long an answer takes is no answer either.
func TestHiddenIsAsNone(t *testing.T) {
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
	r := start(t, Options{
		Bus: connect(t, bus.Options{InProcess: startNATS(t, t.TempDir(), ""), Meter: meter}),
		// Where joining makes rooms, whether an id is taken cannot be hidden.
		RefuseCreateByJoin: true,
	})
	const hidden, none = "hidden", "absent"
	r.mustCreate(&registryv1.CreateRoomRequest{
		RoomId: hidden, Actor: as("owner"), Visibility: registryv1.Visibility_VISIBILITY_PRIVATE, Persistent: true,
	})
	r.mustSet(hidden, "other", moderator)

	// told is what a call answers, and how many messages to NATS it took.
	told := func(call func(context.Context, func(any) error) (any, error), room string, actor *registryv1.Actor) (answer string, sent int64) {
		before := sentTo(t, reader)
		response, err := call(t.Context(), func(request any) error {
			fillIn(request.(proto.Message).ProtoReflect(), room, actor)
			return nil
		})
		sent = sentTo(t, reader) - before
		if err == nil {
			answer = prototext.MarshalOptions{}.Format(response.(proto.Message))
		} else {
			e := errs.From(err)
			answer = fmt.Sprintf("%s %q %q %v", e.Code, e.Message, e.Field, e.RetryAfter)
		}
		return strings.ReplaceAll(answer, room, "ROOM"), sent
	}
	for _, actor := range []*registryv1.Actor{as("outsider"), as("visitor", "guest")} {
		tried := 0
		for _, m := range registryv1.Registry_ServiceDesc.Methods {
			if m.MethodName == "CreateRoom" || !isAboutARoom(m.MethodName) {
				continue // that an id is taken has to be said
			}
			tried++
			call := func(ctx context.Context, decode func(any) error) (any, error) {
				return m.Handler(r.Service, ctx, decode, nil)
			}
			of, asked := told(call, hidden, actor)
			without, askedWithout := told(call, none, actor)
			if of != without {
				t.Errorf("%s is told by %s: %s, and of none %s", actor.User.Id, m.MethodName, of, without)
			}
			if !strings.Contains(of, string(errs.NotFound)) && !strings.Contains(of, string(errs.Forbidden)) {
				t.Errorf("%s is let in by %s: %s", actor.User.Id, m.MethodName, of)
			}
			// Something else may have been said meanwhile, which it is not each time.
			for try := 0; asked != askedWithout && try < 5; try++ {
				_, asked = told(call, hidden, actor)
				_, askedWithout = told(call, none, actor)
			}
			if asked != askedWithout {
				t.Errorf("%s asks NATS %d times about a private room, and %d times about none", m.MethodName, asked, askedWithout)
			}
		}
		if tried < 13 {
			t.Errorf("only %d calls were tried", tried)
		}
	}
}

// isAboutARoom says whether a method of the registry is asked about a room on
// somebody's behalf.
func isAboutARoom(method string) bool {
	m := registryv1.File_registry_v1_registry_proto.Services().ByName("Registry").Methods().ByName(protoreflect.Name(method))
	fields := m.Input().Fields()
	return fields.ByName("room_id") != nil && fields.ByName("actor") != nil
}

// fillIn sets whatever a request can have beside the room and the actor, so that
// nothing is refused before it is about the room.
func fillIn(request protoreflect.Message, room string, actor *registryv1.Actor) {
	set := func(name protoreflect.Name, value any) {
		if field := request.Descriptor().Fields().ByName(name); field != nil {
			request.Set(field, protoreflect.ValueOf(value))
		}
	}
	set("room_id", room)
	set("actor", actor.ProtoReflect())
	set("user_id", "other")
	set("user", (&wirev1.User{Id: "other"}).ProtoReflect())
	set("role", member.Number())
	set("topic", "news")
	set("reason", "because")
	set("revision", uint64(7))
	set("seq", uint64(1))
	set("limit", int32(10))
	set("create", true)
	set("read", true)
	set("read_mark", true)
}

// sentTo tells how many messages have gone to NATS.
func sentTo(t *testing.T, reader *metric.ManualReader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "parley.bus.messages" {
				continue
			}
			for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
				if direction, _ := point.Attributes.Value("direction"); direction.AsString() == "out" {
					return point.Value
				}
			}
		}
	}
	t.Fatal("messages to NATS are not counted")
	return 0
}
