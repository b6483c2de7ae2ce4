package parley

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// bounds of the wait before another attempt: it is drawn from floor to floor plus
// the least of cap and base·2^attempt.
type bounds struct{ base, cap, floor time.Duration }

var (
	normal     = bounds{base: time.Second, cap: 30 * time.Second}
	overloaded = bounds{base: 5 * time.Second, cap: time.Minute, floor: 2 * time.Second}
)

// atOnce is "at once, with jitter": enough to spread the clients of one gateway.
const atOnce = time.Second

// noStatus is the code of a connection that ended without a close frame.
const noStatus = websocket.StatusCode(-1)

// ended is where a connection stood when it ended.
type ended struct {
	// attempt counts those since a connection last held.
	attempt  int
	signedIn bool
	// renewed tells whether a newer token was tried since then.
	renewed bool
	// hint is reconnectInMs of a going-away, negative without one.
	hint time.Duration
}

// next is what follows: another attempt after some time, with a newer token where
// renew; or the end.
type next struct {
	wait  time.Duration
	renew bool
	end   *Error
}

// jitter draws a time up to most.
func jitter(most time.Duration) time.Duration { return rand.N(most + 1) }

// fullJitter draws any time between nothing and an exponentially growing bound, so
// that clients that were cut off together do not come back together.
func fullJitter(attempt int, b bounds) time.Duration {
	return b.floor + jitter(min(b.cap, b.base<<min(attempt, 20)))
}

// afterClose decides by the close code (PROTOCOL.md, section 6).
func afterClose(code websocket.StatusCode, at ended) next {
	// A gateway that says "at once" again and again is not obeyed again and again.
	soon := fullJitter(at.attempt, normal)
	if at.attempt == 0 {
		soon = jitter(atOnce)
	}
	end := func(code, message string) next { return next{end: &Error{Code: code, Message: message}} }
	switch code {
	case websocket.StatusNormalClosure:
		return end(CodeTerminated, "the gateway ended the session")
	case websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData, websocket.StatusMessageTooBig:
		return end(CodeDefect, "something was sent that the gateway cannot accept ("+strconv.Itoa(int(code))+")")
	case websocket.StatusGoingAway:
		if at.hint >= 0 {
			return next{wait: at.hint + jitter(atOnce)}
		}
		return next{wait: soon}
	case websocket.StatusPolicyViolation:
		switch {
		// Before sign-in a newer token may be all it takes; after it, the gateway has
		// had enough of this client, and knocking again would make it worse.
		case at.signedIn:
			return end(CodePolicy, "the gateway closed the connection because its rules were broken")
		case at.renewed:
			return end(CodeUnauthenticated, "the token was not accepted")
		}
		return next{wait: fullJitter(at.attempt, normal), renew: true}
	case websocket.StatusTryAgainLater:
		return next{wait: fullJitter(at.attempt, overloaded)}
	case 4001:
		return end(CodeRevoked, "the sign-in was revoked")
	case 4003:
		return end(CodeDisabled, "the account is disabled")
	}
	switch {
	case code >= 4000 && code < 4100:
		return end(CodeTerminated, "the gateway ended the session ("+strconv.Itoa(int(code))+")")
	case code >= 4200 && code < 4300:
		return next{wait: soon, renew: code == 4203}
	}
	return next{wait: fullJitter(at.attempt, normal)}
}
