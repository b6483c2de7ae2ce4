package process

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

// asker uses each connection once: a process that was restarted must not be
// asked over one of its predecessor's.
var asker = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Get gives the status and the body of a page.
func Get(url string) (int, string, error) {
	resp, err := asker.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// Eventually waits until f gives nil, and fails the test when it does not in
// time.
func Eventually(t testing.TB, patience time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	err := errors.New("not tried")
	for time.Now().Before(deadline) {
		if err = f(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // between two looks; the condition ends the wait
	}
	t.Fatalf("after %v, not so: %s: %v", patience, what, err)
}
