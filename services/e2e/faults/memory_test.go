package faults

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

// bound is something of a gateway that must not grow beyond what is set.
type bound struct {
	what string
	// metric of one look, less those of minus.
	metric, minus string
	limit         func(look map[string]float64) float64
}

const (
	kib, mib = 1 << 10, 1 << 20
	// connectionsPeak is what a gateway had at most, for what waits for a
	// client is looked at a moment before or after the clients are counted.
	connectionsPeak = "parley_gateway_connections_peak"
)

var bounds = []bound{
	{"queued", "parley_gateway_queue_bytes", "parley_gateway_queue_history_bytes", func(look map[string]float64) float64 {
		// PARLEY_QUEUE_BYTES each. The two are not read in one moment, so
		// what turns up in between as history may count here: one answer.
		return look[connectionsPeak]*queueBytes + 32*mib
	}},
	{"history", "parley_gateway_queue_history_bytes", "", func(look map[string]float64) float64 {
		// --history-bytes, and the answer that each client may get before
		// that is noticed.
		return 256*mib + look[connectionsPeak]*32*mib
	}},
	{"in flight", "parley_bus_publish_in_flight", "", func(look map[string]float64) float64 {
		return maxInFlight + look[connectionsPeak] // one that is refused counts for a moment
	}},
	{"recent", "parley_gateway_recent_bytes", "", func(map[string]float64) float64 { return 64 * mib }},
	{"held", "parley_gateway_held_bytes", "", func(look map[string]float64) float64 {
		return (look["parley_gateway_rooms"] + 1) * mib // one may have closed in between
	}},
	// The sum of what this run may hold (some 20 MiB of queues, 4 of recent
	// messages, a history or two) and of the Go heap's own doubling is far
	// below; the race detector takes several times as much.
	{"resident", "process_resident_memory_bytes", "", func(map[string]float64) float64 {
		return map[bool]float64{false: 512 * mib, true: 3072 * mib}[raceDetector]
	}},
}

// memory is what processes were seen to hold at most.
type memory struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	resident map[string]float64  // by program
	most     map[string]float64  // by bound
	looks    int                 // at gateways
	counted  map[string]*counted // by what counts, with whose it is
	broken   []string

	began time.Time
	lives lives
}

// observe looks at all processes once a second until end. One that does not
// answer, because it is broken just now, is passed over.
func observe(c *cluster) *memory {
	m := &memory{stop: make(chan struct{}), resident: map[string]float64{}, most: map[string]float64{}, counted: map[string]*counted{}, began: time.Now()}
	for _, w := range c.watched() {
		m.wg.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-m.stop:
					return
				case <-tick.C:
					m.look(w)
				}
			}
		})
	}
	return m
}

// look reads a process's metrics and notes what it holds.
func (m *memory) look(w watched) {
	program, admin := w.Program, w.Admin
	values := map[string]float64{}
	if program == process.NATS {
		var err error
		if values, err = w.node(); err != nil {
			return
		}
	} else {
		_, body, err := process.Get(admin + "/metrics")
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			name, _, _ = strings.Cut(name, "{")
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				values[name] += v
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live(w, values)
	m.resident[program] = max(m.resident[program], values["process_resident_memory_bytes"])
	if program == process.Gateway {
		m.hold(values)
		for _, name := range []string{holes, filled, dropped} {
			m.count(admin+" "+name, values[name])
		}
	}
}

// hold holds one look at a gateway against the bounds; m.mu is held.
func (m *memory) hold(values map[string]float64) {
	m.looks++
	for _, b := range bounds {
		v, there := values[b.metric]
		if !there { // it has just been started and waits for NATS
			continue
		}
		v -= values[b.minus]
		m.most[b.what] = max(m.most[b.what], v)
		if limit := b.limit(values); v > limit {
			m.broken = append(m.broken, fmt.Sprintf("%s: %.0f, the bound is %.0f", b.what, v, limit))
		}
	}
}

// end stops looking, reports, and fails where a bound was passed.
func (m *memory) end(t *testing.T) {
	close(m.stop)
	m.wg.Wait()
	var b strings.Builder
	fmt.Fprintf(&b, "most seen in %d looks at gateways\n\n  resident ", m.looks)
	for _, program := range slices.Sorted(maps.Keys(m.resident)) {
		fmt.Fprintf(&b, " · %s %.0f MiB", program, m.resident[program]/mib)
	}
	b.WriteString("\n  a gateway")
	for _, bound := range bounds {
		unit, per := "KiB", float64(kib)
		if bound.what == "in flight" {
			unit, per = "publishes", 1
		}
		fmt.Fprintf(&b, " · %s %.0f %s", bound.what, m.most[bound.what]/per, unit)
	}
	t.Log(b.String())
	if m.looks == 0 {
		t.Error("no gateway was looked at")
	}
	for _, b := range bounds {
		if _, seen := m.most[b.what]; !seen {
			t.Errorf("there is no metric %s", b.metric)
		}
	}
	for _, what := range m.broken[:min(len(m.broken), 10)] {
		t.Errorf("a bound was passed: %s", what)
	}
}
