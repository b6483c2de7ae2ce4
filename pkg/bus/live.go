package bus

import (
	"fmt"
	"strings"

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
// f, one after the other. What cannot be decoded, or of which f says so, is passed
// over.
func subscribe[M any, P message[M]](b *Bus, subject string, f func(m P, msg *nats.Msg) error) (*Subscription, error) {
	sub, err := b.nc.Subscribe(subject, func(msg *nats.Msg) { take(b, msg, f) })
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
	}
	return &Subscription{sub}, nil
}

// message is a pointer to a generated M.
type message[M any] interface {
	*M
	proto.Message
}

// take is what subscribe does with one message.
func take[M any, P message[M]](b *Bus, msg *nats.Msg, f func(m P, msg *nats.Msg) error) {
	m := P(new(M))
	err := proto.Unmarshal(msg.Data, m)
	if err == nil {
		err = f(m, msg)
	}
	if err != nil {
		b.PassOver(msg.Subject, err)
	}
}

// each hands every message on to f.
func each[P any](f func(P)) func(P, *nats.Msg) error {
	return func(m P, _ *nats.Msg) error {
		f(m)
		return nil
	}
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
	return subscribe(b, subjectAll, broadcastTo(f))
}

func broadcastTo(f func(*busv1.Broadcast)) func(*busv1.Broadcast, *nats.Msg) error {
	return func(m *busv1.Broadcast, _ *nats.Msg) error {
		if err := checkTime(m.TimeMs); err != nil { // no frame could carry it
			return err
		}
		f(m)
		return nil
	}
}

// SubscribeUsers hears what is said to any user's connections.
func (b *Bus) SubscribeUsers(f func(user string, event *busv1.UserEvent)) (*Subscription, error) {
	return subscribe(b, subjectUser+"*", userTo(f))
}

func userTo(f func(user string, event *busv1.UserEvent)) func(*busv1.UserEvent, *nats.Msg) error {
	return func(m *busv1.UserEvent, msg *nats.Msg) error {
		user, err := ids.FromToken(strings.TrimPrefix(msg.Subject, subjectUser))
		if err == nil {
			f(user, m)
		}
		return err
	}
}
