// Package obs makes a program observable: its logger, its metrics, and the admin HTTP server that shows health,
// readiness, metrics and profiles.
//
// Loggers and meters are made once, by the program, and passed to whoever needs them; nothing here is global. A service
// takes a *slog.Logger and a metric.Meter; where there is nothing to observe with, pass slog.New(slog.DiscardHandler)
// and [Noop].
//
// The package owns the formats of logs, the names and buckets that metrics get by default, and the paths of the admin
// port. It must not know any service: what is healthy or ready is told by the [Check] functions given to it.
package obs
