package parley

import (
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestAfterClose(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		code        websocket.StatusCode
		at          ended
		least, most time.Duration
		renew       bool
		end         string
	}{
		{code: noStatus, most: second},
		{code: noStatus, at: ended{attempt: 3}, most: 8 * second},
		{code: noStatus, at: ended{attempt: 90}, most: 30 * second},
		{code: 1011, most: second},
		{code: 1006, most: second},
		{code: 1000, end: CodeTerminated},
		{code: 1001, at: ended{hint: -1}, most: second},
		{code: 1001, at: ended{hint: 3 * second}, least: 3 * second, most: 4 * second},
		{code: 1003, end: CodeDefect},
		{code: 1007, end: CodeDefect},
		{code: 1009, end: CodeDefect},
		{code: 1008, most: second, renew: true},
		{code: 1008, at: ended{renewed: true}, end: CodeUnauthenticated},
		{code: 1008, at: ended{signedIn: true}, end: CodePolicy},
		{code: 1013, least: 2 * second, most: 7 * second},
		{code: 1013, at: ended{attempt: 9}, least: 2 * second, most: 62 * second},
		{code: 4001, end: CodeRevoked},
		{code: 4003, end: CodeDisabled},
		{code: 4042, end: CodeTerminated},
		{code: 4102, most: second},
		{code: 4103, at: ended{attempt: 2}, most: 4 * second},
		{code: 4200, most: second},
		{code: 4200, at: ended{attempt: 5}, most: 30 * second},
		{code: 4203, most: second, renew: true},
	} {
		for range 200 {
			n := afterClose(c.code, c.at)
			end := ""
			if n.end != nil {
				end = n.end.Code
			}
			if end != c.end || n.renew != c.renew || n.wait < c.least || n.wait > c.most {
				t.Fatalf("%d at %+v: %+v", c.code, c.at, n)
			}
		}
	}
}

// The waits of many clients are spread over all of the time that there is.
func TestFullJitter(t *testing.T) {
	var early, late int
	for range 1000 {
		switch wait := fullJitter(4, normal); {
		case wait < 4*time.Second:
			early++
		case wait > 12*time.Second:
			late++
		}
	}
	if early < 150 || late < 150 {
		t.Errorf("of 1000 waits up to 16 s %d are below 4 s, %d above 12 s", early, late)
	}
}
