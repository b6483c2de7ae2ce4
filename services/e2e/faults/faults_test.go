package faults

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
)

// ciTime is how long messages are sent when nothing else is asked for. Every
// kind of fault once takes most of it.
const ciTime = 100 * time.Second

// ciRate is messages per second; the race detector makes everything several
// times as slow.
var ciRate = map[bool]float64{false: 800, true: 200}[raceDetector]

// TestFaults runs the checker while one thing after another fails.
//
// PARLEY_SOAK_TIME makes it longer ("15m"), PARLEY_SOAK_RATE faster (messages
// per second), PARLEY_SOAK_SEED repeats a run's choices, PARLEY_SOAK_FAULT
// does one kind of fault only, PARLEY_SOAK_LOGS names a directory for what the
// processes say, PARLEY_SOAK_RESULT a file for what the report tells of the run.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	o := check.Options{
		Rooms: 20, Writers: 20, Readers: 2, Secret: []byte(secret), Retention: retention,
		Duration: setting(t, "PARLEY_SOAK_TIME", ciTime, time.ParseDuration),
		Rate:     setting(t, "PARLEY_SOAK_RATE", ciRate, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }),
		Seed: setting(t, "PARLEY_SOAK_SEED", rand.Uint64()>>1, func(s string) (uint64, error) {
			return strconv.ParseUint(s, 10, 64)
		}),
		Progress: t.Output(),
	}
	only := os.Getenv("PARLEY_SOAK_FAULT")
	t.Logf("PARLEY_SOAK_SEED=%d", o.Seed)
	c := deploy(t)
	if dir := os.Getenv("PARLEY_SOAK_LOGS"); dir != "" {
		defer c.keepLogs(dir)
	}
	o.URLs = c.urls
	m := observe(c)
	b := &breaker{cluster: c, rand: rand.New(rand.NewPCG(o.Seed, 1))}
	o.During = func(ctx context.Context, control *check.Control) error {
		b.ctx, b.control = ctx, control
		round := slices.Clone(faults)
		for i := 0; ctx.Err() == nil; i++ {
			f := round[i%len(round)]
			if only != "" && f.name != only {
				continue
			}
			t.Logf("%7.1fs  %s", control.Elapsed().Seconds(), f.name)
			b.run(f)
			b.wait(b.seconds(0.2, 1.5))
			if i%len(round) == len(round)-1 { // the next round goes in another order
				b.rand.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
			}
		}
		return nil
	}
	report, err := check.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteText(t.Output()); err != nil {
		t.Fatal(err)
	}
	m.end(t)
	if path := os.Getenv("PARLEY_SOAK_RESULT"); path != "" {
		b.keep(path, o, report, m)
	}
	if !report.OK() {
		t.Errorf("promises were broken: %v; PARLEY_SOAK_SEED=%d makes the same choices", report.Counts, o.Seed)
	}
	if report.Acked == 0 || report.Faults() == 0 {
		t.Errorf("%d messages and %d faults prove nothing", report.Acked, report.Faults())
	}
}

// setting reads a variable of the environment.
func setting[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}
