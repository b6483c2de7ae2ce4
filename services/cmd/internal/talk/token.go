package talk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/config"
)

const aboutToken = `Writes a token to standard output, for PARLEY_TOKEN or an Authorization: Bearer header.

Signs in by name and password; with the secret that the gateways share with your own system (PARLEY_JWT_SECRET), makes one
for any user without asking anybody.

  export PARLEY_TOKEN=$(parley token --username alice)
  curl -H "Authorization: Bearer $(parley token)" http://localhost:8080/api/sessions
  parley token --jwt-secret-file secret --username deploy-bot --roles user,bot --life 24h`

// Token is parley token.
func Token(ctx context.Context, args []string) error {
	var a account
	var secret config.Secret
	var roles []string
	life := time.Hour
	_, run, err := load("token", aboutToken, "", args, &a, func(s *config.Set) {
		s.Section("A token of your own")
		s.Secret(&secret, "jwt-secret", "the gateways' own, to sign the token with")
		s.Strings(&roles, "roles", "of the user, separated by commas")
		s.Duration(&life, "life", "how long it is good")
	})
	if !run {
		return err
	}
	if key := secret.Reveal(); key != "" {
		return signed(key, a.username, roles, life)
	}
	if a.guest || a.token.Reveal() != "" {
		return errors.New("a token is made of --username and PARLEY_PASSWORD, or of --jwt-secret")
	}
	who, err := a.signIn()
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	token, err := who.Token(within, "")
	if err != nil {
		return a.outcome(err)
	}
	fmt.Println(token)
	return nil
}

// signed writes a token as another system would make it.
func signed(key, username string, roles []string, life time.Duration) error {
	claims := jwt.MapClaims{"userId": username, "username": username, "exp": time.Now().Add(life).Unix()}
	if len(roles) > 0 {
		claims["roles"] = roles
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	fmt.Println(token)
	return nil
}
