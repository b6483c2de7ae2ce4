package talk

import (
	"context"
	"errors"
	"os"

	"github.com/parley-im/parley/pkg/config"
	parley "github.com/parley-im/parley/pkg/sdk-go"
)

const aboutTail = `Writes what is said in a room as it comes, each message once and in order, over reconnects.

  parley tail general
  parley tail general --from 1 --follow=false       everything that the log has
  parley tail orders --json --count 1 | jq .data    the next one, and no more (--history 0 leaves out earlier ones)`

// tail is what parley tail is told.
type tail struct {
	from    int64
	history int
	count   int
	json    bool
	follow  bool
	events  bool
}

// Tail is parley tail.
func Tail(ctx context.Context, args []string) error {
	var a account
	o := tail{history: 10, follow: true}
	operands, run, err := load("tail", aboutTail, "ROOM", args, &a, func(s *config.Set) {
		s.Section("What to write")
		s.Int64(&o.from, "from", "the seq to begin with; 0 is with the newest").Check(func() error { return notNegative(o.from) })
		s.Int(&o.history, "history", "how many of the newest come first, up to 1000, unless from is given").Check(func() error {
			if o.history < 0 || o.history > 1000 {
				return errors.New("want 0 to 1000")
			}
			return nil
		})
		s.Int(&o.count, "count", "end after so many messages; 0 is never").Check(func() error { return notNegative(int64(o.count)) })
		s.Bool(&o.follow, "follow", "wait for more at the end of the log")
		s.Bool(&o.events, "events", "also who comes and goes, and signals")
		s.Bool(&o.json, "json", "one JSON object a line, as in the protocol: chat-message, message-edited, message-deleted, gap")
	})
	if !run {
		return err
	}
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	room := client.Room(operands[0])
	if o.follow {
		return a.outcome(o.live(ctx, room))
	}
	return a.outcome(o.past(ctx, room))
}

func notNegative(n int64) error {
	if n < 0 {
		return errors.New("want 0 or more")
	}
	return nil
}

// live writes what comes.
func (o *tail) live(ctx context.Context, room *parley.Room) error {
	join := parley.JoinOptions{History: o.history}
	if o.history == 0 {
		join.History = -1
	}
	if o.from > 0 {
		join.After = &parley.Position{Seq: o.from - 1}
	}
	if err := room.Join(ctx, join); err != nil {
		return err
	}
	w := newWriter(os.Stdout, o.json)
	messages := 0
	for e, err := range room.Events(ctx) {
		if err != nil {
			return err
		}
		if !o.wanted(e) {
			continue
		}
		if err := w.write(e); err != nil {
			return err
		}
		if _, ok := e.(parley.Message); ok {
			if messages++; messages == o.count {
				return nil
			}
		}
	}
	return nil
}

// wanted tells whether an event is to be written.
func (o *tail) wanted(e parley.Event) bool {
	switch e.(type) {
	case parley.Message, parley.Edited, parley.Deleted, parley.Gap:
		return true
	}
	return o.events
}

// past writes what the log has.
func (o *tail) past(ctx context.Context, room *parley.Room) error {
	w := newWriter(os.Stdout, o.json)
	page := parley.Page{Limit: o.history}
	if o.from > 0 {
		page = parley.Page{Limit: 1000, After: new(o.from - 1)}
	}
	if page.Limit == 0 {
		return nil
	}
	messages := 0
	for {
		h, err := room.History(ctx, page)
		if err != nil {
			return err
		}
		for _, e := range h.Events {
			if err := w.write(e); err != nil {
				return err
			}
			page.After = new(seq(e))
			if _, ok := e.(parley.Message); ok {
				if messages++; messages == o.count {
					return nil
				}
			}
		}
		if o.from == 0 || !h.More || len(h.Events) == 0 {
			return nil
		}
	}
}

// seq is the place of an entry of a log.
func seq(e parley.Event) int64 {
	switch e := e.(type) {
	case parley.Message:
		return e.Seq
	case parley.Edited:
		return e.Seq
	case parley.Deleted:
		return e.Seq
	}
	return 0
}
