package session

import (
	"context"
	"log/slog"
)

// connectionLog writes lines that name a connection. A logger of its own would
// cost each connection 300 bytes; few lines are written.
type connectionLog struct {
	to         *slog.Logger
	connection string // its id
}

func (l *connectionLog) debugging() bool { return l.to.Enabled(context.Background(), slog.LevelDebug) }

func (l *connectionLog) Debug(what string, args ...any) {
	l.of(context.Background(), slog.LevelDebug, what, args...)
}
func (l *connectionLog) Info(what string, args ...any) {
	l.of(context.Background(), slog.LevelInfo, what, args...)
}
func (l *connectionLog) Warn(what string, args ...any) {
	l.of(context.Background(), slog.LevelWarn, what, args...)
}
func (l *connectionLog) Error(what string, args ...any) {
	l.of(context.Background(), slog.LevelError, what, args...)
}

// of writes a line about a request, whose trace ctx tells.
func (l *connectionLog) of(ctx context.Context, level slog.Level, what string, args ...any) {
	if l.to.Enabled(ctx, level) {
		l.to.With("connection", l.connection).Log(ctx, level, what, args...)
	}
}
