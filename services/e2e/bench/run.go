//go:build linux

package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-im/parley/services/e2e/bench/load"
)

// bench is one run.
type bench struct {
	opts  Options
	loads int // how many there were: each has names of its own
	name  string
}

// Run measures. The error says that something could not be measured, and not
// that messages were lost: that is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.defaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	// The load is one thread's, and processes end with the thread that started
	// them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := &bench{opts: o, name: fmt.Sprintf("b%x", time.Now().UnixMilli()&0xFFFFFFFF)}
	report := &Report{
		Machine: thisMachine(o.Program), Duration: o.Duration, Warmup: o.Warmup, Settle: o.Settle, Repeat: o.Repeat, Scale: o.Scale, Protocol: o.Protocol,
	}
	if len(o.URLs) == 0 {
		report.Settings = settings
	}
	for _, name := range o.Scenarios {
		for _, s := range scenarios {
			if s.name != name {
				continue
			}
			rows, err := s.run(b, ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			report.Scenarios = append(report.Scenarios, Scenario{Name: s.name, About: s.about, Rows: rows})
		}
	}
	return report, nil
}

// scaled is a number of members, connections or messages, in the run's size; 2
// at least, for one alone proves nothing.
func (b *bench) scaled(n int) int {
	return max(min(n, 2), int(math.Round(float64(n)*b.opts.Scale)))
}

// newLoad makes a load for a deployment.
func (b *bench) newLoad(d *deployment, o load.Options) (*load.Client, error) {
	b.loads++
	o.Gateways, o.Secret = d.gateways, d.secret
	o.Protobuf = b.opts.Protocol == "proto" && !d.floor
	o.Name = fmt.Sprintf("%sx%d", b.name, b.loads)
	return load.New(o)
}

// checkFiles says whether the process may open a number of sockets; Go has
// raised the soft limit already.
func checkFiles(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking for the limit of open files: %w", err)
	}
	if need := uint64(connections) + 100; limit.Cur < need {
		return fmt.Errorf("%d connections need a limit of %d open files (ulimit -n), and it is %d", connections, need, limit.Cur)
	}
	return nil
}

// meter takes what a deployment and the load use over a time.
type meter struct {
	d     *deployment
	began time.Time
	at    usage
	own   time.Duration
}

func (d *deployment) meter() (*meter, error) {
	m := &meter{d: d, began: time.Now()}
	var err error
	if m.at, err = d.cpu(); err == nil {
		m.own, err = cpuOf(unix.Getpid())
	}
	return m, err
}

// spent is what was used since the meter began.
type spent struct {
	took time.Duration
	cpu  usage
	own  time.Duration // the load's
}

func (m *meter) read() (spent, error) {
	now, err := m.d.meter()
	if err != nil {
		return spent{}, err
	}
	s := spent{took: now.began.Sub(m.began), own: now.own - m.own}
	for i := range s.cpu {
		s.cpu[i] = now.at[i] - m.at[i]
	}
	return s, nil
}

// each divides what the parts used by a count; nil where nothing is known of
// the processes.
func (s spent) each(n int64, d *deployment) *CPU {
	if len(d.processes) == 0 || n == 0 {
		return nil
	}
	micros := func(t time.Duration) float64 { return float64(t) / float64(n) / 1000 }
	c := &CPU{Gateway: micros(s.cpu[gatewayPart]), NATS: micros(s.cpu[natsPart]), Rest: micros(s.cpu[restPart])}
	c.All = c.Gateway + c.NATS + c.Rest
	return c
}

// cores is how many the load itself has used.
func (s spent) cores() float64 { return s.own.Seconds() / s.took.Seconds() }

func (b *bench) progress(scenario string, r Row) {
	fmt.Fprintf(b.opts.Progress, "%s: %s\n", scenario, r.line())
}
