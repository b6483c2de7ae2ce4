package rpc

import (
	"sync/atomic"
	"time"
)

// seldom lets one log line a second through: when the log or a service is
// gone, every call says so.
type seldom struct{ last atomic.Int64 }

func (s *seldom) allow() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return now-last >= int64(time.Second) && s.last.CompareAndSwap(last, now)
}
