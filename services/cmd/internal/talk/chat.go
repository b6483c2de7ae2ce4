package talk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/parley-im/parley/pkg/config"
	parley "github.com/parley-im/parley/pkg/sdk-go"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

const aboutChat = `Opens a room in this terminal: the newest messages first, then what comes, and what you type is said.

On a terminal there is a line to type on, whose arrow keys bring back what was typed; elsewhere lines are read and written
plainly, and the end of standard input ends it when all is stored. Lines that begin with / are commands; /help lists them.

  parley chat general
  PARLEY_PASSWORD=… parley chat --url https://chat.example.com --username alice general`

// chat is one run of parley chat.
type chat struct {
	client *parley.Client
	room   *parley.Room
	screen screen
	// typed gets a word for each key.
	typed chan struct{}

	mu     sync.Mutex
	mine   map[string]bool      // ids of what was typed here and has not come back
	typing map[string]time.Time // when others were said to be typing, by username
}

// Chat is parley chat.
func Chat(ctx context.Context, args []string) error {
	var a account
	history := 20
	plain := false
	operands, run, err := load("chat", aboutChat, "ROOM", args, &a, func(s *config.Set) {
		s.Section("The room")
		s.Int(&history, "history", "how many of the newest messages come first, up to 1000").Check(func() error {
			if history < 0 || history > 1000 {
				return errors.New("want 0 to 1000")
			}
			return nil
		})
		s.Bool(&plain, "plain", "read and write lines plainly, on a terminal, too")
	})
	if !run {
		return err
	}
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	c := &chat{client: client, room: client.Room(operands[0]), typed: make(chan struct{}, 1), mine: make(map[string]bool), typing: make(map[string]time.Time)}
	join := parley.JoinOptions{History: history}
	if history == 0 {
		join.History = -1
	}
	if err := c.room.Join(ctx, join); err != nil {
		return a.outcome(err)
	}
	if c.screen, err = openScreen(client.Account().GetUsername(), plain, c.key); err != nil {
		return err
	}
	err = c.run(ctx)
	if closing := c.screen.close(); err == nil {
		err = closing
	}
	return a.outcome(err)
}

// run talks until the input ends, or the room does.
func (c *chat) run(ctx context.Context) error {
	c.screen.print(fmt.Sprintf("* %s, %d here. /help lists what can be typed beside messages.", shell.Printable(c.room.ID()), c.room.MemberCount()))
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	ended := make(chan error, 1)
	beside.Go(func() { ended <- c.show(ctx) })
	beside.Go(func() { c.tellTyping(ctx) })
	beside.Go(func() { c.showStatus(ctx) })
	said := make(chan *parley.Outgoing, 1000)
	stored := make(chan struct{})
	beside.Go(func() { defer close(stored); c.follow(ctx, said) })

	// A line that is being read cannot be taken back: who reads ends with the program.
	lines := make(chan string)
	read := make(chan error, 1)
	go func() {
		for {
			text, err := c.screen.readLine()
			if err != nil {
				read <- err
				return
			}
			select {
			case lines <- text:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			return err
		case err := <-read:
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("reading: %w", err)
			}
			close(said)
			select {
			case <-stored:
			case <-ctx.Done():
			}
			return nil
		case text := <-lines:
			again, err := c.typedLine(ctx, text, said)
			if err != nil {
				c.screen.print("* " + err.Error())
			}
			if !again {
				close(said)
				select {
				case <-stored:
				case <-ctx.Done():
				}
				return nil
			}
		}
	}
}

// say puts a message into the outbox: a connection that is away keeps nobody from
// typing.
func (c *chat) say(text string, said chan<- *parley.Outgoing) error {
	o, err := c.room.Queue(parley.Draft{Content: text})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.mine[o.ID()] = true
	c.mu.Unlock()
	select {
	case said <- o:
	default: // more wait than are followed; those that fail are not told of
	}
	return nil
}

// follow tells of messages that could not be sent.
func (c *chat) follow(ctx context.Context, said <-chan *parley.Outgoing) {
	for {
		var o *parley.Outgoing
		select {
		case <-ctx.Done():
			return
		case next, more := <-said:
			if o = next; !more {
				return
			}
		}
		if _, err := o.Wait(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			c.screen.print("* not sent: " + err.Error())
		}
	}
}

// show writes what happens in the room, until it ends.
func (c *chat) show(ctx context.Context) error {
	for e, err := range c.room.Events(ctx) {
		if err != nil {
			return err
		}
		if c.seen(e) {
			continue
		}
		if text := asText(e, "15:04"); text != "" {
			c.screen.print(text)
		}
	}
	return nil
}

// again is how long it goes without a word that somebody is still typing.
const again = 20 * time.Second

// seen tells whether an event stands on the screen already, or is dealt with.
func (c *chat) seen(e parley.Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case parley.Message:
		delete(c.typing, e.User.Username)
		if c.mine[e.ID] {
			delete(c.mine, e.ID)
			return c.screen.echoes()
		}
	case parley.Signal:
		if e.Name == "typing" && c.screen.echoes() && time.Since(c.typing[e.User.Username]) > again {
			c.typing[e.User.Username] = time.Now()
			c.screen.print("* " + name(e.User) + " is typing")
		}
	}
	return false
}

// every is how often others are told that somebody types.
const every = 4 * time.Second

// key is told of each key, by the screen.
func (c *chat) key() {
	select {
	case c.typed <- struct{}{}:
	default:
	}
}

// tellTyping tells others of keys, now and then.
func (c *chat) tellTyping(ctx context.Context) {
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.typed:
		}
		if time.Since(told) > every {
			told = time.Now()
			_ = c.room.Signal("typing", nil) // best effort
		}
	}
}

// showStatus tells when the connection goes and comes back.
func (c *chat) showStatus(ctx context.Context) {
	away := false
	for s := range c.client.Statuses(ctx) {
		switch {
		case s.State == parley.Offline && !away:
			away = true
			c.screen.print("* the connection is lost; what you type is sent when it is back")
		case s.State == parley.Online && away:
			away = false
			c.screen.print("* the connection is back")
		}
	}
}
