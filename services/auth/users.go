package auth

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const (
	maxRoles = 16
	maxRole  = 32 // characters

	defaultPage = 100
	// maxScanned is how many accounts one ListUsers looks at, so that a prefix
	// which nobody has does not hold it up for ever.
	maxScanned = 10_000
)

var errNoUser = errs.New(errs.NotFound, "no such user")

func (s *Service) createUser(ctx context.Context, records *store, q *authv1.CreateUserRequest) (*authv1.User, error) {
	username, err := ids.Username("username", q.Username)
	if err != nil {
		return nil, err
	}
	if err := checkNewPassword("password", q.Password, s.opts.MinPasswordLength); err != nil {
		return nil, err
	}
	roles, err := checkRoles(q.Roles)
	if err != nil {
		return nil, err
	}
	if len(roles) == 0 {
		roles = []string{roleUser}
	}
	if !slices.Equal(roles, []string{roleUser}) && !access.From(ctx).May(access.Admin) {
		return nil, &errs.Error{Code: errs.Forbidden, Field: "roles", Message: "roles: only an operator gives others than user"}
	}
	if err := s.free(ctx, records, username); err != nil {
		return nil, err
	}
	a, err := s.newAccount(ctx, records, username, q.Password, roles...)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "account made", "user", a.ID, "roles", a.Roles, "by", access.From(ctx).Name)
	return a.user(), nil
}

func (s *Service) getUser(ctx context.Context, records *store, q *authv1.GetUserRequest) (*authv1.User, error) {
	var a *account
	var err error
	switch who := q.Who.(type) {
	case *authv1.GetUserRequest_Id:
		if err := ids.CheckUser("id", who.Id); err != nil {
			return nil, err
		}
		a, err = records.accountOf(ctx, who.Id)
	case *authv1.GetUserRequest_Username:
		username, invalid := ids.Username("username", who.Username)
		if invalid != nil {
			return nil, invalid
		}
		a, err = records.account(ctx, username)
	default:
		return nil, errs.Invalid("id", "is missing, and so is username")
	}
	if errors.Is(err, bus.ErrNotFound) {
		return nil, errNoUser
	}
	if err != nil {
		return nil, err
	}
	return a.user(), nil
}

func (s *Service) listUsers(ctx context.Context, records *store, q *authv1.ListUsersRequest) (*authv1.ListUsersResponse, error) {
	limit, after, err := page(q.Limit, q.Cursor)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(q.Prefix) {
		return nil, errs.Invalid("prefix", "is not UTF-8")
	}
	prefix := norm.NFC.String(q.Prefix)
	answer := new(authv1.ListUsersResponse)
	for scanned := 0; scanned < maxScanned; {
		size := bus.MaxPage
		if prefix == "" {
			size = limit - len(answer.Users) // not more than is told
		}
		entries, next, err := records.users.Scan(ctx, accountKeys, after, size)
		if err != nil {
			return nil, missing("the accounts", err)
		}
		scanned += max(len(entries), 1)
		for _, e := range entries {
			a := new(account)
			if err := decode(e, a); err != nil {
				return nil, err
			}
			if strings.HasPrefix(a.Username, prefix) {
				answer.Users = append(answer.Users, a.user())
			}
			if after = e.Revision; len(answer.Users) == limit {
				if next != 0 || e.Revision != entries[len(entries)-1].Revision {
					answer.NextCursor = strconv.FormatUint(after, 10)
				}
				return answer, nil
			}
		}
		if next == 0 {
			return answer, nil
		}
		after = next
	}
	answer.NextCursor = strconv.FormatUint(after, 10)
	return answer, nil
}

// page reads what is asked of a page; a cursor is a revision in decimal.
func page(size int32, cursor string) (limit int, after uint64, err error) {
	if size < 0 || size > bus.MaxPage {
		return 0, 0, errs.Invalid("limit", "is not between 1 and %d", bus.MaxPage)
	}
	if limit = int(size); limit == 0 {
		limit = defaultPage
	}
	if cursor != "" {
		if after, err = strconv.ParseUint(cursor, 10, 63); err != nil {
			return 0, 0, errs.Invalid("cursor", "is not one of ours")
		}
	}
	return limit, after, nil
}

// change edits the account of a user id, whoever else is changing it too.
// Errors: those of edit, not-found.
func (s *Service) change(ctx context.Context, records *store, user string, edit func(*account) error) (*account, error) {
	if err := ids.CheckUser("userId", user); err != nil {
		return nil, err
	}
	for range conflicts {
		a, err := records.accountOf(ctx, user)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, errNoUser
		}
		if err == nil {
			err = edit(a)
		}
		if err != nil {
			return nil, err
		}
		if err = records.updateAccount(ctx, a); !errors.Is(err, bus.ErrConflict) {
			return a, err
		}
	}
	return nil, errs.Missing("the accounts", bus.ErrConflict)
}

// setRoles changes the account first, whose tokens say so from then on, and
// then tells who has tokens from before. Where that fails the caller tries
// again, and it is told then.
func (s *Service) setRoles(ctx context.Context, records *store, q *authv1.SetRolesRequest) (*authv1.User, error) {
	roles, err := checkRoles(q.Roles)
	if err != nil {
		return nil, err
	}
	a, err := s.change(ctx, records, q.UserId, func(a *account) error {
		a.Roles = roles
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.opts.Bus.PutRoles(ctx, a.ID, a.Roles, a.revision); err != nil {
		return nil, missing("the accounts", err)
	}
	s.log.InfoContext(ctx, "roles set", "user", a.ID, "roles", a.Roles)
	return a.user(), nil
}

func checkRoles(roles []string) ([]string, error) {
	if len(roles) > maxRoles {
		return nil, errs.Invalid("roles", "are more than %d", maxRoles)
	}
	for _, role := range roles {
		if role == "" || len(role) > maxRole || strings.Trim(role, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return nil, errs.Invalid("roles", "are of 1 to %d characters of [a-z0-9_-] each", maxRole)
		}
	}
	roles = slices.Sorted(slices.Values(roles))
	return slices.Compact(roles), nil
}

// disableUser tells everyone before it takes the sign-ins away, and marks none
// of them as revoked: connections are to end as disabled, by all gateways alike.
func (s *Service) disableUser(ctx context.Context, records *store, q *authv1.DisableUserRequest) (*authv1.User, error) {
	a, err := s.change(ctx, records, q.UserId, func(a *account) error {
		a.Disabled, a.Kept = true, ""
		a.Generation++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.opts.Bus.PutDisabled(ctx, a.ID, true, a.revision); err != nil {
		return nil, missing("the accounts", err)
	}
	list, err := records.signInsOf(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	for _, sid := range list {
		if err := records.deleteSignIn(ctx, sid, 0); err != nil {
			return nil, err
		}
	}
	s.tell(a.ID, &busv1.UserEvent{Event: &busv1.UserEvent_AccountDisabled{AccountDisabled: &busv1.AccountDisabled{}}})
	s.log.InfoContext(ctx, "account disabled", "user", a.ID)
	return a.user(), nil
}

// enableUser voids the tokens from before the account was disabled first, for
// their sign-ins have ended.
func (s *Service) enableUser(ctx context.Context, records *store, q *authv1.EnableUserRequest) (*authv1.User, error) {
	was := false
	a, err := s.change(ctx, records, q.UserId, func(a *account) error {
		if was = was || a.Disabled; was {
			if err := s.revocations.RevokeUser(ctx, a.ID, time.Now()); err != nil {
				return missing("the sign-ins", err)
			}
		}
		a.Disabled = false
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.opts.Bus.PutDisabled(ctx, a.ID, false, a.revision); err != nil {
		return nil, missing("the accounts", err)
	}
	if was {
		s.log.InfoContext(ctx, "account enabled", "user", a.ID)
	}
	return a.user(), nil
}

func (s *Service) listSessions(ctx context.Context, records *store, q *authv1.ListSessionsRequest) (*authv1.ListSessionsResponse, error) {
	if err := ids.CheckUser("userId", q.UserId); err != nil {
		return nil, err
	}
	limit, after, err := page(q.Limit, q.Cursor)
	if err != nil {
		return nil, err
	}
	prefix := signInPrefix(q.UserId)
	entries, next, err := records.sessions.Scan(ctx, prefix+"*", after, limit)
	if err != nil {
		return nil, missing("the sign-ins", err)
	}
	answer := new(authv1.ListSessionsResponse)
	for _, e := range entries {
		in := new(signIn)
		if err := decode(e, in); err != nil {
			return nil, err
		}
		answer.Sessions = append(answer.Sessions, &authv1.Session{
			Id: strings.TrimPrefix(e.Key, prefix), UserId: in.UserID,
			CreatedAt: timestamppb.New(time.UnixMilli(in.CreatedMs)),
			UsedAt:    timestamppb.New(time.UnixMilli(in.UsedMs)),
			ExpiresAt: timestamppb.New(e.Stored.Add(bus.SessionTTL)),
			Client:    &authv1.Client{Address: in.Address, UserAgent: in.UserAgent},
		})
	}
	if next != 0 {
		answer.NextCursor = strconv.FormatUint(next, 10)
	}
	return answer, nil
}
