package rights

import (
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// A policy in the words of the wire (PROTOCOL.md, section 3).

var whoWords = map[string]registryv1.Who{
	"everyone":   registryv1.Who_WHO_EVERYONE,
	"members":    registryv1.Who_WHO_MEMBERS,
	"moderators": registryv1.Who_WHO_MODERATORS,
	"owner":      registryv1.Who_WHO_OWNERS,
}

var guestWords = map[string]registryv1.Guests{
	"none":  registryv1.Guests_GUESTS_NONE,
	"read":  registryv1.Guests_GUESTS_READ,
	"write": registryv1.Guests_GUESTS_WRITE,
}

// Told is a room's policy with all that is in force.
func Told(room *registryv1.Room) *wirev1.RoomPolicy {
	r := RulesOf(room)
	who := func(a Action) *string { return word(whoWords, r.Least(a)) }
	return &wirev1.RoomPolicy{
		Post: who(Post), Read: who(Read), Signal: who(Signal), Invite: who(Invite),
		Guests:     word(guestWords, r.guests),
		Rate:       proto.Float64(r.Rate),
		MaxMembers: proto.Int32(int32(r.MaxMembers)),
		Retention:  proto.Int32(int32(r.Retention)),
	}
}

func word[T comparable](words map[string]T, value T) *string {
	for word, v := range words {
		if v == value {
			return &word
		}
	}
	return nil
}

// Asked is the policy that somebody asks for. Errors: invalid-argument. The
// registry says whether its numbers can be.
func Asked(p *wirev1.RoomPolicy) (*registryv1.Policy, error) {
	if p == nil {
		return nil, nil
	}
	asked := &registryv1.Policy{Rate: p.Rate}
	for _, f := range []struct {
		name string
		word *string
		to   **registryv1.Who
	}{
		{"post", p.Post, &asked.Post}, {"read", p.Read, &asked.Read},
		{"signal", p.Signal, &asked.Signal}, {"invite", p.Invite, &asked.Invite},
	} {
		if f.word == nil {
			continue
		}
		who, ok := whoWords[*f.word]
		if !ok {
			return nil, errs.Invalid("policy."+f.name, `is not "everyone", "members", "moderators" or "owner"`)
		}
		*f.to = &who
	}
	if p.Guests != nil {
		guests, ok := guestWords[*p.Guests]
		if !ok {
			return nil, errs.Invalid("policy.guests", `is not "none", "read" or "write"`)
		}
		asked.Guests = &guests
	}
	for _, f := range []struct {
		name  string
		given *int32
		to    **uint32
	}{{"maxMembers", p.MaxMembers, &asked.MaxMembers}, {"retention", p.Retention, &asked.Retention}} {
		if f.given == nil {
			continue
		}
		if *f.given < 0 {
			return nil, errs.Invalid("policy."+f.name, "is negative")
		}
		*f.to = proto.Uint32(uint32(*f.given))
	}
	return asked, nil
}
