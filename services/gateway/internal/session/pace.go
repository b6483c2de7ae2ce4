package session

import "time"

// pace bounds how fast the requests of one session come. It is a bucket of
// tokens, of which it keeps only when the bucket will be full again; time is
// counted from any moment in the past (this is the generic cell rate algorithm of
// ITU-T I.371, annex A). A rate.Limiter would cost 80 bytes.
type pace struct{ full time.Duration }

// take takes some tokens, of a bucket of fewer all. When they are not there it
// takes nothing, and tells after which time they will be.
func (p *pace) take(now, every time.Duration, burst, tokens int) (wait time.Duration) {
	full := max(p.full, now) + time.Duration(min(tokens, burst))*every
	if wait := full - now - time.Duration(burst)*every; wait > 0 {
		return wait
	}
	p.full = full
	return 0
}

// slowest bounds the time between two tokens, so that no bucket's overflows.
const slowest = time.Hour

// interval is the time between two tokens at a rate per second.
func interval(rate float64) time.Duration {
	return time.Duration(min(float64(time.Second)/rate, float64(slowest)))
}
