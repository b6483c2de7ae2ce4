package talk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/parley-im/parley/pkg/config"
	parley "github.com/parley-im/parley/pkg/sdk-go"
)

const aboutSend = `Says something in a room, and ends when the log has it.

Without TEXT each line of standard input is a message. A connection that breaks meanwhile is made again, and each message is
stored once. With --id, that holds over several runs, too: the same id within 2 minutes is the same message.

  parley send general "the release is out"
  tail -F app.log | parley send logs
  parley send orders --id order-17 --data '{"boxes":2}' shipped`

// ahead is how many lines of standard input are under way at most.
const ahead = 64

// Send is parley send.
func Send(ctx context.Context, args []string) error {
	var a account
	var id, data string
	var asJSON bool
	operands, run, err := load("send", aboutSend, "ROOM [TEXT…]", args, &a, func(s *config.Set) {
		s.Section("The message")
		s.String(&id, "id", "what to call the message, 1 to 64 bytes; a random one when it is empty")
		s.String(&data, "data", "JSON to send beside the text, or instead").Check(func() error {
			if data != "" && !json.Valid([]byte(data)) {
				return errors.New("want JSON")
			}
			return nil
		})
		s.Bool(&asJSON, "json", "write the ack of each message as a line of JSON")
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
	if err := room.Join(ctx, parley.JoinOptions{History: -1}); err != nil {
		return a.outcome(err)
	}
	s := sender{room: room, out: newWriter(os.Stdout, asJSON)}
	text := strings.Join(operands[1:], " ")
	if text == "" && data == "" {
		err = s.lines(ctx, os.Stdin)
	} else {
		draft := parley.Draft{ID: id, Content: text}
		if data != "" {
			draft.Data = json.RawMessage(data)
		}
		if err = s.queue(ctx, draft); err == nil {
			err = s.wait(ctx, 0)
		}
	}
	return a.outcome(err)
}

// sender sends messages in their order, some of them ahead of the acks.
type sender struct {
	room    *parley.Room
	out     *writer
	waiting []*parley.Outgoing
}

// lines sends each line.
func (s *sender) lines(ctx context.Context, in io.Reader) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		text := strings.TrimRight(strings.ToValidUTF8(scanner.Text(), "�"), "\r")
		if text == "" {
			continue
		}
		if err := s.queue(ctx, parley.Draft{Content: text}); err != nil {
			return fmt.Errorf("before line %d: %w", n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return s.wait(ctx, 0)
}

func (s *sender) queue(ctx context.Context, d parley.Draft) error {
	if err := s.wait(ctx, ahead-1); err != nil {
		return err
	}
	o, err := s.room.Queue(d)
	if err == nil {
		s.waiting = append(s.waiting, o)
	}
	return err
}

// wait waits until no more than most are under way.
func (s *sender) wait(ctx context.Context, most int) error {
	for len(s.waiting) > most {
		ack, err := s.waiting[0].Wait(ctx)
		if err != nil {
			return err
		}
		s.waiting = s.waiting[1:]
		if s.out.json != nil {
			if err := s.out.json.Encode(told(s.room.ID(), ack)); err != nil {
				return err
			}
		}
	}
	return nil
}

// acked is an ack as JSON, with the names of the protocol.
type acked struct {
	Type       string `json:"type"`
	Room       string `json:"roomId"`
	ID         string `json:"id"`
	Seq        int64  `json:"seq"`
	Timestamp  string `json:"timestamp,omitempty"`
	Duplicate  bool   `json:"duplicate"`
	Durability string `json:"durability,omitempty"`
	Synced     bool   `json:"synced,omitempty"`
}

func told(room string, a parley.Ack) acked {
	t := acked{Type: "ack", Room: room, ID: a.ID, Seq: a.Seq, Duplicate: a.Duplicate, Durability: a.Durability, Synced: a.Synced}
	if !a.Time.IsZero() {
		t.Timestamp = stamp(a.Time)
	}
	return t
}
