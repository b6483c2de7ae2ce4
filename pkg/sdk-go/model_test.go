package parley

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// model is a gateway that keeps the promises of PROTOCOL.md, section 5, and is as
// hostile as these allow: connections end in front of any frame of either side,
// resumes are refused, pages are short, entries come twice or not at all, so that
// only prev tells.
type model struct {
	t *testing.T

	mu      sync.Mutex
	rand    *rand.Rand
	calm    bool // nothing happens any more
	log     []modelEntry
	members map[*modelConn]bool
	cuts    int
}

type modelEntry struct {
	seq, prev         int64
	id, user, content string
}

type modelConn struct {
	ws  *websocket.Conn
	out chan string
}

// chance is one in n, while it is not calm, with the lock.
func (m *model) chance(n int) bool { return !m.calm && m.rand.IntN(n) == 0 }

// cut ends a connection now and then.
func (m *model) cut(c *modelConn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.chance(25) {
		return false
	}
	m.cuts++
	_ = c.ws.CloseNow()
	return true
}

// serve serves one connection.
func (m *model) serve(ws *websocket.Conn) {
	c := &modelConn{ws, make(chan string, 10_000)}
	var writing sync.WaitGroup
	writing.Go(func() {
		for text := range c.out {
			if m.cut(c) || ws.Write(context.Background(), websocket.MessageText, []byte(text)) != nil {
				_ = ws.CloseNow()
			}
		}
	})
	defer func() {
		m.mu.Lock()
		delete(m.members, c)
		close(c.out)
		m.mu.Unlock()
		writing.Wait()
	}()
	c.say(`{"type":"welcome","heartbeatIntervalMs":25000}`)
	for {
		_, b, err := ws.Read(context.Background())
		if err != nil || m.cut(c) {
			_ = ws.CloseNow()
			return
		}
		var q modelRequest
		if err := json.Unmarshal(b, &q); err != nil {
			m.t.Errorf("%s: %v", b, err)
			return
		}
		m.answer(c, q)
	}
}

func (c *modelConn) say(format string, args ...any) { c.out <- fmt.Sprintf(format, args...) }

type modelRequest struct {
	Type, ID, Content string
	After             *int64
	Rooms             map[string]Position
}

func (m *model) answer(c *modelConn, q modelRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	const ada = `"user":{"id":"u-ada","username":"Ada"},"sessionId":"s","resumeToken":"r"`
	switch q.Type {
	case "auth":
		c.say(`{"type":"auth-success","id":%q,%s}`, q.ID, ada)
	case "resume":
		at, joined := q.Rooms["r"]
		if m.chance(4) {
			c.say(`{"type":"error","id":%q,"code":"resume-failed","message":"no"}`, q.ID)
			return
		}
		rooms := ""
		if joined {
			rooms = fmt.Sprintf(`"r":{"recovered":true,"seq":%d,"epoch":"e","memberCount":1}`, m.last())
		}
		c.say(`{"type":"resumed","id":%q,%s,"rooms":{%s}}`, q.ID, ada, rooms)
		if joined {
			m.pages(c, "", at.Seq)
		}
	case "join-room":
		if m.chance(6) {
			c.say(`{"type":"error","id":%q,"code":"unavailable","message":"later"}`, q.ID)
			return
		}
		c.say(`{"type":"room-joined","id":%q,"roomId":"r","memberCount":1,"seq":%d,"epoch":"e","recovered":%v}`, q.ID, m.last(), q.After != nil)
		id := fmt.Sprintf(`,"id":%q`, q.ID)
		if q.After != nil {
			m.pages(c, id, *q.After)
			return
		}
		m.page(c, id, m.log[max(0, len(m.log)-3):], false)
		m.members[c] = true
	case "chat-message":
		if !m.members[c] {
			c.say(`{"type":"error","id":%q,"code":"not-joined","message":"no"}`, q.ID)
			return
		}
		if m.chance(10) {
			c.say(`{"type":"error","id":%q,"code":"rate-limited","message":"slowly","retryAfterMs":700}`, q.ID)
			return
		}
		stored := slices.IndexFunc(m.log, func(e modelEntry) bool { return e.id == q.ID })
		duplicate := stored >= 0
		if !duplicate {
			m.store(q.ID, "ada", q.Content)
			stored = len(m.log) - 1
		}
		c.say(`{"type":"ack","id":%q,"roomId":"r","seq":%d,"duplicate":%v}`, q.ID, m.log[stored].seq, duplicate)
	default:
		m.t.Errorf("asked for %s", q.Type)
	}
}

func (m *model) last() int64 {
	if len(m.log) == 0 {
		return 0
	}
	return m.log[len(m.log)-1].seq
}

// pages says what follows a place, and what comes from then on.
func (m *model) pages(c *modelConn, id string, after int64) {
	rest := m.log[slices.IndexFunc(append(m.log, modelEntry{seq: after + 1}), func(e modelEntry) bool { return e.seq > after }):]
	for {
		n := min(len(rest), 1+m.rand.IntN(8))
		m.page(c, id, rest[:n], n < len(rest))
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	m.members[c] = true
}

func (m *model) page(c *modelConn, id string, entries []modelEntry, more bool) {
	var list []string
	for _, e := range entries {
		list = append(list, e.text())
	}
	c.say(`{"type":"message-history"%s,"roomId":"r","messages":[%s],"hasMore":%v}`, id, strings.Join(list, ","), more)
}

func (e modelEntry) text() string {
	return fmt.Sprintf(`{"type":"chat-message","id":%q,"roomId":"r","seq":%d,"prev":%d,"user":{"id":"u-%s","username":%q},"content":%q,"timestamp":"2026-01-02T03:04:05Z"}`,
		e.id, e.seq, e.prev, e.user, e.user, e.content)
}

// store puts an entry behind the others, and sends it to the members, most often.
func (m *model) store(id, user, content string) {
	e := modelEntry{m.last() + 1 + m.rand.Int64N(3), m.last(), id, user, content}
	m.log = append(m.log, e)
	for c := range m.members {
		if !m.chance(15) {
			c.say("%s", e.text())
		}
		if m.chance(15) {
			c.say("%s", m.log[m.rand.IntN(len(m.log))].text()) // a new leader repeats an old one
		}
	}
}

// Whatever happens to connections, the application gets each entry of the log once
// and in order, and what it sends is in the log once and in order.
func TestModel(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 0)), members: make(map[*modelConn]bool)}
			play(t, func(t *testing.T, g *gateway) {
				m.t = t
				g.serve = m.serve
				m.try(t, g)
			})
			if m.cuts < 3 {
				t.Errorf("only %d connections were cut", m.cuts)
			}
		})
	}
}

func (m *model) try(t *testing.T, g *gateway) {
	const sent, said = 40, 120
	c, err := Dial(t.Context(), "http://gateway", Options{HTTPClient: g.client, Token: "t", Buffer: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := c.Room("r")
	if err := r.Join(t.Context(), JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []Message
	var beside sync.WaitGroup
	beside.Go(func() { // reads, and at times very slowly
		slow := rand.New(rand.NewPCG(1, 2))
		for msg, err := range r.Messages(t.Context()) {
			if err != nil {
				t.Error(err)
				return
			}
			if msg.Content == "end" {
				return
			}
			got = append(got, msg)
			if slow.IntN(10) == 0 {
				time.Sleep(time.Duration(slow.IntN(5000)) * time.Millisecond)
			}
		}
	})
	beside.Go(func() { // others speak
		for i := range said {
			m.mu.Lock()
			m.store("", "bob", fmt.Sprint("bob ", i))
			pause := m.rand.IntN(400)
			m.mu.Unlock()
			time.Sleep(time.Duration(pause) * time.Millisecond)
		}
	})
	var out []*Outgoing
	for i := range sent {
		o, err := r.Queue(Draft{Content: fmt.Sprint("ada ", i)})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
		time.Sleep(time.Duration(i*20) * time.Millisecond)
	}
	acks := make(map[string]int64)
	for i, o := range out {
		ack, err := o.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		acks[fmt.Sprint("ada ", i)] = ack.Seq
	}
	time.Sleep(time.Minute)
	m.mu.Lock()
	m.calm = true
	m.store("", "bob", "end")
	m.mu.Unlock()
	// A connection may have been cut in front of it.
	beside.Wait()

	m.mu.Lock()
	defer m.mu.Unlock()
	var mine []string
	want := m.log[:len(m.log)-1]
	for _, e := range want {
		if e.user == "ada" {
			mine = append(mine, e.content)
			if acks[e.content] != e.seq {
				t.Errorf("%s was acknowledged as %d, and is %d", e.content, acks[e.content], e.seq)
			}
		}
	}
	for i := range max(sent, len(mine)) {
		if len(mine) != sent || mine[i] != fmt.Sprint("ada ", i) {
			t.Fatalf("the log has of Ada %v", mine)
		}
	}
	if len(got) == 0 {
		t.Fatal("nothing came")
	}
	want = want[slices.IndexFunc(want, func(e modelEntry) bool { return e.seq >= got[0].Seq }):]
	if len(got) != len(want) {
		t.Errorf("%d came, of %d", len(got), len(want))
	}
	for i, e := range want[:min(len(want), len(got))] {
		if got[i].Seq != e.seq || got[i].Content != e.content {
			t.Fatalf("as number %d came %d (%s), not %d (%s)", i, got[i].Seq, got[i].Content, e.seq, e.content)
		}
	}
}
