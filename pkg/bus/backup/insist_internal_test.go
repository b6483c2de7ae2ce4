package backup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestInsistEnds: what is ended between two tries is not tried again.
func TestInsistEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		failed := errors.New("failed")
		calls := 0
		err := insist(ctx, func() error {
			calls++
			return failed
		}, func(error) bool { return true })
		if calls != 2 || !errors.Is(err, failed) { // at 0 and at 200 ms
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}
