//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/e2e/bench"
)

const aboutBench = `Measures what Parley costs, beside a floor that does the least a server must.

Starts each server as processes of its own, with ports on 127.0.0.1 and data in a temporary directory, and a
floor that only makes one frame and one write(2) per member (floor+: with pending messages in one write), puts
the same load on all of them, and tells deliveries per second, CPU for each, delays, memory, and losses. Exits
with 1 if a message was lost, doubled or out of order. All scenarios take about 8 minutes. Example:

  parley bench --scenario fan-out,many-rooms --duration 5s`

// benchSettings are the settings of the command bench.
type benchSettings struct {
	bench.Options
	secret   config.Secret
	self     bool
	json     bool
	markdown string
}

func (b *benchSettings) register(s *config.Set) {
	b.Options = bench.Defaults()
	b.self = true
	s.Section("What to measure")
	s.Strings(&b.Scenarios, "scenario", "scenarios, separated by commas")
	s.Duration(&b.Duration, "duration", "how long each load is measured")
	s.Duration(&b.Warmup, "warmup", "how long it runs before that")
	s.Int(&b.Repeat, "repeat", "how often each load is measured, on the compared servers in turn; the run in the middle is reported")
	s.Duration(&b.Settle, "settle", "how long idle connections are left alone before their memory is read")
	s.Float64(&b.Scale, "scale", "size of members, connections and rates, for trials; 1 is what the scenarios say")
	s.Section("The deployment")
	s.Bool(&b.self, "self", "start one for each load; url turns it off")
	s.Bool(&b.Apart, "apart", "start NATS and each service as a process of its own in all scenarios, and not one process")
	s.Strings(&b.URLs, "url", "gateways of a running deployment in place of that, separated by commas")
	s.Secret(&b.secret, "jwt-secret", "with url: the deployment's own, to sign the clients' tokens with")
	s.String(&b.Protocol, "protocol", "what Parley's clients speak").OneOf("json", "proto")
	s.Section("Report")
	s.Bool(&b.json, "json", "report as JSON")
	s.String(&b.markdown, "markdown", "file to write the tables to as well")
	s.Validate(func() error {
		if !b.self && len(b.URLs) == 0 {
			return errors.New("url: is missing: without self, it says what to measure")
		}
		b.Secret = b.secret.Reveal()
		return b.Validate()
	})
}

func benchmark(ctx context.Context, args []string) error {
	b := new(benchSettings)
	s := config.New("parley bench", aboutBench)
	b.register(s)
	s.AlsoKnown(program.Names()...)
	if action, err := s.Load(args, os.Environ(), os.Stdout); err != nil || action == config.Stop {
		return err
	}
	o := b.Options
	o.Progress = os.Stderr
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	report, err := bench.Run(ctx, o)
	if err != nil {
		return fmt.Errorf("measuring: %w", err)
	}
	if b.markdown != "" {
		if err := os.WriteFile(b.markdown, []byte(report.Markdown()), 0o644); err != nil { //nolint:gosec // for all to read
			return fmt.Errorf("markdown: %w", err)
		}
	}
	return give(report, b.json)
}
