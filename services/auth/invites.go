package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

const (
	keyInvite         = "invite."
	maxInvites        = 1000
	maxInviteUses     = 10_000
	defaultInviteLife = 7 * 24 * time.Hour
	minInviteLife     = time.Minute
	maxInviteLife     = 365 * 24 * time.Hour

	inviteLetters = 20 // 5 bits each: nobody guesses 100 bits
	inviteGroup   = 5
)

// errInvite answers every code that is no good.
var errInvite = &errs.Error{Code: errs.Forbidden, Field: "inviteCode", Message: "inviteCode: is not good, or not any more"}

// invite is a record of the bucket Users, under the hash of its code.
type invite struct {
	UsesLeft  uint32 `json:"usesLeft"`
	CreatedMs int64  `json:"createdMs"`
	ExpiresMs int64  `json:"expiresMs"`

	id       string
	revision uint64
}

func (i *invite) good(now time.Time) bool { return i.UsesLeft > 0 && now.UnixMilli() < i.ExpiresMs }

func (i *invite) told() *authv1.Invite {
	return &authv1.Invite{
		Id: i.id, UsesLeft: i.UsesLeft,
		CreatedAt: timestamppb.New(time.UnixMilli(i.CreatedMs)), ExpiresAt: timestamppb.New(time.UnixMilli(i.ExpiresMs)),
	}
}

// newInviteCode makes a code of the letters of RFC 4648's base32, in groups.
func newInviteCode() string {
	var b strings.Builder
	for i, letter := range rand.Text()[:inviteLetters] {
		if i > 0 && i%inviteGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(letter)
	}
	return b.String()
}

// inviteID gives what a code is kept under, whatever way somebody has typed
// it. The digits 0, 1 and 8, which no code has, are read as what they look like.
func inviteID(code string) string {
	code = strings.NewReplacer("-", "", " ", "", "0", "O", "1", "I", "8", "B").Replace(strings.ToUpper(code))
	sum := sha256.Sum256([]byte(code))
	return ids.Token(string(sum[:12]))
}

func (s *Service) createInvite(ctx context.Context, records *store, q *authv1.CreateInviteRequest) (*authv1.CreateInviteResponse, error) {
	life := defaultInviteLife
	if q.Life != nil {
		life = q.Life.AsDuration()
	}
	switch {
	case q.Uses > maxInviteUses:
		return nil, errs.Invalid("uses", "are more than %d", maxInviteUses)
	case life < minInviteLife || life > maxInviteLife:
		return nil, errs.Invalid("life", "is not between %s and %s", minInviteLife, maxInviteLife)
	}
	list, err := records.invites(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	good := 0
	for _, i := range list {
		if i.good(now) {
			good++
		} else if err := records.deleteInvite(ctx, i); err != nil && !errors.Is(err, bus.ErrConflict) {
			return nil, err
		}
	}
	if good >= maxInvites {
		return nil, rateLimited(fmt.Sprintf("%d invite codes are good already", maxInvites), time.Hour)
	}
	code := newInviteCode()
	i := &invite{UsesLeft: max(q.Uses, 1), CreatedMs: now.UnixMilli(), ExpiresMs: now.Add(life).UnixMilli(), id: inviteID(code)}
	if err := records.createInvite(ctx, i); err != nil {
		return nil, err
	}
	return &authv1.CreateInviteResponse{Code: code, Invite: i.told()}, nil
}

func (s *Service) listInvites(ctx context.Context, records *store, _ *authv1.ListInvitesRequest) (*authv1.ListInvitesResponse, error) {
	list, err := records.invites(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *invite) int { return cmp.Compare(b.CreatedMs, a.CreatedMs) })
	answer := new(authv1.ListInvitesResponse)
	for _, i := range list {
		if i.good(time.Now()) {
			answer.Invites = append(answer.Invites, i.told())
		}
	}
	return answer, nil
}

func (s *Service) revokeInvite(ctx context.Context, records *store, q *authv1.RevokeInviteRequest) (*authv1.RevokeInviteResponse, error) {
	if err := checkInviteID(q.Id); err != nil {
		return nil, err
	}
	i, err := records.invite(ctx, q.Id)
	if err == nil {
		i.revision = 0 // whoever uses it at this moment
		err = records.deleteInvite(ctx, i)
	}
	if errors.Is(err, bus.ErrNotFound) {
		return nil, errs.New(errs.NotFound, "no such invite code")
	}
	return &authv1.RevokeInviteResponse{}, err
}

func checkInviteID(id string) error {
	if id == "" {
		return errs.Invalid("id", "is missing")
	}
	if raw, err := ids.FromToken(id); err != nil || ids.Token(raw) != id || len(id) > 64 {
		return errs.Invalid("id", "is not one of an invite code")
	}
	return nil
}

// checkInvite says whether somebody may register with a code; useInvite decides.
func (s *Service) checkInvite(ctx context.Context, records *store, code string) error {
	if code == "" {
		return errs.Invalid("inviteCode", "is missing")
	}
	i, err := records.invite(ctx, inviteID(code))
	if errors.Is(err, bus.ErrNotFound) || err == nil && !i.good(time.Now()) {
		return errInvite
	}
	return err
}

// useInvite takes one use of a code, or with by = +1 gives it back. A process
// that ends between the two loses one use, and never gives one too many.
func (s *Service) useInvite(ctx context.Context, records *store, code string, by int) error {
	for range conflicts {
		i, err := records.invite(ctx, inviteID(code))
		if errors.Is(err, bus.ErrNotFound) || err == nil && by < 0 && !i.good(time.Now()) {
			return errInvite
		}
		if err != nil {
			return err
		}
		i.UsesLeft = uint32(int(i.UsesLeft) + by)
		if err := records.updateInvite(ctx, i); !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return errs.Missing("the invite codes", bus.ErrConflict)
}

func (s *store) invite(ctx context.Context, id string) (*invite, error) {
	i := &invite{id: id}
	e, err := read(ctx, s.users, keyInvite+id, i)
	i.revision = e.Revision
	return i, err
}

// invites gives all that are kept, good or not.
func (s *store) invites(ctx context.Context) ([]*invite, error) {
	var list []*invite
	for after := uint64(0); ; {
		entries, next, err := s.users.Scan(ctx, keyInvite+"*", after, bus.MaxPage)
		if err != nil {
			return nil, missing("the invite codes", err)
		}
		for _, e := range entries {
			i := &invite{id: strings.TrimPrefix(e.Key, keyInvite), revision: e.Revision}
			if err := decode(e, i); err != nil {
				return nil, err
			}
			list = append(list, i)
		}
		if after = next; after == 0 {
			return list, nil
		}
	}
}

func (s *store) createInvite(ctx context.Context, i *invite) error {
	value, err := json.Marshal(i)
	if err == nil {
		i.revision, err = s.users.Create(ctx, keyInvite+i.id, value)
	}
	return missing("the invite codes", err)
}

func (s *store) updateInvite(ctx context.Context, i *invite) error {
	value, err := json.Marshal(i)
	if err == nil {
		i.revision, err = s.users.Update(ctx, keyInvite+i.id, value, i.revision)
	}
	return missing("the invite codes", err)
}

func (s *store) deleteInvite(ctx context.Context, i *invite) error {
	return missing("the invite codes", s.users.Delete(ctx, keyInvite+i.id, i.revision))
}
