package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// account is who a client is.
type account struct {
	name     string
	secret   []byte
	password string

	mu      sync.Mutex
	token   string
	renewAt time.Time
}

// tokenLife is how long the tokens last that are signed here.
const tokenLife = 2 * time.Hour

// bearer gives a token that is good for a while.
func (a *account) bearer(ctx context.Context, url string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && time.Now().Before(a.renewAt) {
		return a.token, nil
	}
	var err error
	life := tokenLife
	if len(a.secret) > 0 {
		a.token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"userId": a.name, "username": a.name, "exp": time.Now().Add(life).Unix(),
		}).SignedString(a.secret)
	} else {
		a.token, life, err = a.signIn(ctx, url)
	}
	if err != nil {
		return "", fmt.Errorf("signing in as %s: %w", a.name, err)
	}
	a.renewAt = time.Now().Add(life * 3 / 4)
	return a.token, nil
}

// spoil has the next bearer be a new one.
func (a *account) spoil() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = ""
}

// signIn registers the account, or signs in where it is registered already.
func (a *account) signIn(ctx context.Context, url string) (token string, life time.Duration, err error) {
	for {
		status, after, answer, err := a.post(ctx, url+"/api/register")
		if err == nil && status == http.StatusConflict {
			status, after, answer, err = a.post(ctx, url+"/api/auth")
		}
		switch {
		case err != nil:
			return "", 0, err
		case status == http.StatusOK:
			return answer.Token, time.Duration(answer.ExpiresIn) * time.Second, nil
		case status != http.StatusTooManyRequests:
			return "", 0, fmt.Errorf("status %d: %s", status, answer.Error.Message)
		}
		select {
		case <-ctx.Done():
			return "", 0, ctx.Err()
		case <-time.After(after):
		}
	}
}

type signInAnswer struct {
	Token     string `json:"token"`
	ExpiresIn int64  `json:"expiresIn"`
	Error     struct {
		Message string `json:"message"`
	} `json:"error"`
}

func (a *account) post(ctx context.Context, url string) (status int, retryAfter time.Duration, answer signInAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]string{"username": a.name, "password": a.password})
	if err != nil {
		return 0, 0, answer, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, answer, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.Do(request)
	if err != nil {
		return 0, 0, answer, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, 0, answer, err
	}
	if json.Unmarshal(raw, &answer) != nil && response.StatusCode == http.StatusOK {
		return 0, 0, answer, errors.New("the answer is not a JSON object")
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 where it is missing
	return response.StatusCode, max(time.Duration(seconds)*time.Second, time.Second), answer, nil
}
