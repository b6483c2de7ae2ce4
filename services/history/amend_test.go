package history_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/history"
)

var bob = &wirev1.User{Id: "u2", Username: "bob"}

func (r *running) edit(t *testing.T, id string, target uint64, content string) *historyv1.AmendResponse {
	t.Helper()
	answer, err := r.EditMessage(t.Context(), &historyv1.EditMessageRequest{
		RoomId: "general", Id: id, Target: target, Content: content, User: ada,
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (r *running) delete(t *testing.T, id string, target uint64) *historyv1.AmendResponse {
	t.Helper()
	answer, err := r.DeleteMessage(t.Context(), &historyv1.DeleteMessageRequest{
		RoomId: "general", Id: id, Target: target, User: ada,
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// log gives all that the log holds of the room, as it is stored.
func (r *running) log(t *testing.T) []bus.Stored {
	t.Helper()
	page, err := r.bus.ReadAfter(t.Context(), "general", 0, bus.MaxPage, 0)
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

func (r *running) wantGone(t *testing.T, text string) {
	t.Helper()
	for _, s := range r.log(t) {
		if strings.Contains(s.Entry.GetContent(), text) {
			t.Errorf("%d still says %q", s.Seq, s.Entry.GetContent())
		}
	}
}

func code(t *testing.T, what string, err error, want errs.Code) {
	t.Helper()
	if got := errs.CodeOf(err); got != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestEdit(t *testing.T) {
	r := start(t, history.Options{})
	seqs := r.publish(t, "general", 0, 2)
	first := r.edit(t, "e1", seqs[0], "better")
	if first.Seq <= seqs[1] || first.Duplicate || first.Timestamp == nil {
		t.Errorf("edited: %v", first)
	}
	if again := r.edit(t, "e1", seqs[0], "something else"); again.Seq != first.Seq || !again.Duplicate {
		t.Errorf("edited again: %v, want a duplicate at %d", again, first.Seq)
	}
	page, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"})
	if err != nil || len(page.Messages) != 3 {
		t.Fatalf("history: %v, %v", page, err)
	}
	entry := page.Messages[2]
	if entry.Kind != historyv1.Message_KIND_EDIT || entry.Target != seqs[0] || entry.GetContent() != "better" || entry.Id != "e1" || entry.User.Id != "u1" {
		t.Errorf("the edit's entry is %v", entry)
	}
	if page.Messages[0].GetContent() != "0" {
		t.Errorf("the message itself has become %v", page.Messages[0])
	}
}

func TestDelete(t *testing.T) {
	r := start(t, history.Options{})
	seqs := r.publish(t, "general", 0, 1)
	r.edit(t, "", seqs[0], "secret, edited")
	other := r.publish(t, "general", 1, 1)
	r.edit(t, "", other[0], "stays")
	r.edit(t, "", seqs[0], "secret, edited again")

	first := r.delete(t, "d1", seqs[0])
	if first.Duplicate || first.Timestamp == nil {
		t.Errorf("deleted: %v", first)
	}
	if again := r.delete(t, "d1", seqs[0]); again.Seq != first.Seq || !again.Duplicate {
		t.Errorf("deleted again: %v, want a duplicate at %d", again, first.Seq)
	}
	r.wantGone(t, "secret")
	entries := r.log(t)
	if len(entries) != 3 || entries[0].Seq != other[0] || entries[1].Entry.GetContent() != "stays" || entries[2].Seq != first.Seq {
		t.Fatalf("the log has %v", entries)
	}
	if d := entries[2].Entry; d.Kind != busv1.LogEntry_KIND_DELETION || d.Target != seqs[0] || d.Content != nil || d.Erases < 3 {
		t.Errorf("the deletion's entry is %v", d)
	}
	if _, err := r.bus.Get(t.Context(), "general", seqs[0]); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the message: %v", err)
	}
	for name, f := range map[string]func() error{
		"another deletion": func() error {
			_, err := r.DeleteMessage(t.Context(), &historyv1.DeleteMessageRequest{RoomId: "general", Id: "d2", Target: seqs[0], User: ada})
			return err
		},
		"somebody else's of the same id": func() error {
			_, err := r.DeleteMessage(t.Context(), &historyv1.DeleteMessageRequest{RoomId: "general", Id: "d1", Target: seqs[0], User: bob})
			return err
		},
		"one without id": func() error {
			_, err := r.DeleteMessage(t.Context(), &historyv1.DeleteMessageRequest{RoomId: "general", Target: seqs[0], User: ada})
			return err
		},
		"an edit": func() error {
			_, err := r.EditMessage(t.Context(), &historyv1.EditMessageRequest{RoomId: "general", Target: seqs[0], User: ada, Content: "back"})
			return err
		},
	} {
		code(t, name+" of what is deleted", f(), errs.NotFound)
	}
}

func TestWhoMayAmendWhat(t *testing.T) {
	r := start(t, history.Options{MaxContent: 10})
	seqs := r.publish(t, "general", 0, 1)
	foreign := r.publish(t, "other", 0, 1)
	edited := r.edit(t, "", seqs[0], "x")
	withData, err := r.Publish(t.Context(), &historyv1.PublishRequest{RoomId: "general", User: ada, Data: []byte(`{"a":1}`), Id: "m1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    *historyv1.EditMessageRequest
		want errs.Code
	}{
		{"somebody else's", &historyv1.EditMessageRequest{Target: seqs[0], Content: "x", User: bob}, errs.Forbidden},
		{"a moderator's", &historyv1.EditMessageRequest{Target: seqs[0], Content: "x", User: bob, Moderator: true}, ""},
		{"no message", &historyv1.EditMessageRequest{Target: 1000, Content: "x", User: ada}, errs.NotFound},
		{"no message, for a stranger", &historyv1.EditMessageRequest{Target: 1000, Content: "x", User: bob}, errs.NotFound},
		{"another room's message", &historyv1.EditMessageRequest{Target: foreign[0], Content: "x", User: ada}, errs.NotFound},
		{"an edit", &historyv1.EditMessageRequest{Target: edited.Seq, Content: "x", User: ada}, errs.InvalidArgument},
		{"no target", &historyv1.EditMessageRequest{Content: "x", User: ada}, errs.InvalidArgument},
		{"a target beyond 2^53", &historyv1.EditMessageRequest{Target: 1<<53 + 1, Content: "x", User: ada}, errs.InvalidArgument},
		{"nobody", &historyv1.EditMessageRequest{Target: seqs[0], Content: "x"}, errs.InvalidArgument},
		{"too much", &historyv1.EditMessageRequest{Target: seqs[0], Content: "12345678901", User: ada}, errs.TooLarge},
		{"nothing", &historyv1.EditMessageRequest{Target: seqs[0], User: ada}, errs.InvalidArgument},
		{"nothing where there is data", &historyv1.EditMessageRequest{Target: withData.Seq, User: ada}, ""},
		{"an id that a message has", &historyv1.EditMessageRequest{Target: seqs[0], Content: "x", User: ada, Id: "m1"}, errs.InvalidArgument},
		{"a long id", &historyv1.EditMessageRequest{Target: seqs[0], Content: "x", User: ada, Id: strings.Repeat("x", 65)}, errs.InvalidArgument},
	} {
		c.r.RoomId = "general"
		_, err := r.EditMessage(t.Context(), c.r)
		code(t, "editing: "+c.name, err, c.want)
	}
	for _, c := range []struct {
		name string
		r    *historyv1.DeleteMessageRequest
		want errs.Code
	}{
		{"somebody else's", &historyv1.DeleteMessageRequest{Target: seqs[0], User: bob}, errs.Forbidden},
		{"an edit", &historyv1.DeleteMessageRequest{Target: edited.Seq, User: ada}, errs.InvalidArgument},
		{"an id that a message has", &historyv1.DeleteMessageRequest{Target: seqs[0], User: ada, Id: "m1"}, errs.InvalidArgument},
		{"a moderator's", &historyv1.DeleteMessageRequest{Target: seqs[0], User: bob, Moderator: true}, ""},
	} {
		c.r.RoomId = "general"
		_, err := r.DeleteMessage(t.Context(), c.r)
		code(t, "deleting: "+c.name, err, c.want)
		_, gone := r.bus.Get(t.Context(), "general", seqs[0])
		if (c.want == "") != errors.Is(gone, bus.ErrNotFound) {
			t.Errorf("deleting: %s: the message: %v", c.name, gone)
		}
	}
}

// A process may have ended between storing a deletion and erasing anything.
func TestDeletionIsFinishedLater(t *testing.T) {
	r := start(t, history.Options{})
	half := func(id string) (target, deletion uint64) {
		target = r.publish(t, "general", 0, 1)[0]
		r.edit(t, "", target, "0, edited")
		ack, err := r.bus.Publish(t.Context(), "general", ids.Message("general", "u1", id), &busv1.LogEntry{
			Kind: busv1.LogEntry_KIND_DELETION, Id: id, User: ada, Target: target, Erases: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		return target, ack.Seq
	}
	target, first := half("d1")
	if again := r.delete(t, "d1", target); again.Seq != first || !again.Duplicate {
		t.Errorf("repeated: %v, want a duplicate at %d", again, first)
	}
	r.wantGone(t, "0")

	// The message was erased, its edit not.
	target, second := half("d2")
	if err := r.bus.EraseEntry(t.Context(), "general", target); err != nil {
		t.Fatal(err)
	}
	if again := r.delete(t, "d2", target); again.Seq != second || !again.Duplicate {
		t.Errorf("repeated: %v, want a duplicate at %d", again, second)
	}
	r.wantGone(t, "0")

	// Nobody repeats it, but somebody reads.
	half("d3")
	page, err := r.ListMessages(t.Context(), &historyv1.ListMessagesRequest{RoomId: "general"})
	if err != nil || len(page.Messages) != 3 {
		t.Errorf("history: %v, %v, want the three deletions alone", page, err)
	}
	r.wantGone(t, "0")
}

// Whichever comes first, nothing of a deleted message stays.
func TestEditsBesideADeletion(t *testing.T) {
	r := start(t, history.Options{})
	for range 20 {
		target := r.publish(t, "general", 0, 1)[0]
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					_, err := r.EditMessage(t.Context(), &historyv1.EditMessageRequest{RoomId: "general", Target: target, Content: "secret", User: ada})
					if c := errs.CodeOf(err); err != nil && c != errs.NotFound {
						t.Errorf("editing: %v", err)
					}
				}
			})
		}
		wg.Go(func() {
			if _, err := r.DeleteMessage(t.Context(), &historyv1.DeleteMessageRequest{RoomId: "general", Target: target, User: ada}); err != nil {
				t.Errorf("deleting: %v", err)
			}
		})
		wg.Wait()
		for _, s := range r.log(t) {
			if s.Entry.Kind != busv1.LogEntry_KIND_DELETION {
				t.Fatalf("the log still has %v", s.Entry)
			}
		}
	}
}

func TestEditedMessageKeepsItsData(t *testing.T) {
	r := start(t, history.Options{})
	m, err := r.Publish(t.Context(), &historyv1.PublishRequest{RoomId: "general", User: ada, Content: proto.String("a"), Data: []byte(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	r.edit(t, "", m.Seq, "b")
	if got, err := r.bus.Get(t.Context(), "general", m.Seq); err != nil || string(got.Entry.Data) != "1" {
		t.Errorf("the message: %v, %v", got.Entry, err)
	}
}
