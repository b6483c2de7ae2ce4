package run

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !Sleep(ctx, time.Second) || time.Since(begun) != time.Second {
			t.Errorf("woke after %s", time.Since(begun))
		}
		if Sleep(ctx, time.Hour) || time.Since(begun) != time.Minute {
			t.Errorf("its context ended after %s", time.Since(begun))
		}
		if Sleep(ctx, 0) {
			t.Error("a context that has ended is no reason to go on")
		}
	})
}
