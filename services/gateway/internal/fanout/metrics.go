package fanout

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
)

func (h *Hub) observe(meter metric.Meter) error {
	var err, err1, err2, err3, err4, err5, err6, err7, err8 error
	h.latency, err = meter.Float64Histogram("parley.gateway.delivery.latency",
		metric.WithUnit("s"), metric.WithDescription("From taking a message in on its gateway to handing it to this one's members."))
	counter := func(name, unit, help string, v interface{ Load() int64 }) error {
		_, err := meter.Int64ObservableCounter(name, metric.WithDescription(help), metric.WithUnit(unit),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(v.Load())
				return nil
			}))
		return err
	}
	err1 = counter("parley.gateway.deliveries", "{message}", "Stored messages handed to members.", &h.deliveries)
	err2 = counter("parley.gateway.room.holes", "{hole}", "Holes found in the chain of a room's messages.", &h.holes)
	err3 = counter("parley.gateway.room.filled", "{message}", "Messages that were read from the log to fill a hole.", &h.filled)
	err4 = counter("parley.gateway.room.repeats", "{message}", "Messages that came again and were passed over.", &h.repeats)
	err6 = counter("parley.gateway.room.gaps", "{hole}", "Holes that could not be filled, for the log had dropped the messages; the room's members were sent to recover.", &h.gaps)
	gauge := func(name, help, unit string, v *atomic.Int64) error {
		_, err := meter.Int64ObservableGauge(name, metric.WithDescription(help), metric.WithUnit(unit),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(v.Load())
				return nil
			}))
		return err
	}
	err5 = gauge("parley.gateway.rooms", "Rooms with members on this gateway.", "{room}", &h.rooms)
	err7 = gauge("parley.gateway.recent.bytes", "Newest messages of all rooms, held for who joins.", "By", &h.remembered)
	err8 = gauge("parley.gateway.held.bytes", "Messages held back while holes before them are read from the log, at most 1 MiB for each room.", "By", &h.heldBytes)
	return errors.Join(err, err1, err2, err3, err4, err5, err6, err7, err8)
}
