package bus

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// TestForget: what was revoked, and which roles were given, is known for as long as
// a token from before may live, and not longer, whatever time NATS says it was
// stored at.
func TestForget(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"right": 0, "behind": -2 * time.Hour, "ahead": 2 * time.Hour} {
		t.Run("NATS "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				revocations, standings := NewRevocations(nil, nil), NewStandings(nil, nil)
				var wg sync.WaitGroup
				wg.Go(func() { forget(ctx, revocations.drop) })
				wg.Go(func() { forget(ctx, standings.drop) })
				now := time.Now()
				value := []byte(strconv.FormatInt(now.UnixMilli(), 10))
				for _, key := range []string{keyRevoked + "s", keyRevokedUser + ids.Token("bob")} {
					revocations.note(Entry{Key: key, Value: value, Stored: now.Add(wrong)})
				}
				roles, err := proto.Marshal(&busv1.Standing{Revision: 1, Roles: []string{"admin"}})
				if err != nil {
					t.Error(err)
				}
				standings.note(ids.Token("bob"), Entry{Value: roles, Stored: now.Add(wrong)}, standings.noteRoles)
				known := func() [3]bool {
					synctest.Wait()
					_, roles := standings.Roles("bob")
					return [3]bool{revocations.Revoked("s", "", now), revocations.Revoked("", "bob", now.Add(-time.Minute)), roles}
				}
				time.Sleep(SessionTTL)
				if got := known(); got != [3]bool{true, true, true} {
					t.Errorf("while there may be a token from before, known of the sign-in, the user and the roles: %v", got)
				}
				time.Sleep(3 * time.Minute)
				if got := known(); got != [3]bool{} {
					t.Errorf("later, known of the sign-in, the user and the roles: %v", got)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}
