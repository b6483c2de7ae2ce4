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

func (l *connectionLog) Debug(what string, args ...any) { l.write(slog.LevelDebug, what, args) }
func (l *connectionLog) Info(what string, args ...any)  { l.write(slog.LevelInfo, what, args) }
func (l *connectionLog) Warn(what string, args ...any)  { l.write(slog.LevelWarn, what, args) }
func (l *connectionLog) Error(what string, args ...any) { l.write(slog.LevelError, what, args) }

func (l *connectionLog) write(level slog.Level, what string, args []any) {
	if l.to.Enabled(context.Background(), level) {
		l.to.With("connection", l.connection).Log(context.Background(), level, what, args...)
	}
}
