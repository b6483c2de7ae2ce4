//go:build linux

package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/parley-im/parley/services/e2e/bench/load"
)

// Report is what a run measured.
type Report struct {
	Machine  Machine       `json:"machine"`
	Duration time.Duration `json:"duration"`
	Warmup   time.Duration `json:"warmup"`
	Repeat   int           `json:"repeat"`
	Settle   time.Duration `json:"settle"`
	Scale    float64       `json:"scale"`
	Protocol string        `json:"protocol"`
	// Settings are those of Parley's that were not left at their defaults.
	Settings  []string   `json:"settings,omitempty"`
	Scenarios []Scenario `json:"scenarios"`
}

// Machine is what it was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	NATS   string `json:"nats"`
}

// Scenario is what was measured in one.
type Scenario struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Rows  []Row  `json:"rows"`
}

// Row is one server under one load. What a load does not have is nil or 0.
type Row struct {
	Load   string `json:"load"`
	Server string `json:"server"`
	// saturated loads are compared by what is delivered, others by CPU.
	saturated bool
	floor     bool

	Deliveries int64   `json:"deliveries,omitempty"`
	PerSecond  float64 `json:"deliveriesPerSecond,omitempty"`
	// CPU is what a delivery costs.
	CPU *CPU `json:"cpuPerDelivery,omitempty"`
	// Delays are from sending, or from when it was due, to each delivery.
	Delays *load.Quantiles `json:"delays,omitempty"`
	// ToFloor and ToFloorPlus are this server's figures divided by theirs.
	ToFloor     *Ratio `json:"toFloor,omitempty"`
	ToFloorPlus *Ratio `json:"toFloorPlus,omitempty"`

	// Joins are from dialling, or from asking where all were connected
	// already, to the history.
	Joins          *load.Quantiles `json:"joins,omitempty"`
	JoinsPerSecond float64         `json:"joinsPerSecond,omitempty"`
	// Took is how long all of them took together.
	Took    time.Duration `json:"took,omitempty"`
	JoinCPU *CPU          `json:"cpuPerJoin,omitempty"`

	Memory *Memory `json:"memory,omitempty"`
	// LoadCores is how many cores the load itself used.
	LoadCores float64     `json:"loadCores"`
	Faults    load.Faults `json:"faults"`
}

// CPU is microseconds of the processes' time, user and system, for one
// delivery or join. Gateway is all of it where everything is one process.
type CPU struct {
	Gateway float64 `json:"gateway"`
	NATS    float64 `json:"nats"`
	Rest    float64 `json:"rest"`
	All     float64 `json:"all"`
}

// Ratio relates two servers under one load.
type Ratio struct {
	CPU       float64 `json:"cpu,omitempty"`
	PerSecond float64 `json:"deliveriesPerSecond"`
}

// Memory is resident bytes of the gateway's process.
type Memory struct {
	Before        int64 `json:"before"`
	After         int64 `json:"after"`
	PerConnection int64 `json:"perConnection"`
}

// OK says whether no message was lost, doubled or out of order.
func (r *Report) OK() bool {
	for _, s := range r.Scenarios {
		for i := range s.Rows {
			if !s.Rows[i].Faults.None() {
				return false
			}
		}
	}
	return true
}

// to divides a row's figures by the floor's.
func (r *Row) to(floor *Row) *Ratio {
	if floor.PerSecond == 0 {
		return nil
	}
	ratio := &Ratio{PerSecond: r.PerSecond / floor.PerSecond}
	if r.CPU != nil && floor.CPU != nil && floor.CPU.All > 0 {
		ratio.CPU = r.CPU.All / floor.CPU.All
	}
	return ratio
}

// line tells of a row in a line.
func (r *Row) line() string {
	var parts []string
	for _, c := range columns {
		if text := c.text(r); text != "" {
			parts = append(parts, strings.TrimSpace(c.name+" "+text))
		}
	}
	return strings.Join(parts, " · ")
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
