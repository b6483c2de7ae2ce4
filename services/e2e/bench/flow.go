//go:build linux

package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-im/parley/services/e2e/bench/load"
)

// flow is a load of messages in rooms.
type flow struct {
	rooms, members int     // members of each room
	rate           float64 // deliveries per second; 0 is as many as there can be
	onTheirWay     int     // messages, where rate is 0
	comings        float64 // connections per second that come and go
}

func (f flow) String() string {
	s := fmt.Sprintf("%s × %s", thousands(f.rooms), thousands(f.members))
	if f.rate > 0 {
		s += fmt.Sprintf(", %s/s", thousands(int(f.rate)))
	} else {
		s += fmt.Sprintf(", saturated with %s", thousands(f.onTheirWay))
	}
	if f.comings > 0 {
		s += fmt.Sprintf(", %g connections/s come and go", f.comings)
	}
	return s
}

// scale makes a flow smaller, with fewer members where it is one room and
// fewer rooms where they are many.
func (b *bench) scale(f flow) flow {
	if b.opts.Scale == 1 {
		return f
	}
	if f.rooms == 1 {
		f.members = b.scaled(f.members)
	} else {
		f.rooms = b.scaled(f.rooms)
	}
	f.rate *= b.opts.Scale
	if f.rooms > 1 && f.onTheirWay > 0 {
		f.onTheirWay = b.scaled(f.onTheirWay)
	}
	f.comings *= b.opts.Scale
	return f
}

// settlePatience is how long what is under way at the end may take.
const settlePatience = 30 * time.Second

// measure puts a flow on a server that it starts and ends.
func (b *bench) measure(ctx context.Context, f flow, start starter) (row Row, err error) {
	d, err := start(ctx, b)
	if err != nil {
		return Row{}, err
	}
	defer d.stop()
	row = Row{Load: f.String(), Server: d.name, saturated: f.rate == 0, floor: d.floor}
	total := f.rooms * f.members
	if err := checkFiles(total); err != nil {
		return row, err
	}
	o := load.Options{Rooms: f.rooms}
	if f.comings > 0 {
		o.History = 50
	}
	c, err := b.newLoad(d, o)
	if err != nil {
		return row, err
	}
	defer c.Close()
	rooms := make([]int, total)
	for i := range rooms {
		rooms[i] = i / f.members
	}
	if err := c.Connect(ctx, rooms, true); err != nil {
		return row, fmt.Errorf("%s: %w", d.name, err)
	}
	c.Begin(load.Traffic{Rate: f.rate / float64(f.members), OnTheirWay: f.onTheirWay, Comings: f.comings, Stay: 2 * time.Second})
	if err := c.Run(ctx, b.opts.Warmup); err != nil {
		return row, fmt.Errorf("%s: %w", d.name, err)
	}
	c.Take()
	m, err := d.meter()
	if err != nil {
		return row, err
	}
	if err := c.Run(ctx, b.opts.Duration); err != nil {
		return row, fmt.Errorf("%s: %w", d.name, err)
	}
	counts := c.Take()
	used, err := m.read()
	if err != nil {
		return row, err
	}
	row.Deliveries, row.PerSecond = counts.Delivered, float64(counts.Delivered)/used.took.Seconds()
	row.CPU, row.LoadCores = used.each(counts.Delivered, d), used.cores()
	row.Delays = &counts.Delays
	if f.comings > 0 {
		row.Joins, row.JoinsPerSecond = &counts.Joins, float64(counts.Joined)/used.took.Seconds()
	}
	if err := c.Settle(ctx, settlePatience); err != nil {
		return row, fmt.Errorf("%s: %w", d.name, err)
	}
	row.Faults = c.Verdict()
	if d.floor && len(d.gateways) > 1 {
		row.Faults.Reordered = 0 // there is no order between floors
	}
	return row, nil
}

// compare measures a flow on the floor, on the floor+, and on servers, and
// relates these to those. Where it is to repeat, all of them take turns.
func (b *bench) compare(ctx context.Context, scenario string, f flow, servers ...starter) ([]Row, error) {
	f = b.scale(f)
	servers = append([]starter{startFloor(false), startFloor(true)}, servers...)
	runs := make([][]Row, len(servers))
	for range b.opts.Repeat {
		for i, start := range servers {
			row, err := b.measure(ctx, f, start)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", f, err)
			}
			b.progress(scenario, row)
			runs[i] = append(runs[i], row)
		}
	}
	rows := make([]Row, len(servers))
	for i := range rows {
		rows[i] = median(runs[i])
		if i > 0 {
			rows[i].ToFloor = rows[i].to(&rows[0])
		}
		if i > 1 && !rows[i].floor {
			rows[i].ToFloorPlus = rows[i].to(&rows[1])
		}
	}
	return rows, nil
}

// median is the run in the middle, by what it is compared by, with the faults
// of all.
func median(runs []Row) Row {
	var faults load.Faults
	for i := range runs {
		faults.Add(runs[i].Faults)
	}
	slices.SortFunc(runs, func(x, y Row) int {
		if !x.saturated && x.CPU != nil && y.CPU != nil {
			return cmp.Compare(x.CPU.All, y.CPU.All)
		}
		return cmp.Compare(x.PerSecond, y.PerSecond)
	})
	row := runs[len(runs)/2]
	row.Faults = faults
	return row
}
