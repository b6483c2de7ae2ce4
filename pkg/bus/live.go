package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Subscription is interest in something; Stop ends it.
type Subscription struct{ sub *nats.Subscription }

// Stop ends the subscription. The handler may still be running when it
// returns.
func (s *Subscription) Stop() {
	// The only error is a connection that is closed already.
	_ = s.sub.Unsubscribe()
}

// publish sends a message that nobody stores: at most once, to who listens.
func (b *Bus) publish(subject string, m proto.Message) error {
	payload, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding for %s: %w", subject, err)
	}
	if err := b.nc.Publish(subject, payload); err != nil {
		return fmt.Errorf("publishing to %s: %w", subject, err)
	}
	return nil
}

// subscribe has each message of a subject decoded into a new M and handed to
// f, one after the other. What cannot be decoded is logged and passed over,
// for anything may speak on NATS.
func subscribe[M any, P interface {
	*M
	proto.Message
}](b *Bus, subject string, f func(m P, msg *nats.Msg)) (*Subscription, error) {
	sub, err := b.nc.Subscribe(subject, func(msg *nats.Msg) {
		m := P(new(M))
		if err := proto.Unmarshal(msg.Data, m); err != nil {
			b.log.Warn("passed over what is not ours", "subject", msg.Subject, "error", err)
			return
		}
		f(m, msg)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
	}
	return &Subscription{sub}, nil
}

// PublishLive tells the members of a room something that is not stored.
func (b *Bus) PublishLive(room string, event *busv1.LiveEvent) error {
	return b.publish(b.outSubject(room), event)
}

// PublishUser tells all connections of one user something.
func (b *Bus) PublishUser(user string, event *busv1.UserEvent) error {
	return b.publish(userSubject(user), event)
}

// PublishAll speaks to every connection of every gateway.
func (b *Bus) PublishAll(broadcast *busv1.Broadcast) error {
	return b.publish(subjectAll, broadcast)
}

// SubscribeAll hears what is said to every connection.
func (b *Bus) SubscribeAll(f func(*busv1.Broadcast)) (*Subscription, error) {
	return subscribe(b, subjectAll, func(m *busv1.Broadcast, _ *nats.Msg) { f(m) })
}

// SubscribeUsers hears what is said to any user's connections.
func (b *Bus) SubscribeUsers(f func(user string, event *busv1.UserEvent)) (*Subscription, error) {
	return subscribe(b, subjectUser+"*", func(m *busv1.UserEvent, msg *nats.Msg) {
		user, err := ids.FromToken(msg.Subject[len(subjectUser):])
		if err != nil {
			b.log.Warn("passed over what is not ours", "subject", msg.Subject, "error", err)
			return
		}
		f(user, m)
	})
}
