package bus

import (
	"errors"

	"github.com/nats-io/nats.go"

	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// PublishBeat tells presence that a gateway is alive.
func (b *Bus) PublishBeat(beat *busv1.GatewayBeat) error {
	return b.publish(subjectBeat+beat.GatewayId, beat)
}

// PublishDelta tells presence what happened to a gateway's sessions. Deltas of
// one connection arrive in the order of these calls.
func (b *Bus) PublishDelta(delta *busv1.PresenceDelta) error {
	return b.publish(subjectDelta+delta.GatewayId, delta)
}

// PublishReplica tells the other presence replicas that one is alive.
func (b *Bus) PublishReplica(beat *busv1.PresenceReplicaBeat) error {
	return b.publish(subjectReplica, beat)
}

// SubscribeBeats hears every gateway's beats.
func (b *Bus) SubscribeBeats(f func(*busv1.GatewayBeat)) (*Subscription, error) {
	return subscribe(b, subjectBeat+"*", each(f))
}

// SubscribeDeltas hears every gateway's deltas, each gateway's in order.
func (b *Bus) SubscribeDeltas(f func(*busv1.PresenceDelta)) (*Subscription, error) {
	return subscribe(b, subjectDelta+"*", each(f))
}

// SubscribeReplicas hears every presence replica's beats.
func (b *Bus) SubscribeReplicas(f func(*busv1.PresenceReplicaBeat)) (*Subscription, error) {
	return subscribe(b, subjectReplica, each(f))
}

// SubscribeSnapshotRequests hears replicas that want this gateway's snapshot.
// reply sends one part of it back.
func (b *Bus) SubscribeSnapshotRequests(gateway string, f func(reply func(*busv1.PresenceSnapshot) error)) ([]*Subscription, error) {
	var subs []*Subscription
	for _, subject := range []string{subjectAsk, subjectAsk + "." + gateway} {
		sub, err := b.subscribeAsks(subject, f)
		if err != nil {
			return nil, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// SubscribeAsks hears replicas that want everybody's snapshot, for one that
// stands in for gateways that have ended. reply sends one part of it back.
func (b *Bus) SubscribeAsks(f func(reply func(*busv1.PresenceSnapshot) error)) (*Subscription, error) {
	return b.subscribeAsks(subjectAsk, f)
}

func (b *Bus) subscribeAsks(subject string, f func(reply func(*busv1.PresenceSnapshot) error)) (*Subscription, error) {
	return subscribe(b, subject, func(_ *busv1.PresenceSnapshotRequest, msg *nats.Msg) error {
		if msg.Reply == "" {
			return errors.New("a request that wants no answer")
		}
		f(func(part *busv1.PresenceSnapshot) error { return b.publish(msg.Reply, part) })
		return nil
	})
}

// SubscribeSnapshots makes an address for snapshots and hears what is sent to
// it. ask requests one: of the gateway named, or of all where gateway is "".
func (b *Bus) SubscribeSnapshots(f func(*busv1.PresenceSnapshot)) (ask func(gateway string) error, sub *Subscription, err error) {
	inbox := b.nc.NewInbox()
	sub, err = subscribe(b, inbox, each(f))
	if err != nil {
		return nil, nil, err
	}
	ask = func(gateway string) error {
		subject := subjectAsk
		if gateway != "" {
			subject += "." + gateway
		}
		return b.nc.PublishRequest(subject, inbox, nil)
	}
	return ask, sub, nil
}
