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

// TestFaults runs the checker while one thing after another fails, and a crowd
// comes, goes and talks. In the first third of the time, and until each fault has
// been done once, that is anything; after that no process ends, so that what each
// holds can be compared from the beginning to the end.
//
// PARLEY_SOAK_TIME makes it longer ("15m"), PARLEY_SOAK_RATE faster (messages
// per second), PARLEY_SOAK_SEED repeats a run's choices, PARLEY_SOAK_FAULT
// does one kind of fault only, PARLEY_SOAK_CONNECTIONS is how large the crowd is,
// PARLEY_SOAK_LOGS names a directory for what the processes say, PARLEY_SOAK_RESULT
// a file for what the report tells of the run. With PARLEY_SOAK_ALL=1 every kind of
// fault is done for all of the time.
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
	people := gather(t, c, setting(t, "PARLEY_SOAK_CONNECTIONS", 300, strconv.Atoi), o.Seed)
	m := observe(c)
	calm := steady{}
	all := os.Getenv("PARLEY_SOAK_ALL") == "1"
	b := &breaker{cluster: c, rand: rand.New(rand.NewPCG(o.Seed, 1)), crowd: people}
	o.During = func(ctx context.Context, control *check.Control) error {
		b.ctx, b.control = ctx, control
		calm.shift = time.Since(m.began) - control.Elapsed()
		end := control.Elapsed() + o.Duration
		round := slices.Clone(faults)
		for i := 0; ctx.Err() == nil; i++ {
			if i == len(round) { // the next round goes in another order
				b.rand.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
				i = 0
				left := end - control.Elapsed()
				if only == "" && !all && calm.from == 0 && left < o.Duration*2/3 {
					// Its first fifth is left out: what came before is still being
					// made up for.
					calm.from = end - left*4/5
					round = slices.Clone(sparing)
				}
			}
			f := round[i]
			if only != "" && f.name != only {
				continue
			}
			t.Logf("%7.1fs  %s", control.Elapsed().Seconds(), f.name)
			b.run(f)
			if calm.from > 0 {
				b.wait(b.seconds(2, 6)) // these messages tell how quick it is
			}
			b.wait(b.seconds(0.2, 1.5))
		}
		calm.to = control.Elapsed()
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
	t.Log(people.text())
	if err := people.whole(); err != nil {
		t.Error(err)
	}
	list := m.growths(calm, report.Course)
	calm.hold(t, c, list)
	if path := os.Getenv("PARLEY_SOAK_RESULT"); path != "" {
		b.keep(path, o, report, m, calm, list)
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
