package talk

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	parley "github.com/parley-im/parley/pkg/sdk-go"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// line is an event of a room as JSON, one a line. Its names are those of the
// protocol.
type line struct {
	Type        string          `json:"type"`
	Room        string          `json:"roomId"`
	Seq         int64           `json:"seq,omitempty"`
	ID          string          `json:"id,omitempty"`
	Target      int64           `json:"target,omitempty"`
	User        *person         `json:"user,omitempty"`
	Content     string          `json:"content,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	Event       string          `json:"event,omitempty"`
	OldestSeq   int64           `json:"oldestSeq,omitempty"`
	MemberCount int64           `json:"memberCount,omitempty"`
	Timestamp   string          `json:"timestamp,omitempty"`
}

type person struct {
	ID       string `json:"id,omitempty"`
	Username string `json:"username"`
}

func who(u parley.User) *person { return &person{u.ID, u.Username} }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// asJSON gives an event as a line; false for those that are none.
func asJSON(e parley.Event) (line, bool) {
	switch e := e.(type) {
	case parley.Message:
		return line{Type: "chat-message", Room: e.Room, Seq: e.Seq, ID: e.ID, User: who(e.User), Content: e.Content, Data: e.Data, Timestamp: stamp(e.Time)}, true
	case parley.Edited:
		return line{Type: "message-edited", Room: e.Room, Seq: e.Seq, Target: e.Target, User: who(e.User), Content: e.Content, Timestamp: stamp(e.Time)}, true
	case parley.Deleted:
		return line{Type: "message-deleted", Room: e.Room, Seq: e.Seq, Target: e.Target, User: who(e.User), Timestamp: stamp(e.Time)}, true
	case parley.Gap:
		return line{Type: "gap", Room: e.Room, OldestSeq: e.OldestSeq}, true
	case parley.Joined:
		return line{Type: "user-joined", Room: e.Room, User: who(e.User), MemberCount: e.MemberCount}, true
	case parley.Left:
		return line{Type: "user-left", Room: e.Room, User: who(e.User), MemberCount: e.MemberCount}, true
	case parley.Signal:
		return line{Type: "signal", Room: e.Room, User: who(e.User), Event: e.Name, Data: e.Data}, true
	}
	return line{}, false
}

// asText gives an event for people; "" for those that nobody is told.
func asText(e parley.Event, clock string) string {
	at := func(t time.Time) string { return t.Local().Format(clock) + " " }
	switch e := e.(type) {
	case parley.Message:
		text := e.Content
		if e.Data != nil {
			text = strings.TrimSpace(text + " " + string(e.Data))
		}
		return at(e.Time) + name(e.User) + ": " + paragraph(text)
	case parley.Edited:
		return fmt.Sprintf("%s%s has edited %d: %s", at(e.Time), name(e.User), e.Target, paragraph(e.Content))
	case parley.Deleted:
		return fmt.Sprintf("%s%s has deleted %d", at(e.Time), name(e.User), e.Target)
	case parley.Gap:
		return "* " + e.Error()
	case parley.Joined:
		return "* " + name(e.User) + " is here"
	case parley.Left:
		return "* " + name(e.User) + " has gone"
	}
	return ""
}

func name(u parley.User) string { return shell.Printable(u.Username) }

// paragraph keeps the lines of a text, all but the first moved in.
func paragraph(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = shell.Printable(strings.TrimRight(l, "\r"))
	}
	return strings.Join(lines, "\n    ")
}

// writer writes events of a room.
type writer struct {
	json *json.Encoder // nil for text
	out  io.Writer
}

func newWriter(out io.Writer, asJSON bool) *writer {
	w := &writer{out: out}
	if asJSON {
		w.json = json.NewEncoder(out)
		w.json.SetEscapeHTML(false)
	}
	return w
}

// write writes an event, if it is one that is written.
func (w *writer) write(e parley.Event) error {
	if w.json != nil {
		l, ok := asJSON(e)
		if !ok {
			return nil
		}
		return w.json.Encode(l)
	}
	text := asText(e, "2006-01-02 15:04:05")
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintln(w.out, text)
	return err
}
