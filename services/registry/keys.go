package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// What is in the bucket of rooms; ids are written as ids.Token.
//
//	r.<room>         a room's record: registryv1.Room without epoch and revision
//	m.<room>.<user>  a standing: registryv1.Member without revision
//	e.<room>         what is left to do after the end of a room: ending
//
// A standing names the epoch it belongs to, and one of an earlier life of the
// room counts for nothing: nobody has to take standings away in time. The
// maker of a room is its owner without any standing, so that making a room is
// one write; a standing of the maker's own goes before that.

func roomKey(room string) string { return "r." + ids.Token(room) }

func memberKey(room, user string) string { return "m." + ids.Token(room) + "." + ids.Token(user) }

func endingKey(room string) string { return "e." + ids.Token(room) }

// parseKey takes a key apart; ok is false for keys of another kind, which a
// newer version may have written.
func parseKey(key string) (kind, room, user string, ok bool) {
	parts := strings.Split(key, ".")
	want := 2
	if parts[0] == "m" {
		want = 3
	}
	if len(parts) != want || !strings.Contains("rme", parts[0]) {
		return "", "", "", false
	}
	room, err := ids.FromToken(parts[1])
	if err == nil && want == 3 {
		user, err = ids.FromToken(parts[2])
	}
	return parts[0], room, user, err == nil
}

// ending is what e.<room> holds.
type ending struct {
	// Epoch is the life of the room that has ended.
	Epoch string `json:"epoch"`
	// Claimed: whoever wrote this revision is erasing; nobody else may for
	// endingTimes.claim.
	Claimed bool `json:"claimed"`
}

func (e ending) encode() ([]byte, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the end of a room: %w", err)
	}
	return value, nil
}

// encodeRoom gives what is stored of a record.
func encodeRoom(room *registryv1.Room) ([]byte, error) {
	stored := proto.CloneOf(room)
	stored.Epoch, stored.Revision = "", 0
	value, err := proto.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding a room: %w", err)
	}
	return value, nil
}

// encodeMember gives what is stored of a standing.
func encodeMember(member *registryv1.Member) ([]byte, error) {
	stored := proto.CloneOf(member)
	stored.Revision = 0
	value, err := proto.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding a member: %w", err)
	}
	return value, nil
}

// decodeRoom gives a record as it is told.
func decodeRoom(entry bus.Entry, epoch func(uint64) string) (*registryv1.Room, error) {
	room := new(registryv1.Room)
	if err := proto.Unmarshal(entry.Value, room); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", entry.Key, err)
	}
	if room.CreationRevision == 0 {
		room.CreationRevision = entry.Revision
	}
	room.Revision = entry.Revision
	room.Epoch = epoch(room.CreationRevision)
	return room, nil
}

// checkRecord says whether a record is of the room whose key it has: the indexes
// find rooms by what is in them. Another one was written by nobody of ours.
func checkRecord(key, id string, room *registryv1.Room) error {
	if room.Id != id {
		return fmt.Errorf("%s is a record of the room %q", key, room.Id)
	}
	return ids.CheckRoom(key, id)
}

// checkStanding is the same of a standing. It is told with its user.
func checkStanding(key, room, user string, member *registryv1.Member) error {
	if member.User == nil {
		member.User = &wirev1.User{Id: user}
	}
	if member.User.Id != user {
		return fmt.Errorf("%s is a standing of the user %q", key, member.User.Id)
	}
	return errors.Join(ids.CheckRoom(key, room), ids.CheckUser(key, user))
}
