package fanout

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

func TestRecentForgetsWhatIsDeleted(t *testing.T) {
	const message, edit, deletion = busv1.LogEntry_KIND_CHAT_MESSAGE, busv1.LogEntry_KIND_EDIT, busv1.LogEntry_KIND_DELETION
	type step struct {
		kind   busv1.LogEntry_Kind
		target uint64
	}
	for _, c := range []struct {
		name  string
		steps []step // their seqs count from 1
		want  string
	}{
		{"a message", []step{{message, 0}, {message, 0}, {deletion, 1}}, "[2 3]"},
		{"with its edits", []step{{message, 0}, {edit, 1}, {message, 0}, {edit, 3}, {edit, 1}, {deletion, 1}}, "[3 4 6]"},
		{"an edit that comes late", []step{{message, 0}, {deletion, 1}, {edit, 1}, {message, 0}}, "[2 4]"},
		{"what is not in memory", []step{{message, 0}, {deletion, 100}}, "[1 2]"},
		{"twice", []step{{message, 0}, {deletion, 1}, {deletion, 1}}, "[2 3]"},
	} {
		var r recent
		for i, s := range c.steps {
			r.add(bus.Stored{Seq: uint64(i + 1), Entry: &busv1.LogEntry{Kind: s.kind, Target: s.target, Content: proto.String("x")}}, recentEntries)
		}
		var got []uint64
		bytes := 0
		for _, s := range r.entries {
			got = append(got, s.Seq)
			bytes += entrySize(s)
		}
		if fmt.Sprint(got) != c.want || r.bytes != bytes || r.floor != 0 {
			t.Errorf("%s: %v with %d bytes above %d, want %s with %d above 0", c.name, got, r.bytes, r.floor, c.want, bytes)
		}
	}
}

func TestDeletionsCountForWhatTheyErase(t *testing.T) {
	page := bus.Page{Entries: []bus.Stored{
		{Entry: &busv1.LogEntry{}}, {Entry: &busv1.LogEntry{Kind: busv1.LogEntry_KIND_DELETION, Erases: 9}},
	}}
	for retention, want := range map[int64]bool{11: false, 12: true} {
		if got := holdAll(size(page), bus.LogConfig{Retention: retention}, time.Time{}); got != want {
			t.Errorf("with a retention of %d: %t, want %t", retention, got, want)
		}
	}
}
