package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	"github.com/parley-im/parley/pkg/rights"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

const (
	maxRate       = 1000      // messages a second
	maxMaxMembers = 1_000_000 // users in a room
	maxAttributes = 4096      // bytes
)

// minRate is one message a day; what is slower is a policy of who may post.
const minRate = 1.0 / (24 * 60 * 60)

func checkPolicy(p *registryv1.Policy) error {
	for _, f := range []struct {
		name string
		who  registryv1.Who
	}{{"post", p.GetPost()}, {"read", p.GetRead()}, {"signal", p.GetSignal()}, {"invite", p.GetInvite()}} {
		if f.who < 0 || f.who > registryv1.Who_WHO_OWNERS {
			return errs.Invalid("policy."+f.name, "is not everyone, members, moderators or owners")
		}
	}
	switch rate := p.GetRate(); {
	case p.GetGuests() < 0 || p.GetGuests() > registryv1.Guests_GUESTS_WRITE:
		return errs.Invalid("policy.guests", "is not none, read or write")
	case math.IsNaN(rate), rate < 0, rate > maxRate, rate > 0 && rate < minRate:
		return errs.Invalid("policy.rate", "is neither 0 nor between one message a day and %d a second", maxRate)
	case p.GetMaxMembers() > maxMaxMembers:
		return errs.Invalid("policy.maxMembers", "is more than %d", maxMaxMembers)
	}
	return nil
}

// mergePolicy puts what a change gives over what there is; nil where nothing
// differs from the defaults any more.
func mergePolicy(old, change *registryv1.Policy) *registryv1.Policy {
	next := proto.CloneOf(old)
	if next == nil {
		next = new(registryv1.Policy)
	}
	proto.Merge(next, change)
	// A zero is the default, and is not kept.
	clear := func(zero bool, field func()) {
		if zero {
			field()
		}
	}
	clear(next.GetPost() == 0, func() { next.Post = nil })
	clear(next.GetRead() == 0, func() { next.Read = nil })
	clear(next.GetSignal() == 0, func() { next.Signal = nil })
	clear(next.GetInvite() == 0, func() { next.Invite = nil })
	clear(next.GetGuests() == 0, func() { next.Guests = nil })
	clear(next.GetRate() == 0, func() { next.Rate = nil })
	clear(next.GetMaxMembers() == 0, func() { next.MaxMembers = nil })
	clear(next.GetRetention() == 0, func() { next.Retention = nil })
	if proto.Size(next) == 0 {
		return nil
	}
	return next
}

// suits says whether a room may have a record like this.
func suits(room *registryv1.Room) error {
	rules := rights.RulesOf(room)
	switch {
	case room.Id == ids.Lobby && (!room.Persistent || rules.Private):
		return errs.New(errs.Forbidden, "the lobby stays public and persistent")
	case room.Id == ids.Lobby && (rules.Least(rights.Read) > registryv1.Who_WHO_EVERYONE || rules.MaxMembers > 0):
		return errs.New(errs.Forbidden, "everybody is in the lobby")
	case len(room.Direct) > 0 && !rules.Private:
		return errs.New(errs.Forbidden, "a direct room stays private")
	}
	return nil
}

// checkRetention says whether a room may keep so many entries: at most as many
// as the deployment does.
func (s *Service) checkRetention(ctx context.Context, room string, p *registryv1.Policy) error {
	if p.GetRetention() == 0 {
		return nil
	}
	limits, err := s.bus.LogLimits(ctx, s.bus.Shard(room))
	if err != nil {
		return err
	}
	if limits.Retention > 0 && int64(p.GetRetention()) > limits.Retention {
		return errs.Invalid("policy.retention", "is more than the deployment keeps, %d", limits.Retention)
	}
	return nil
}

// lessKept notes in a record how little its log has ever kept.
func lessKept(room *registryv1.Room) {
	now := room.GetPolicy().GetRetention()
	if now > 0 && (room.LeastRetention == 0 || now < room.LeastRetention) {
		room.LeastRetention = now
	}
}

// trimmedTo tells to how many entries a log is to be trimmed after a change: it
// keeps what both records keep, so that no more shows when more is kept later.
// 0 is for none.
func trimmedTo(before, after *registryv1.Room) uint32 {
	old, now := before.GetPolicy().GetRetention(), after.GetPolicy().GetRetention()
	switch {
	case old == now:
		return 0
	case old == 0 || now == 0:
		return max(old, now)
	}
	return min(old, now)
}

// trimAfter is when a log is trimmed whose room keeps less from now on: when
// all gateways know of it, so that none tells a client who comes back that the
// log has dropped nothing.
const trimAfter = time.Second

// trimSoon takes out of a room's log what it kept and does not keep any more.
// From then on gateways see to it.
func (s *Service) trimSoon(room *registryv1.Room, keep uint32) {
	if s.opts.Eraser == nil || keep == 0 {
		return
	}
	select {
	case s.trims <- trim{room: room.Id, keep: keep, at: time.Now().Add(trimAfter)}:
	default:
		// Gateways do so when the room is next used.
		s.log.Warn("a room's log is trimmed later, for too many wait", "room", room.Id, "most", cap(s.trims))
	}
}

// trim is a log that is to be trimmed, at a time.
type trim struct {
	room string
	keep uint32
	at   time.Time
}

// maxTrims bounds how many logs wait to be trimmed.
const maxTrims = 1024

// trimLogs does what trimSoon was given, until ctx ends.
func (s *Service) trimLogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-s.trims:
			if !run.Sleep(ctx, time.Until(next.at)) {
				return
			}
			trimming, cancel := context.WithTimeout(ctx, s.times.erase)
			err := s.opts.Eraser.Trim(trimming, next.room, next.keep)
			cancel()
			if err != nil && ctx.Err() == nil {
				s.log.Warn("a room's log is trimmed later", "room", next.room, "error", err)
			}
		}
	}
}

// mergeAttributes puts the members of one JSON object over those of another;
// null takes a member away, as in RFC 7396, but whole: what is below is the
// application's.
func mergeAttributes(old, change []byte) ([]byte, error) {
	if len(change) == 0 {
		return old, nil
	}
	all := make(map[string]json.RawMessage)
	if len(old) > 0 {
		if err := json.Unmarshal(old, &all); err != nil {
			return nil, fmt.Errorf("reading a room's attributes: %w", err)
		}
	}
	given, err := attributes(change)
	if err != nil {
		return nil, err
	}
	for name, value := range given {
		if bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
			delete(all, name)
		} else {
			all[name] = value
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	var merged bytes.Buffer
	encoder := json.NewEncoder(&merged) // in the order of the names
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(all); err != nil {
		return nil, errs.Invalid("attributes", "are not JSON")
	}
	if merged.Truncate(merged.Len() - 1); merged.Len() > maxAttributes {
		return nil, &errs.Error{Code: errs.TooLarge, Field: "attributes", Message: "attributes: would be more than 4096 bytes in all"}
	}
	return merged.Bytes(), nil
}

// attributes reads a JSON object.
func attributes(value []byte) (map[string]json.RawMessage, error) {
	var given map[string]json.RawMessage
	switch {
	case len(value) > 2*maxAttributes: // what it takes away counts, too
		return nil, &errs.Error{Code: errs.TooLarge, Field: "attributes", Message: "attributes: are more than 8192 bytes"}
	case !utf8.Valid(value), json.Unmarshal(value, &given) != nil, given == nil:
		return nil, errs.Invalid("attributes", "are not a JSON object")
	}
	return given, nil
}
