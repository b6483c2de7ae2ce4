package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/report"
)

// watched is a process of the cluster, with what of it may be asked while
// another goroutine restarts it.
type watched struct {
	name, Program, Admin string
	store, profile       string // of a NATS node
}

func (c *cluster) watched() []watched {
	var list []watched
	for i, p := range c.nats {
		list = append(list, watched{fmt.Sprintf("nats %d", i), p.Program, p.Admin, c.stores[i], c.profiles[i]})
	}
	for _, s := range process.Services {
		list = append(list, watched{name: s, Program: s, Admin: c.services[s].Admin})
	}
	for i, p := range c.gateways {
		list = append(list, watched{name: fmt.Sprintf("gateway %d", i), Program: p.Program, Admin: p.Admin})
	}
	return list
}

// What node and a program's /metrics call the measures, and the start of a
// process.
const (
	lifeMetric = "process_start_time_seconds"
	diskMetric = "disk"
)

var measured = []struct {
	metric string
	*measure
}{
	{"process_resident_memory_bytes", resident}, {"go_goroutines", goroutines}, {"process_open_fds", files}, {diskMetric, disk},
}

// node looks at a NATS node, and calls what it finds as /metrics does.
func (w watched) node() (map[string]float64, error) {
	var vars struct {
		Mem   float64
		Start time.Time
	}
	var streams struct{ Bytes float64 }
	for page, into := range map[string]any{"/varz": &vars, "/jsz": &streams} {
		_, body, err := process.Get(w.Admin + page)
		if err == nil {
			err = json.Unmarshal([]byte(body), into)
		}
		if err != nil {
			return nil, err
		}
	}
	_, body, err := process.Get("http://" + w.profile + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return nil, err
	}
	var goroutines float64
	if _, err := fmt.Sscanf(body, "goroutine profile: total %f", &goroutines); err != nil {
		return nil, fmt.Errorf("reading a profile of goroutines: %w", err)
	}
	values := map[string]float64{
		lifeMetric: float64(vars.Start.UnixMilli()), "process_resident_memory_bytes": vars.Mem, "go_goroutines": goroutines,
	}
	if pid, err := os.ReadFile(w.store + ".pid"); err == nil {
		if open, err := os.ReadDir("/proc/" + strings.TrimSpace(string(pid)) + "/fd"); err == nil { // Linux has it
			values["process_open_fds"] = float64(len(open))
		}
	}
	stored, err := sizeOf(w.store)
	values[diskMetric] = stored - streams.Bytes
	return values, err
}

// sizeOf is how many bytes lie in a directory, whose files come and go.
func sizeOf(dir string) (bytes float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				bytes += float64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}

// live notes one look at a process; m.mu is held. Clients go from one gateway to
// another, and each has a file and a goroutine that reads.
func (m *memory) live(w watched, values map[string]float64) {
	at := time.Since(m.began).Hours()
	values = maps.Clone(values)
	for _, metric := range []string{"go_goroutines", "process_open_fds"} {
		values[metric] -= values["parley_gateway_connections"]
	}
	for _, x := range measured {
		if v, there := values[x.metric]; there {
			m.lives.add(w.name, values[lifeMetric], x.measure, at, v)
		}
	}
}

// steady is the part of a run in which no process ends, without its beginning:
// from and to are as Report.Course has them, shift is what they are less than
// the time of the looks.
type steady struct{ from, to, shift time.Duration }

// growths tells what grew in that part.
func (m *memory) growths(s steady, course []check.Stretch) []report.Growth {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.lives.between((s.from + s.shift).Hours(), (s.to + s.shift).Hours())
	var delays lives
	for _, c := range course {
		if c.From >= s.from && c.To <= s.to && c.Delivery.Count > 0 {
			at, ms := (c.From+c.To).Hours()/2, float64(time.Millisecond)
			delays.add("messages", 0, deliveryHalf, at, float64(c.Delivery.P50)/ms)
			delays.add("messages", 0, deliveryMost, at, float64(c.Delivery.P99)/ms)
		}
	}
	return append(list, delays.between(0, s.to.Hours())...)
}

// hold prints what grew, and fails where something grew beyond what it may, or
// where a process that was to live through the part did not, or was not seen.
func (s steady) hold(t *testing.T, c *cluster, list []report.Growth) {
	from := "from " + s.from.Round(time.Second).String() + " on no process ends"
	if s.from == 0 {
		from = "it was too short for a part in which no process ends"
	}
	t.Logf("%s; lines of least squares through what was seen\n\n%s", from, grown(list))
	long := s.to-s.from >= judgeable*3/2 // so that a process that lives through it is judged
	for _, g := range list {
		if g.Judged && !g.OK {
			t.Errorf("%s: %s grows from %.1f to %.1f %s in %.0f minutes; %.1f would be allowed", g.Process, g.Measure, g.Start, g.End, g.Unit, g.Minutes, g.Allowed)
		} else if long && !g.Judged {
			t.Errorf("%s: %s was seen for %.1f minutes of %.1f only", g.Process, g.Measure, g.Minutes, (s.to - s.from).Minutes())
		}
	}
	for _, w := range c.watched() {
		seen := false
		for _, g := range list {
			seen = seen || g.Process == w.name
		}
		if long && !seen {
			t.Errorf("%s was not seen", w.name)
		}
	}
}
