package bus

import (
	"sync"
	"time"
)

// window spaces out what is sent to the log: the first publish after a pause
// goes at once, those that follow within its length go together when it ends.
// So nothing waits where little is said; and where much is, the way to the log
// and back, a wake-up in every goroutine and process that it leads through, is
// gone once for many publishes.
type window struct {
	length time.Duration // 0 holds nothing back

	mu     sync.Mutex
	last   time.Time // when something was sent
	armed  bool
	closed bool
	timer  *time.Timer // runs what sends, when armed
	lanes  []int       // that have something to send
	listed []bool      // by lane
}

func (w *window) init(length time.Duration, lanes int, send func()) {
	w.length, w.listed = length, make([]bool, lanes)
	w.timer = time.AfterFunc(time.Hour, send)
	w.timer.Stop()
}

// open says whether a publish of a lane is sent now. Otherwise the lane is in
// the list that next gives when the window has ended.
func (w *window) open(now time.Time, lane int) bool {
	if w.length == 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		passed := now.Sub(w.last)
		if passed >= w.length || w.closed {
			w.last = now
			return true
		}
		w.armed = true
		w.timer.Reset(w.length - passed)
	}
	if !w.listed[lane] {
		w.listed[lane] = true
		w.lanes = append(w.lanes, lane)
	}
	return false
}

// next gives the lanes that have something to send.
func (w *window) next() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	lanes := w.lanes
	for _, lane := range lanes {
		w.listed[lane] = false
	}
	w.lanes, w.armed, w.last = nil, false, time.Now()
	return lanes
}

// close lets nothing be held back any more.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.timer.Stop()
}
