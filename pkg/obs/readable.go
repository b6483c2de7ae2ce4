package obs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// readable is a slog handler for people: "15:04:05.000 INFO  message key=value".
//
// The attributes are written by a slog.TextHandler, which knows about groups and quoting (a name chosen by a client
// must not move the cursor); what it writes for level and message is taken out by ReplaceAttr.
type readable struct {
	attrs slog.Handler // writes to line.buffer
	line  *line
}

// line is shared by all handlers derived from one.
type line struct {
	sync.Mutex
	w      io.Writer
	buffer bytes.Buffer
}

// placeholder is the message that the attributes' handler is given: nothing that anyone would log as "msg".
const placeholder = "\x00"

func newReadable(w io.Writer, least slog.Level) *readable {
	l := &line{w: w}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		if a.Key == slog.MessageKey && a.Value.Kind() == slog.KindString && a.Value.String() == placeholder {
			return slog.Attr{}
		}
		if _, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}
	return &readable{slog.NewTextHandler(&l.buffer, &slog.HandlerOptions{Level: least, ReplaceAttr: drop}), l}
}

func (h *readable) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

func (h *readable) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &readable{h.attrs.WithAttrs(attrs), h.line}
}

func (h *readable) WithGroup(name string) slog.Handler {
	return &readable{h.attrs.WithGroup(name), h.line}
}

func (h *readable) Handle(ctx context.Context, r slog.Record) error {
	// Without a time the attributes' handler writes none.
	attrs := slog.NewRecord(time.Time{}, r.Level, placeholder, r.PC)
	r.Attrs(func(a slog.Attr) bool { attrs.AddAttrs(a); return true })

	b := &h.line.buffer
	h.line.Lock()
	defer h.line.Unlock()
	b.Reset()
	if !r.Time.IsZero() {
		b.Write(r.Time.AppendFormat(b.AvailableBuffer(), "15:04:05.000 "))
	}
	fmt.Fprintf(b, "%-5s %s", r.Level, printable(r.Message))
	head := b.Len()
	b.WriteByte(' ')
	if err := h.attrs.Handle(ctx, attrs); err != nil {
		return err
	}
	if b.Len() == head+len(" \n") { // no attributes
		b.Truncate(head)
		b.WriteByte('\n')
	}
	_, err := h.line.w.Write(b.Bytes())
	return err
}

// printable quotes a message that would do more to a terminal than show itself.
func printable(message string) string {
	for _, r := range message {
		if !strconv.IsPrint(r) {
			return strconv.Quote(message)
		}
	}
	return message
}
