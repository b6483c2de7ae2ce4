//go:build linux

package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options says what to measure.
type Options struct {
	// Program is the path of the parley executable, which is started for all
	// servers and for the floor.
	Program string
	// Scenarios are run in this order; default all.
	Scenarios []string
	// URLs are the gateways of a running deployment, like
	// http://127.0.0.1:8080. With them none is started: of what is behind them,
	// nothing but the load's own view can be told. They need Secret, that
	// deployment's jwt-secret, for 10,000 accounts are not registered in a
	// moment.
	URLs   []string
	Secret string
	// Apart gives NATS and each service a process of its own in all scenarios,
	// and not only where a scenario says so.
	Apart bool
	// Protocol is json, the default, or proto: what Parley's clients speak. The
	// floor has one language, like JSON.
	Protocol string
	// Duration is how long a load is measured; default 10 s. Warmup comes before
	// it; default 2 s.
	Duration, Warmup time.Duration
	// Repeat is how often each load is measured on each of the servers that are
	// compared, in turn; the run in the middle is reported. Default 1.
	Repeat int
	// Settle is how long idle connections are left alone before their memory is
	// read; default 20 s.
	Settle time.Duration
	// Scale makes everything smaller (or larger) than the scenarios say:
	// members, connections, rates; default 1. It is for trying the bench.
	Scale float64
	// Progress gets a line for each measurement; nil gets none.
	Progress io.Writer
}

// Names are the scenarios, in their order.
func Names() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// Defaults are the options that a program shows as defaults.
func Defaults() Options {
	var o Options
	o.defaults()
	return o
}

func (o *Options) defaults() {
	setDefault(&o.Duration, 10*time.Second)
	setDefault(&o.Warmup, 2*time.Second)
	setDefault(&o.Repeat, 1)
	setDefault(&o.Settle, 20*time.Second)
	setDefault(&o.Scale, 1)
	setDefault(&o.Protocol, "json")
	if len(o.Scenarios) == 0 {
		o.Scenarios = Names()
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	for _, name := range o.Scenarios {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("scenario: %q is none of %s", name, strings.Join(Names(), ", "))
		}
	}
	switch {
	case o.Protocol != "json" && o.Protocol != "proto":
		return fmt.Errorf("protocol: %q is neither json nor proto", o.Protocol)
	case len(o.URLs) > 0 && o.Secret == "":
		return errors.New("jwt-secret: is missing: with url, it has to be the deployment's own")
	case o.Duration < 0 || o.Warmup < 0 || o.Settle < 0:
		return errors.New("duration, warmup and settle cannot be negative")
	case o.Repeat < 0 || o.Repeat > 100:
		return fmt.Errorf("repeat: %d is not between 1 and 100", o.Repeat)
	case o.Scale < 0 || o.Scale > 10:
		return fmt.Errorf("scale: %g is not between 0 and 10", o.Scale)
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
