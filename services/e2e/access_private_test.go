package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
)

// revoked: whose sign-in was ended is put out at once, and comes back neither
// with the token nor with the resume token; no request that comes with them is
// answered.
func (a *accessRun) revoked(t *testing.T) {
	token := a.stack.Token(t, "once")
	was := client.Dial(t, a.stack.URLs[0], client.Options{})
	resume := was.SignIn(token).ResumeToken
	if _, err := a.stack.Auth.Revoke(t.Context(), &authv1.RevokeRequest{What: &authv1.RevokeRequest_Token{Token: token}}); err != nil {
		t.Fatal(err)
	}
	if code := was.Closed(); code != 4001 {
		t.Fatalf("closed with %d", code)
	}
	// The rest of it: nobody can be asked for anything with what has ended.
	for name := range accessRequests {
		c := client.Dial(t, a.stack.URLs[0], client.Options{Header: bearer(token)})
		f := request(t, name, "once", "revoked", 1)
		f.Id = proto.String("asked")
		_ = c.TrySend(f) // it may have ended already
		if code := c.Closed(); code != 1008 {
			t.Errorf("%s: closed with %d", name, code)
		}
		for _, f := range c.Rest() {
			if f.GetWelcome() == nil && f.GetAuthFailed().GetCode() != "unauthenticated" && f.GetError().GetCode() != "unauthenticated" {
				t.Errorf("%s is answered %v", name, f)
			}
		}
	}
	back := client.Dial(t, a.stack.URLs[0], client.Options{})
	back.AskError(ask.Resume(resume, nil), "resume-failed")
}

// privateIsAsNone asks, as who has no part in it, about a private room and in
// the same words about one that there is none of; and the same about the room
// of two others, whose id everybody can work out. The answers are the same to
// the letter, and so is what was asked of which service for them.
func (a *accessRun) privateIsAsNone(t *testing.T) {
	if _, err := a.stack.Registry.OpenDirect(t.Context(), &registryv1.OpenDirectRequest{
		UserId: "other", Actor: &registryv1.Actor{User: &wirev1.User{Id: "mod2", Username: "mod2"}},
	}); err != nil {
		t.Fatal(err)
	}
	private, _ := a.room(t, registryv1.Visibility_VISIBILITY_PRIVATE)
	direct := ids.Direct("other", "mod2")
	a.private = append(a.private, direct)
	for _, pair := range [][2]string{{private, strings.Repeat("n", len(private))}, {direct, ids.Direct("no", "body")}} {
		for _, who := range []string{"nobody", "guest", "user"} {
			for name := range accessRequests {
				switch {
				case !namesARoom(name), name == "create-room", name == "create-room again":
					continue // whether an id is taken cannot be hidden from who may make rooms
				case name == "join-room" && who == "user" && pair[0] == private:
					continue // nor here, where joining makes rooms
				}
				of, id := a.told(t, who, name, pair[0])
				without, idWithout := a.told(t, who, name, pair[1])
				if of != without {
					t.Errorf("%s learns by %s: %s, and of none %s", who, name, of, without)
				}
				a.sameWork(t, who+" "+name, id, idWithout)
			}
		}
	}
	// A resume names many rooms at once.
	in := client.Dial(t, a.stack.URLs[0], client.Options{})
	resume := in.SignIn(tokenOf(t, "returning")).ResumeToken
	in.Close()
	positions := map[string]*wirev1.Position{private: {Seq: 1}, direct: {Seq: 1}, "nnnnnn": {Seq: 1}}
	answer := client.Dial(t, a.stack.URLs[0], client.Options{}).Ask(ask.Resume(resume, positions)).GetResumed()
	for room := range positions {
		if got := answer.GetRooms()[room]; !proto.Equal(got, &wirev1.ResumedRoom{Error: proto.String("not-found")}) {
			t.Errorf("a resume is told of %s: %v", room, got)
		}
	}
}

// told gives the answer to a request about a room, without what is its own,
// and the trace of the request.
func (a *accessRun) told(t *testing.T, who, name, room string) (string, trace.TraceID) {
	t.Helper()
	f := request(t, name, who, room, 1)
	var id trace.TraceID
	copy(id[:], ids.New(""))
	f.Traceparent = proto.String("00-" + hex.EncodeToString(id[:]) + "-0123456789abcdef-01")
	answer := a.as(t, who).Ask(f)
	answer.Id = nil
	return strings.ReplaceAll(onWire(t, answer), room, "ROOM"), id
}

// onWire is a frame as JSON in which nothing is left to chance.
func onWire(t *testing.T, f *wirev1.ServerFrame) string {
	t.Helper()
	b, err := protojson.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), " ", "")
}

// sameWork says whether two requests took the same calls.
func (a *accessRun) sameWork(t *testing.T, what string, x, y trace.TraceID) {
	t.Helper()
	var of, without []string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) { // the last span ends after the answer
		if of, without = a.work(x), a.work(y); slices.Equal(of, without) {
			return
		}
	}
	t.Errorf("%s: a private room takes %q, and none %q", what, of, without)
}

// work are the names of the spans of a trace that have ended.
func (a *accessRun) work(id trace.TraceID) []string {
	var names []string
	for _, span := range a.spans.GetSpans() {
		if span.SpanContext.TraceID() == id {
			names = append(names, span.Name)
		}
	}
	slices.Sort(names)
	return names
}

// nothingIsHeard looks for private rooms in all lists, and in all that outsiders
// have been told without asking while everything was done in those rooms.
func (a *accessRun) nothingIsHeard(t *testing.T) {
	in := strings.Fields(whoAsks)[1:]
	for _, who := range []string{"guest", "user"} {
		c := a.clients[who]
		hides := func(what, text string) {
			t.Helper()
			for _, room := range append(a.private, "a secret") {
				if strings.Contains(text, `"`+room+`"`) {
					t.Errorf("%s learns of the private %s by %s: %s", who, room, what, text)
				}
			}
		}
		for _, sort := range []string{"id", "name", "members"} {
			for _, prefix := range []string{"", "access-", "dm:"} {
				seen := 0
				for cursor := ""; ; {
					list := c.Ask(ask.GetRooms(&wirev1.GetRooms{Sort: &sort, Prefix: &prefix, Limit: proto.Int32(7), Cursor: &cursor})).GetRoomsList()
					for _, r := range list.GetRooms() {
						seen++
						hides("a list by "+sort, fmt.Sprintf("%q %q", r.Id, r.Name))
					}
					if cursor = list.GetNextCursor(); cursor == "" {
						break
					}
					last, err := base64.RawURLEncoding.DecodeString(cursor)
					if err != nil {
						t.Fatalf("a cursor is written otherwise by now: %v", err)
					}
					if n := len(list.Rooms); n == 0 || !strings.HasSuffix(string(last), list.Rooms[n-1].Id) {
						t.Errorf("the cursor %q is not of the last of %v", last, list.Rooms)
					}
				}
				if seen == 0 && prefix != "dm:" {
					t.Errorf("nothing is in the list by %s of %q", sort, prefix)
				}
			}
		}
		for what, f := range map[string]*wirev1.ClientFrame{
			"get-presence": ask.GetPresence(in...), "get-online-users": ask.GetOnlineUsers(&wirev1.GetOnlineUsers{}),
		} {
			answer := c.Ask(f)
			if answer.GetError() != nil {
				t.Errorf("%s: %v", what, answer)
			}
			hides(what, onWire(t, answer))
		}
		c.Settle()
		for _, f := range c.Rest() {
			hides("what is told to all", onWire(t, f))
		}
	}
}
