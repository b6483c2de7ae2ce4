package e2e

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// testUnheard changes rights without a word, as when it is lost while a gateway
// is cut off from NATS: a gateway that is back looks at all of them.
func testUnheard(t *testing.T, s *stack.Stack, encoding frame.Encoding) {
	room := named(t, "a")
	eve, bob := signedIn(t, s, 0, encoding, "eve"), signedIn(t, s, 0, encoding, "bob")
	ann, admin := signedIn(t, s, 0, encoding, "ann"), signedIn(t, s, 0, encoding, "root", "admin")
	joined, _ := eve.Join(room)
	bob.Join(room)
	ann.Join(room)
	admin.Join(room)
	kv, err := s.Bus.Bucket(t.Context(), bus.Rooms)
	if err != nil {
		t.Fatal(err)
	}
	write := func(m *registryv1.Member) {
		t.Helper()
		m.Epoch = joined.Epoch
		value, err := proto.Marshal(m)
		if err == nil {
			_, err = kv.Put(t.Context(), "m."+ids.Token(room)+"."+ids.Token(m.User.Id), value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(&registryv1.Member{User: &wirev1.User{Id: "eve"}, Ban: &registryv1.Sanction{Reason: "why"}})
	write(&registryv1.Member{User: &wirev1.User{Id: "root"}, Ban: &registryv1.Sanction{}})
	write(&registryv1.Member{User: &wirev1.User{Id: "bob"}, Mute: &registryv1.Sanction{}})
	message := ask.ChatMessage(&wirev1.SendMessage{RoomId: room, Content: proto.String("x")})
	stack.Eventually(t, "the registry has heard of it, and so has the gateway", func() error {
		if err := s.Gateways[0].Recheck(t.Context()); err != nil {
			return err
		}
		if code := bob.Ask(message).GetError().GetCode(); code != "muted" {
			return errCode(code)
		}
		return nil
	})
	if got := eve.Want("kicked").GetKicked(); got.RoomId != room || got.GetReason() != "why" {
		t.Errorf("kicked %v", got)
	}
	until(t, eve, message, "not-joined")
	until(t, ann, message, "")
	until(t, admin, message, "")
}

type errCode string

func (e errCode) Error() string { return "answered " + string(e) }
