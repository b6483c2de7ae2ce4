package check

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// logReaders is how many connections read the logs at the end.
const logReaders = 4

// readLogs reads what the log holds of every room.
func (r *run) readLogs(ctx context.Context) []Log {
	r.say("reading the logs")
	logs := make([]Log, r.opts.Rooms)
	rooms := make(chan int)
	var wg sync.WaitGroup
	for i := range min(logReaders, r.opts.Rooms) {
		wg.Go(func() {
			reader := &logReader{run: r, index: i, account: &account{
				name: r.names.user(len(r.clients) + i), secret: r.opts.Secret, password: r.opts.Password,
			}}
			defer reader.close()
			for room := range rooms {
				logs[room] = reader.read(ctx, room)
			}
		})
	}
	for room := range logs {
		rooms <- room
	}
	close(rooms)
	wg.Wait()
	return logs
}

// logReader is a client that only asks for history.
type logReader struct {
	run     *run
	index   int
	account *account
	link    *link // nil where there is none
}

func (l *logReader) close() {
	if l.link != nil {
		l.link.goodbye()
	}
}

// read reads a room's log, page by page.
func (l *logReader) read(ctx context.Context, room int) Log {
	var log Log
	var after uint64
	for failures := 0; ; {
		page, err := l.page(ctx, room, after)
		if err != nil {
			if l.link != nil {
				l.link.cut()
				l.link = nil
			}
			if failures++; failures > 20 || ctx.Err() != nil {
				l.run.violated(Violation{Kind: Refused, Room: l.run.names.room(room), Client: -1, Seq: after,
					Detail: "the log could not be read: " + err.Error()})
				return Log{Unread: true}
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		failures = 0
		for _, f := range page.Messages {
			if entry, ok := l.entry(room, f); ok {
				log.Entries = append(log.Entries, entry)
				after = max(after, entry.Seq)
			}
		}
		if !page.HasMore {
			return log
		}
		if len(page.Messages) == 0 {
			l.run.violated(Violation{Kind: Hole, Room: l.run.names.room(room), Client: -1, Seq: after, Detail: "an empty page, and more to come"})
			return log
		}
	}
}

// entry judges a message of the log.
func (l *logReader) entry(room int, f *wirev1.ServerFrame) (Entry, bool) {
	m := f.GetChatMessage()
	if m == nil {
		m = f.GetRoomMessage()
	}
	k, ok := Key(0), false
	if m != nil && m.RoomId == l.run.names.room(room) {
		k, ok = l.run.judge(m, f.GetId())
	}
	if !ok {
		l.run.violated(Violation{Kind: Changed, Room: l.run.names.room(room), Client: -1, Seq: uint64(m.GetSeq()),
			Detail: fmt.Sprintf("the log holds what was not sent: id %q", f.GetId())})
		return Entry{Seq: uint64(m.GetSeq())}, false
	}
	return Entry{Seq: uint64(m.Seq), Key: k}, true
}

func (l *logReader) page(ctx context.Context, room int, after uint64) (*wirev1.MessageHistory, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	if l.link == nil {
		if err := l.connect(ctx); err != nil {
			return nil, err
		}
	}
	answer, err := l.link.ask(ctx, "history", &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetHistory{GetHistory: &wirev1.GetHistory{
		RoomId: l.run.names.room(room), Limit: proto.Int32(1000), After: proto.Int64(int64(after)),
	}}})
	if err != nil {
		return nil, fmt.Errorf("get-history: %w", err)
	}
	if answer.GetMessageHistory() == nil {
		return nil, fmt.Errorf("get-history answered %v", answer)
	}
	return answer.GetMessageHistory(), nil
}

func (l *logReader) connect(ctx context.Context) error {
	url := l.run.opts.URLs[l.index%len(l.run.opts.URLs)]
	l.index++ // another one the next time
	token, err := l.account.bearer(ctx, url)
	if err != nil {
		return err
	}
	if l.link, err = dial(ctx, url, frame.Proto); err != nil {
		return err
	}
	answer, err := l.link.ask(ctx, idAuth, &wirev1.ClientFrame{Request: &wirev1.ClientFrame_Auth{Auth: &wirev1.Auth{Token: token}}})
	if err == nil && answer.GetAuthSuccess() == nil {
		err = errors.New("auth was refused")
	}
	return err
}
