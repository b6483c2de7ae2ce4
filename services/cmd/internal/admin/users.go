package admin

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
)

func (d *deployment) auth() (authv1.AuthClient, error) {
	conn, err := d.dial("auth")
	if err != nil {
		return nil, err
	}
	return authv1.NewAuthClient(conn), nil
}

// user finds whom an argument names.
func user(ctx context.Context, auth authv1.AuthClient, argument string) (id string, err error) {
	if id, ok := strings.CutPrefix(argument, "id:"); ok {
		return id, nil
	}
	u, err := auth.GetUser(ctx, &authv1.GetUserRequest{Who: &authv1.GetUserRequest_Username{Username: argument}})
	if err != nil {
		return "", fmt.Errorf("user %q: %w", argument, err)
	}
	return u.Id, nil
}

// onUser makes the action of a command on one user, who is found first.
func onUser(do func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error) action {
	return func(ctx context.Context, d *deployment, arguments []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		id, err := user(ctx, auth, arguments[0])
		if err != nil {
			return err
		}
		if err := do(ctx, d, auth, id); err != nil {
			return fmt.Errorf("user %q: %w", arguments[0], err)
		}
		return nil
	}
}

// password registers the flag, and gives the one to set and what to tell of it.
func password(s *config.Set) func() (password, told string) {
	var given config.Secret
	s.Secret(&given, "password", "of the account; a random one, which is told, when it is empty")
	return func() (string, string) {
		if text := given.Reveal(); text != "" {
			return text, ""
		}
		made := rand.Text()
		return made, "\nIts password is " + made
	}
}

func createUser(s *config.Set) action {
	var roles []string
	var admin bool
	s.Section("The account")
	choose := password(s)
	s.Bool(&admin, "admin", "give it the role admin beside user")
	s.Strings(&roles, "roles", "its roles, separated by commas, in place of user")
	return func(ctx context.Context, d *deployment, arguments []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		if admin {
			if len(roles) == 0 {
				roles = []string{"user"}
			}
			roles = append(roles, "admin")
		}
		password, told := choose()
		u, err := auth.CreateUser(ctx, &authv1.CreateUserRequest{Username: arguments[0], Password: password, Roles: roles})
		if errs.CodeOf(err) == errs.AlreadyExists {
			return fmt.Errorf("user %q: %w; parley admin set-roles and set-password change an account", arguments[0], err)
		}
		if err != nil {
			return err
		}
		if d.json && told != "" {
			// It is told nowhere else, and is no part of the account.
			_, err := fmt.Fprintf(d.out, "{\"password\":%q}\n", password)
			if err != nil {
				return err
			}
		}
		return d.tell(u, "Made the account %s (id:%s), %s.%s", u.Username, u.Id, strings.Join(u.Roles, ", "), told)
	}
}

func listUsers(*config.Set) action {
	return func(ctx context.Context, d *deployment, arguments []string) error {
		auth, err := d.auth()
		if err != nil {
			return err
		}
		q := &authv1.ListUsersRequest{Limit: 1000, Prefix: strings.Join(arguments, "")}
		t := d.table("NAME", "ID", "ROLES", "MADE", "")
		for {
			page, err := auth.ListUsers(ctx, q)
			if err != nil {
				return err
			}
			for _, u := range page.Users {
				state := ""
				if u.Disabled {
					state = "disabled"
				}
				if err := t.line(u, u.Username, u.Id, strings.Join(u.Roles, ","), when(u.CreatedAt), state); err != nil {
					return err
				}
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return t.end()
			}
		}
	}
}

func setRoles(*config.Set) action {
	return func(ctx context.Context, d *deployment, arguments []string) error {
		return onUser(func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error {
			u, err := auth.SetRoles(ctx, &authv1.SetRolesRequest{UserId: id, Roles: arguments[1:]})
			if err != nil {
				return err
			}
			return d.tell(u, "%s is now %s.", u.Username, strings.Join(u.Roles, ", "))
		})(ctx, d, arguments)
	}
}

func setPassword(s *config.Set) action {
	choose := password(s)
	return onUser(func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error {
		password, told := choose()
		u, err := auth.SetPassword(ctx, &authv1.SetPasswordRequest{UserId: id, Password: password})
		if err != nil {
			return err
		}
		if d.json && told != "" {
			if _, err := fmt.Fprintf(d.out, "{\"password\":%q}\n", password); err != nil {
				return err
			}
		}
		return d.tell(u, "%s has another password, and is signed out everywhere.%s", u.Username, told)
	})
}

func disableUser(*config.Set) action {
	return onUser(func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error {
		u, err := auth.DisableUser(ctx, &authv1.DisableUserRequest{UserId: id})
		if err != nil {
			return err
		}
		return d.tell(u, "%s is disabled; open connections close within a second.", u.Username)
	})
}

func enableUser(*config.Set) action {
	return onUser(func(ctx context.Context, d *deployment, auth authv1.AuthClient, id string) error {
		u, err := auth.EnableUser(ctx, &authv1.EnableUserRequest{UserId: id})
		if err != nil {
			return err
		}
		return d.tell(u, "%s may sign in again.", u.Username)
	})
}
