package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// SignIn keeps a user signed in by name and password, over the HTTP API of a
// deployment (PROTOCOL.md, section 7). Its Token is one for [Options.GetToken].
type SignIn struct {
	// URL is http: or https: of a gateway.
	URL string
	// Username and Password are the account's.
	Username, Password string
	// HTTPClient is asked; nil is http.DefaultClient.
	HTTPClient *http.Client

	mu      sync.Mutex // also while asking: one question at a time
	token   string
	expires time.Time
	refresh string
}

// early is how long before its end a token is not handed out any more.
const early = time.Minute

// Token gives a token that is good, for a minute at least if the gateway makes such:
// the one that was given before, or one by the refresh token, or else by the
// password. Where that is wrong the error is an ErrSignedOut.
func (s *SignIn) Token(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" && s.token != refused && time.Until(s.expires) > early {
		return s.token, nil
	}
	if s.refresh != "" {
		token := s.refresh
		err := s.ask(ctx, "/api/refresh", map[string]string{"refreshToken": token})
		if err == nil {
			return s.token, nil
		}
		if e, ok := err.(*Error); !ok || e.Temporary() {
			return "", err
		}
		s.refresh = ""
	}
	if err := s.ask(ctx, "/api/auth", map[string]string{"username": s.Username, "password": s.Password}); err != nil {
		if e, ok := err.(*Error); ok && !e.Temporary() {
			return "", fmt.Errorf("%w: %w", ErrSignedOut, err)
		}
		return "", err
	}
	return s.token, nil
}

// ask takes the tokens of an answer.
func (s *SignIn) ask(ctx context.Context, path string, body map[string]string) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(s.URL, "/")+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	client := s.HTTPClient
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	var a struct {
		Token, RefreshToken string
		ExpiresIn           int64 // seconds
		Error               struct{ Code, Message, Field string }
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&a)
	switch {
	case response.StatusCode == http.StatusOK && err == nil && a.Token != "":
		s.token, s.refresh = a.Token, a.RefreshToken
		s.expires = time.Now().Add(time.Duration(a.ExpiresIn) * time.Second)
		return nil
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500:
		return &Error{Code: codeUnavailable, Message: "signing in: " + response.Status, RetryAfter: retryAfter(response)}
	case err != nil || a.Error.Code == "":
		return &Error{Code: CodeNoGateway, Message: fmt.Sprintf("%s answers %s, and not as a Parley gateway", q.URL, response.Status)}
	}
	return &Error{Code: a.Error.Code, Message: a.Error.Message, Field: a.Error.Field}
}
