//go:build linux

package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-im/parley/services/e2e/bench/load"
)

type scenario struct {
	name, about string
	run         func(*bench, context.Context) ([]Row, error)
}

var scenarios = []scenario{
	{"fan-out", "One large room, whose members send in turn.", fanOut},
	{"many-rooms", "Small rooms; in each the members send in turn.", manyRooms},
	{"two-gateways", "The members of each room are spread over two gateways, or two floors, which tell each other each message; beside it, the same on one. NATS is apart.", twoGateways},
	{"idle", "Connections that are signed in, have joined a room, and are left alone.", idle},
	{"storm", "Connections are made, sign in and join, with 512 of them in progress.", storm},
	{"join-history", "Joins of a room in which messages flow, each with 50 messages of history; 32 are in progress. CPU includes what the messages cost.", joinHistory},
	{"churn", "Messages flow in rooms, while other connections come, join with 50 messages of history, and go.", churn},
}

func fanOut(b *bench, ctx context.Context) ([]Row, error) {
	return b.flows(ctx, "fan-out", []flow{
		{rooms: 1, members: 1000, rate: 20_000},
		{rooms: 1, members: 1000, onTheirWay: 32},
		{rooms: 1, members: 5000, onTheirWay: 16},
	}, startServe)
}

func manyRooms(b *bench, ctx context.Context) ([]Row, error) {
	servers := []starter{startServe}
	if !b.opts.Apart && len(b.opts.URLs) == 0 {
		servers = append(servers, startApart(1))
	}
	return b.flows(ctx, "many-rooms", []flow{
		{rooms: 500, members: 10, rate: 20_000},
		{rooms: 500, members: 10, onTheirWay: 1000},
	}, servers...)
}

func twoGateways(b *bench, ctx context.Context) ([]Row, error) {
	servers := []starter{startFloors, startApart(1), startApart(2)}
	if len(b.opts.URLs) > 0 {
		servers = servers[1:2]
	}
	return b.flows(ctx, "two-gateways", []flow{{rooms: 100, members: 10, rate: 20_000}}, servers...)
}

func churn(b *bench, ctx context.Context) ([]Row, error) {
	// The floor has no history to join with.
	f := b.scale(flow{rooms: 50, members: 20, rate: 10_000, comings: 200})
	row, err := b.measure(ctx, f, startServe)
	if err != nil {
		return nil, err
	}
	b.progress("churn", row)
	return []Row{row}, nil
}

func (b *bench) flows(ctx context.Context, scenario string, flows []flow, servers ...starter) ([]Row, error) {
	var all []Row
	for _, f := range flows {
		rows, err := b.compare(ctx, scenario, f, servers...)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// connections is the number of them in idle and storm.
const connections = 10_000

func idle(b *bench, ctx context.Context) ([]Row, error) {
	n := b.scaled(connections)
	var rows []Row
	for _, l := range []struct {
		rooms   int
		deflate bool
		start   starter
	}{
		{min(n, 100), false, startFloor(false)},
		{min(n, 100), false, startApart(1)},
		{min(n, 100), true, startApart(1)},
		{n, false, startApart(1)},
		{n, true, startApart(1)},
	} {
		row, err := b.leaveAlone(ctx, n, l.rooms, l.deflate, l.start)
		if err != nil {
			return nil, err
		}
		b.progress("idle", row)
		rows = append(rows, row)
	}
	return rows, nil
}

// leaveAlone reads the memory of idle connections: what the gateway's process
// has more with them than before.
func (b *bench) leaveAlone(ctx context.Context, n, rooms int, deflate bool, start starter) (row Row, err error) {
	if err := checkFiles(n); err != nil {
		return Row{}, err
	}
	d, err := start(ctx, b)
	if err != nil {
		return Row{}, err
	}
	defer d.stop()
	row = Row{Load: fmt.Sprintf("%s in %s rooms", thousands(n), thousands(rooms)), Server: d.name}
	if deflate {
		row.Load += ", deflate"
	}
	before, err := d.memory()
	if err != nil {
		return row, err
	}
	c, err := b.newLoad(d, load.Options{Rooms: rooms, Deflate: deflate})
	if err != nil {
		return row, err
	}
	defer c.Close()
	if err := c.Connect(ctx, inTurn(n, rooms), true); err != nil {
		return row, fmt.Errorf("%s: %w", row.Load, err)
	}
	m, err := d.meter()
	if err != nil {
		return row, err
	}
	if err := c.Run(ctx, b.opts.Settle); err != nil {
		return row, fmt.Errorf("%s: %w", row.Load, err)
	}
	used, err := m.read()
	if err != nil {
		return row, err
	}
	if len(d.processes) > 0 {
		after, err := d.memory()
		if err != nil {
			return row, err
		}
		row.Memory = &Memory{Before: before, After: after, PerConnection: (after - before) / int64(n)}
	}
	row.LoadCores = used.cores()
	row.Faults = c.Verdict()
	return row, nil
}

// inTurn spreads connections over rooms.
func inTurn(n, rooms int) []int {
	members := make([]int, n)
	for i := range members {
		members[i] = i % rooms
	}
	return members
}

func storm(b *bench, ctx context.Context) ([]Row, error) {
	n := b.scaled(connections)
	if err := checkFiles(n); err != nil {
		return nil, err
	}
	var rows []Row
	for _, start := range []starter{startFloor(false), startServe} {
		row, err := b.rush(ctx, n, start)
		if err != nil {
			return nil, err
		}
		b.progress("storm", row)
		rows = append(rows, row)
	}
	return rows, nil
}

func (b *bench) rush(ctx context.Context, n int, start starter) (row Row, err error) {
	d, err := start(ctx, b)
	if err != nil {
		return Row{}, err
	}
	defer d.stop()
	rooms := min(n, 100)
	row = Row{Load: fmt.Sprintf("%s in %s rooms", thousands(n), thousands(rooms)), Server: d.name}
	c, err := b.newLoad(d, load.Options{Rooms: rooms, InProgress: 512})
	if err != nil {
		return row, err
	}
	defer c.Close()
	if err := c.Prepare(n); err != nil {
		return row, err
	}
	m, err := d.meter()
	if err != nil {
		return row, err
	}
	if err := c.Connect(ctx, inTurn(n, rooms), true); err != nil {
		return row, err
	}
	return row, row.joined(c, m, n)
}

// joined fills in what joins took.
func (r *Row) joined(c *load.Client, m *meter, n int) error {
	used, err := m.read()
	if err != nil {
		return err
	}
	counts := c.Take()
	r.Took, r.Joins, r.JoinsPerSecond = used.took, &counts.Joins, float64(n)/used.took.Seconds()
	r.JoinCPU, r.LoadCores = used.each(int64(n), m.d), used.cores()
	return nil
}

func joinHistory(b *bench, ctx context.Context) ([]Row, error) {
	d, err := startServe(ctx, b)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	members, joining := b.scaled(100), b.scaled(5000)
	row := Row{Load: fmt.Sprintf("%s join %s members, 20 messages/s", thousands(joining), thousands(members)), Server: d.name}
	c, err := b.newLoad(d, load.Options{Rooms: 1, History: 50, InProgress: 32})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Connect(ctx, slices.Repeat([]int{0}, members), true); err != nil {
		return nil, err
	}
	c.Begin(load.Traffic{OnTheirWay: 8})
	if err := c.Run(ctx, time.Second); err != nil { // long enough for 50 messages
		return nil, err
	}
	if err := c.Connect(ctx, slices.Repeat([]int{0}, joining), false); err != nil {
		return nil, err
	}
	c.Begin(load.Traffic{Rate: 20})
	c.Take()
	m, err := d.meter()
	if err != nil {
		return nil, err
	}
	if err := c.Join(ctx); err != nil {
		return nil, err
	}
	if err := row.joined(c, m, joining); err != nil {
		return nil, err
	}
	if err := c.Settle(ctx, settlePatience); err != nil {
		return nil, err
	}
	row.Faults = c.Verdict()
	b.progress("join-history", row)
	return []Row{row}, nil
}
