package rpc

import (
	"context"
	"fmt"
	"sync"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	// healthEvery is how often a service that is ready is asked whether it
	// still is, and healthSoon how often one that is not; a start is to be seen
	// in a moment.
	healthEvery = time.Second
	healthSoon  = 100 * time.Millisecond
	// healthTimeout bounds one question.
	healthTimeout = time.Second
)

type healthCheck struct {
	service string
	ready   func(context.Context) error
	last    error
	asked   bool
	was     bool // ready, at some time
}

// Health has grpc.health.v1 answer for a service, by the full name it is
// registered under ("parley.history.v1.History"): serving while ready returns
// nil. ready is asked every second, and must heed its context, which ends
// after a second. The name "" answers for all services together and needs no
// function. To be called before Run.
func (s *Server) Health(service string, ready func(ctx context.Context) error) {
	s.checks = append(s.checks, &healthCheck{service: service, ready: ready})
	s.health.SetServingStatus(service, healthv1.HealthCheckResponse_NOT_SERVING)
}

// watchHealth asks until ctx ends.
func (s *Server) watchHealth(ctx context.Context) {
	for {
		pause := healthEvery
		if !s.askAll(ctx) {
			pause = healthSoon
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (s *Server) askAll(ctx context.Context) bool {
	var wg sync.WaitGroup
	for _, c := range s.checks {
		wg.Go(func() { s.ask(ctx, c) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return false
	}
	all := true
	for _, c := range s.checks {
		all = all && c.last == nil
	}
	s.health.SetServingStatus("", serving(all))
	return all
}

func (s *Server) ask(parent context.Context, c *healthCheck) {
	ctx, cancel := context.WithTimeout(parent, healthTimeout)
	defer cancel()
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return c.ready(ctx)
	}()
	if parent.Err() != nil {
		return // the server ends; that it is not serving is said already
	}
	changed := !c.asked || (err == nil) != (c.last == nil)
	c.asked, c.last = true, err
	if !changed {
		return
	}
	s.health.SetServingStatus(c.service, serving(err == nil))
	switch {
	case err == nil:
		c.was = true
		s.opts.Logger.Info("ready", "service", c.service)
	case c.was:
		s.opts.Logger.Warn("not ready", "service", c.service, "error", err)
	default: // it is starting
		s.opts.Logger.Info("not ready yet", "service", c.service, "error", err)
	}
}

func serving(ready bool) healthv1.HealthCheckResponse_ServingStatus {
	if ready {
		return healthv1.HealthCheckResponse_SERVING
	}
	return healthv1.HealthCheckResponse_NOT_SERVING
}
