package talk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	parley "github.com/parley-im/parley/pkg/sdk-go"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// slash is a command of a chat; usage and about are what /help says.
type slash struct {
	usage, about string
	run          func(c *chat, ctx context.Context, rest string) error
}

var errQuit = errors.New("quit")

// slashes are the commands, by what is typed behind the slash.
var slashes = []slash{
	{"members", "who is here", (*chat).members},
	{"history N", "the newest N messages again, with their places", (*chat).history},
	{"edit SEQ TEXT", "give a message of yours another text", (*chat).edit},
	{"delete SEQ", "take a message back", (*chat).delete},
	{"status online|away|busy TEXT", "how available you are", (*chat).status},
	{"quit", "leave (so does the end of the input)", func(*chat, context.Context, string) error { return errQuit }},
}

// patience is how long a command of a chat may take.
const patience = 15 * time.Second

// typedLine says a line, or does what it asks for; false ends the chat.
func (c *chat) typedLine(ctx context.Context, text string, said chan<- *parley.Outgoing) (again bool, err error) {
	text = strings.TrimSpace(text)
	word, isCommand := strings.CutPrefix(text, "/")
	switch {
	case text == "":
		return true, nil
	case !isCommand:
		return true, c.say(text, said)
	case strings.HasPrefix(word, "/"): // a message that begins with a slash
		return true, c.say(word, said)
	}
	word, rest, _ := strings.Cut(word, " ")
	for _, s := range slashes {
		if name, _, _ := strings.Cut(s.usage, " "); name != word {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := s.run(c, ctx, strings.TrimSpace(rest))
		if errors.Is(err, errQuit) {
			return false, nil
		}
		return true, err
	}
	if word != "help" {
		c.screen.print("* /" + shell.Printable(word) + " is no command")
	}
	for _, s := range slashes {
		c.screen.print(fmt.Sprintf("  /%-30s %s", s.usage, s.about))
	}
	c.screen.print("  //TEXT" + strings.Repeat(" ", 26) + "say a text that begins with /")
	return true, nil
}

func (c *chat) members(ctx context.Context, _ string) error {
	var names []string
	for m, err := range c.room.Members(ctx) {
		if err != nil {
			return err
		}
		text := shell.Printable(m.Username)
		if s := m.GetStatus(); s != "" && s != "online" {
			text += " (" + shell.Printable(strings.TrimSpace(s+" "+m.GetText())) + ")"
		}
		names = append(names, text)
	}
	c.screen.print(fmt.Sprintf("* %d here: %s", len(names), strings.Join(names, ", ")))
	return nil
}

func (c *chat) history(ctx context.Context, rest string) error {
	n := 20
	if rest != "" {
		var err error
		if n, err = strconv.Atoi(rest); err != nil || n < 1 || n > 1000 {
			return fmt.Errorf("%q: want a number from 1 to 1000", rest)
		}
	}
	h, err := c.room.History(ctx, parley.Page{Limit: n})
	if err != nil {
		return err
	}
	for _, m := range h.Messages() {
		c.screen.print(fmt.Sprintf("%6d  %s", m.Seq, asText(m, "2006-01-02 15:04")))
	}
	return nil
}

// place reads the seq that a command begins with.
func place(rest string) (seq int64, text string, err error) {
	word, text, _ := strings.Cut(rest, " ")
	if seq, err = strconv.ParseInt(word, 10, 64); err != nil || seq < 1 {
		return 0, "", fmt.Errorf("%q is no place of a message; /history tells them", word)
	}
	return seq, strings.TrimSpace(text), nil
}

func (c *chat) edit(ctx context.Context, rest string) error {
	seq, text, err := place(rest)
	if err == nil {
		_, err = c.room.Edit(ctx, seq, text)
	}
	return err
}

func (c *chat) delete(ctx context.Context, rest string) error {
	seq, _, err := place(rest)
	if err == nil {
		_, err = c.room.Delete(ctx, seq)
	}
	return err
}

func (c *chat) status(ctx context.Context, rest string) error {
	word, text, _ := strings.Cut(rest, " ")
	return c.client.SetStatus(ctx, word, strings.TrimSpace(text))
}
