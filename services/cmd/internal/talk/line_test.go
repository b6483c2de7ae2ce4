package talk

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	parley "github.com/parley-im/parley/pkg/sdk-go"
)

// What strangers say moves no cursor, and a text of several lines does not look
// like another's words.
func TestText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	bob := parley.User{ID: "u", Username: "bob\x1b[2J"}
	for _, c := range []struct {
		event parley.Event
		want  string
	}{
		{parley.Message{Time: at, User: bob, Content: "one\r\n03:04 eve: two\x07\n"}, "03:04 bob�[2J: one\n    03:04 eve: two�"},
		{parley.Message{Time: at, User: bob, Data: json.RawMessage(`{"a":1}`)}, `03:04 bob�[2J: {"a":1}`},
		{parley.Edited{Time: at, User: bob, Target: 7, Content: "x"}, "03:04 bob�[2J has edited 7: x"},
		{parley.Deleted{Time: at, User: bob, Target: 7}, "03:04 bob�[2J has deleted 7"},
		{parley.Gap{Room: "r", OldestSeq: 9}, "* room r: messages are missing, its log begins at 9"},
		{parley.Joined{User: bob}, "* bob�[2J is here"},
		{parley.Left{User: bob}, "* bob�[2J has gone"},
		{parley.Signal{User: bob, Name: "typing"}, ""},
	} {
		if got := asText(c.event, "15:04"); got != c.want {
			t.Errorf("%T is %q, want %q", c.event, got, c.want)
		}
	}
}

// A line of JSON has the names of the protocol, and all that an event says.
func TestJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	bob := parley.User{ID: "u", Username: "bob"}
	for _, c := range []struct {
		event parley.Event
		want  string
	}{
		{parley.Message{Room: "r", Seq: 7, ID: "m", User: bob, Content: "<a>", Data: json.RawMessage(`[1]`), Time: at},
			`{"type":"chat-message","roomId":"r","seq":7,"id":"m","user":{"id":"u","username":"bob"},"content":"<a>","data":[1],"timestamp":"2026-01-02T03:04:05.006Z"}`},
		{parley.Deleted{Room: "r", Seq: 8, Target: 7, User: bob, Time: at},
			`{"type":"message-deleted","roomId":"r","seq":8,"target":7,"user":{"id":"u","username":"bob"},"timestamp":"2026-01-02T03:04:05.006Z"}`},
		{parley.Gap{Room: "r", OldestSeq: 9}, `{"type":"gap","roomId":"r","oldestSeq":9}`},
		{parley.Stats{Room: "r"}, ""},
	} {
		var b strings.Builder
		if err := newWriter(&b, true).write(c.event); err != nil || strings.TrimSuffix(b.String(), "\n") != c.want {
			t.Errorf("%T is %s (%v), want %s", c.event, b.String(), err, c.want)
		}
	}
}
