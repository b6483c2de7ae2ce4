package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/e2e/check"
)

const aboutCheck = `Checks that a deployment delivers as it promises (PROTOCOL.md, section 5).

Writes and reads in rooms of its own through all the gateways it is given, records every acknowledgement
and every delivery, and then looks for messages that were lost, delivered twice or out of order. Exits with
1 if there are any. Break things meanwhile: that is what it is for. Example:

  parley check --url http://gateway-1:8080,http://gateway-2:8080 --rooms 20 --rate 500 --duration 5m`

// checkSettings are the settings of the command check.
type checkSettings struct {
	check.Options
	secret, password config.Secret
	seed, retention  int64
	json             bool
}

func (c *checkSettings) register(s *config.Set) {
	c.URLs = []string{"http://127.0.0.1:8080"}
	c.Rooms, c.Writers, c.Readers, c.Rate, c.Duration = 10, 20, 2, 200, 30*time.Second
	c.retention, c.Window, c.Patience = 1000, 2*time.Minute, time.Minute
	s.Section("Load")
	s.Strings(&c.URLs, "url", "base addresses of the gateways, separated by commas")
	s.Int(&c.Rooms, "rooms", "rooms to speak in; they are made for the run")
	s.Int(&c.Writers, "writers", "clients that send")
	s.Int(&c.Readers, "readers", "clients in each room that only read")
	s.Float64(&c.Rate, "rate", "messages per second, of all writers together")
	s.Duration(&c.Duration, "duration", "how long messages are sent")
	s.Int64(&c.seed, "seed", "decides on everything random; 0 is a new one, which the report tells")
	s.Section("The deployment")
	s.Secret(&c.secret, "jwt-secret", "the gateways' own: sign in with tokens made here; otherwise clients register, with password")
	s.Secret(&c.password, "password", "of the accounts that are registered; a random one when it is empty")
	s.Int64(&c.retention, "retention", "how many messages it keeps of each room")
	s.Duration(&c.Window, "dedup-window", "how long it remembers a message's id")
	s.Duration(&c.Patience, "patience", "how long the last messages may take")
	s.Section("Report")
	s.Bool(&c.json, "json", "report as JSON")
	s.Validate(func() error {
		if c.seed < 0 || c.retention < 1 {
			return errors.New("seed and retention: cannot be negative, nor retention 0")
		}
		return nil
	})
}

func checkDelivery(ctx context.Context, args []string) error {
	c := new(checkSettings)
	s := config.New("parley check", aboutCheck)
	c.register(s)
	s.AlsoKnown(program.Names()...)
	if action, err := s.Load(args, os.Environ(), os.Stdout); err != nil || action == config.Stop {
		return err
	}
	o := c.Options
	o.Seed, o.Retention = uint64(c.seed), int(c.retention)
	o.Secret, o.Password = []byte(c.secret.Reveal()), c.password.Reveal()
	o.Progress = os.Stderr
	report, err := check.Run(ctx, o)
	if err != nil {
		return fmt.Errorf("checking: %w", err)
	}
	return give(report, c.json)
}
