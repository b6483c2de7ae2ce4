package obs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// NewLogger returns a logger that writes to w.
//
// The level is the least one written: debug, info, warn or error. The format is json (one JSON object per line), text
// (one readable line each), or auto: text when w is a terminal, else json. Empty means info and auto.
// Durations are written with their unit ("1.5s") in both. A line whose context belongs to a trace has trace_id and span_id.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	switch level {
	case "debug":
		least = slog.LevelDebug
	case "", "info":
	case "warn":
		least = slog.LevelWarn
	case "error":
		least = slog.LevelError
	default:
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	switch format {
	case "json":
	case "text":
		return slog.New(withTrace{newReadable(w, least)}), nil
	case "", "auto":
		if terminal(w) {
			return slog.New(withTrace{newReadable(w, least)}), nil
		}
	default:
		return nil, fmt.Errorf("log format %q: want auto, json or text", format)
	}
	return slog.New(withTrace{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: withUnit})}), nil
}

// withUnit writes durations as the text format does; slog's JSON has bare nanoseconds.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// terminal reports whether w is a character device. So is /dev/null, where nobody minds the format.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
