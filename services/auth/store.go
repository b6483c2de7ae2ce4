package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

// account is a record of the bucket Users. Fields are only ever added, and
// their zero values mean what was before them.
type account struct {
	ID        string   `json:"id"`
	Username  string   `json:"username"`
	Roles     []string `json:"roles,omitempty"`
	Password  string   `json:"password,omitempty"` // argon2id, with its parameters; none: no password is right
	Disabled  bool     `json:"disabled,omitempty"`
	CreatedMs int64    `json:"createdMs"`
	// Generation is counted up by what ends sign-ins all at once, a new password
	// or disabling: those of an earlier one are void, whoever is just making
	// one. Kept is the sign-in that changed the password, and goes on.
	Generation uint64 `json:"generation,omitempty"`
	Kept       string `json:"kept,omitempty"`
	// Places are where the password was right from lately, see placeOf.
	Places []string `json:"places,omitempty"`

	revision uint64
}

// has says whether a sign-in of the account is not void.
func (a *account) has(sid string, in *signIn) bool {
	return a.ID == in.UserID && !a.Disabled && (in.Generation == a.Generation || sid == a.Kept)
}

func (a *account) user() *authv1.User {
	return &authv1.User{
		Id:        a.ID,
		Username:  a.Username,
		Roles:     a.Roles,
		Disabled:  a.Disabled,
		CreatedAt: timestamppb.New(time.UnixMilli(a.CreatedMs)),
	}
}

// signIn is a record of the bucket Sessions, which forgets it bus.SessionTTL
// after it was last written.
type signIn struct {
	UserID    string `json:"userId"`
	Username  string `json:"username"`
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
	CreatedMs int64  `json:"createdMs"`
	UsedMs    int64  `json:"usedMs"`
	// Generation is the account's, as the sign-in was made.
	Generation uint64 `json:"generation,omitempty"`
	// Rotation counts the refresh tokens: the newest one has this number.
	// RotatedMs is when it was made.
	Rotation  uint64 `json:"rotation,omitempty"`
	RotatedMs int64  `json:"rotatedMs,omitempty"`

	revision uint64
	stored   time.Time
}

// store reads and writes the records. Its errors are bus.ErrNotFound,
// bus.ErrExists and bus.ErrConflict, or unavailable.
type store struct {
	users, sessions *bus.KV
}

func openStore(ctx context.Context, b *bus.Bus) (*store, error) {
	users, err := b.Bucket(ctx, bus.Users)
	if err != nil {
		return nil, err
	}
	sessions, err := b.Bucket(ctx, bus.Sessions)
	if err != nil {
		return nil, err
	}
	return &store{users: users, sessions: sessions}, nil
}

// accountKeys matches all of accountKey.
const accountKeys = "account.*"

func accountKey(username string) string { return "account." + ids.Token(username) }
func idKey(user string) string          { return "id." + ids.Token(user) }

// account reads the account of a username in NFC.
func (s *store) account(ctx context.Context, username string) (*account, error) {
	a := new(account)
	e, err := read(ctx, s.users, accountKey(username), a)
	a.revision = e.Revision
	return a, err
}

// accountOf reads the account of a user id.
func (s *store) accountOf(ctx context.Context, user string) (*account, error) {
	e, err := s.users.Get(ctx, idKey(user))
	if err != nil {
		return nil, missing("the accounts", err)
	}
	a, err := s.account(ctx, string(e.Value))
	if err == nil && a.ID != user {
		return nil, bus.ErrNotFound
	}
	return a, err
}

// createAccount writes a new account; usernames are unique by its key. The
// index from the id follows, and is made up for by the next sign-in where it
// does not come to that.
func (s *store) createAccount(ctx context.Context, a *account) error {
	value, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding an account: %w", err)
	}
	if a.revision, err = s.users.Create(ctx, accountKey(a.Username), value); err != nil {
		return missing("the accounts", err)
	}
	return s.index(ctx, a)
}

// index makes an account known by its id, if it is not yet.
func (s *store) index(ctx context.Context, a *account) error {
	_, err := s.users.Get(ctx, idKey(a.ID))
	if errors.Is(err, bus.ErrNotFound) {
		_, err = s.users.Create(ctx, idKey(a.ID), []byte(a.Username))
	}
	if errors.Is(err, bus.ErrExists) {
		return nil
	}
	return missing("the accounts", err)
}

func (s *store) updateAccount(ctx context.Context, a *account) error {
	value, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding an account: %w", err)
	}
	a.revision, err = s.users.Update(ctx, accountKey(a.Username), value, a.revision)
	return missing("the accounts", err)
}

// signIn reads the sign-in of this id; one that could be nobody's is not found
// either.
func (s *store) signIn(ctx context.Context, sid string) (*signIn, error) {
	key, ok := signInKey(sid)
	if !ok {
		return nil, bus.ErrNotFound
	}
	in := new(signIn)
	e, err := read(ctx, s.sessions, key, in)
	in.revision, in.stored = e.Revision, e.Stored
	return in, err
}

func (s *store) createSignIn(ctx context.Context, sid string, in *signIn) error {
	return s.writeSignIn(ctx, sid, in, func(key string, value []byte) (uint64, error) {
		return s.sessions.Create(ctx, key, value)
	})
}

func (s *store) updateSignIn(ctx context.Context, sid string, in *signIn) error {
	return s.writeSignIn(ctx, sid, in, func(key string, value []byte) (uint64, error) {
		return s.sessions.Update(ctx, key, value, in.revision)
	})
}

func (s *store) writeSignIn(ctx context.Context, sid string, in *signIn, write func(string, []byte) (uint64, error)) error {
	key, ok := signInKey(sid)
	if !ok {
		return fmt.Errorf("writing sign-in %q: that is no id of one", sid)
	}
	value, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding a sign-in: %w", err)
	}
	in.revision, err = write(key, value)
	return missing("the sign-ins", err)
}

// deleteSignIn takes away a sign-in that is still at the revision read.
func (s *store) deleteSignIn(ctx context.Context, sid string, revision uint64) error {
	key, _ := signInKey(sid)
	return missing("the sign-ins", s.sessions.Delete(ctx, key, revision))
}

// signInsOf lists the ids of a user's sign-ins, some of which may have ended.
// None that was made before is missing.
func (s *store) signInsOf(ctx context.Context, user string) ([]string, error) {
	prefix := signInPrefix(user)
	keys, err := s.sessions.Written(ctx, prefix+"*")
	if err != nil {
		return nil, missing("the sign-ins", err)
	}
	for i, key := range keys {
		keys[i] = key[len(prefix):]
	}
	return keys, nil
}

func read(ctx context.Context, kv *bus.KV, key string, into any) (bus.Entry, error) {
	e, err := kv.Get(ctx, key)
	if err != nil {
		return bus.Entry{}, missing("the store", err)
	}
	return e, decode(e, into)
}

func decode(e bus.Entry, into any) error {
	if err := json.Unmarshal(e.Value, into); err != nil {
		return fmt.Errorf("decoding record %s: %w", e.Key, err)
	}
	return nil
}

// missing makes a failure to reach a bucket one that is worth another try, and
// lets answers about a key through.
func missing(what string, err error) error {
	if err == nil || errors.Is(err, bus.ErrNotFound) || errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
		return err
	}
	return errs.Missing(what, err)
}
