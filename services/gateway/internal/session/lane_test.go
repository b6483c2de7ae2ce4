package session

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLaneKeepsOrderAndKnowsItsRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lane
		var mu sync.Mutex
		var got []int
		gate := make(chan struct{})
		for i := range 10 {
			l.add(fmt.Sprint("room-", i), func() {
				<-gate
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
			})
		}
		synctest.Wait()
		if !l.has("room-0") || !l.has("room-9") || l.has("room-10") || l.has("") {
			t.Error("the lane does not know its rooms")
		}
		close(gate)
		l.wait()
		if fmt.Sprint(got) != "[0 1 2 3 4 5 6 7 8 9]" {
			t.Errorf("ran in the order %v", got)
		}
		if l.has("room-0") {
			t.Error("an empty lane still has a room")
		}
	})
}

func TestLaneIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lane
		gate := make(chan struct{})
		added := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range laneLength + 2 {
				l.add("", func() { <-gate })
				added++
			}
		}()
		synctest.Wait()
		// One is running and laneLength wait.
		if added != laneLength+1 {
			t.Errorf("%d requests were taken, want %d", added, laneLength+1)
		}
		close(gate)
		<-done
		l.wait()
	})
}

func TestFlightLands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight{limit: 2}
		for range 2 {
			if !f.take() {
				t.Fatal("one of the first two was refused")
			}
		}
		third := make(chan bool)
		go func() { third <- f.take() }()
		synctest.Wait() // the third waits
		f.give()
		if !<-third {
			t.Error("the third was refused though one had come back")
		}
		landed := make(chan struct{})
		go func() {
			f.land(t.Context())
			close(landed)
		}()
		time.Sleep(time.Second) // of the test's own clock
		select {
		case <-landed:
			t.Fatal("landed with two in the air")
		default:
		}
		f.give()
		f.give()
		<-landed
		if f.take() {
			t.Error("one more took off after the landing")
		}
	})
}

func TestFlightThatDoesNotLandIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flight{limit: 1}
		f.take()
		waiting := make(chan bool)
		go func() { waiting <- f.take() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.land(ctx)
		if <-waiting {
			t.Error("one that waited took off after the end")
		}
		f.give()
	})
}
