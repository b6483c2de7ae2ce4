// Package fuzz says what it likes to a whole deployment: every request through a
// real session, in any order and in pieces that make no sense.
package fuzz

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/ids"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

const (
	// maxRequests and maxRequest bound one script.
	maxRequests = 40
	maxRequest  = 8 << 10
	// vault is carol's private room, common bob's public one.
	vault, common = "vault", "common"
)

// FuzzSession plays scripts to a gateway: a request a line, as JSON; where proto is
// set, those that can be are sent as protobuf. In a line, TOKEN is a good token of
// the player's and RESUME the newest resume token. Whatever a script says:
//
//   - no request gets two answers, and each with an id gets one, while the connection lasts;
//   - nothing of a room is told that the player is not in, and nothing of a private one at all;
//   - who is in that room hears nothing; who is in another hears what is said in its order;
//   - when the connection has ended, nothing of it is left.
func FuzzSession(f *testing.F) {
	for _, script := range scripts(f) {
		for _, binary := range []bool{false, true} {
			f.Add(binary, false, script)
		}
		f.Add(false, true, script)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, binary, anonymous bool, script string) {
		encoding := frame.JSON
		if binary {
			encoding = frame.Proto
		}
		w.play(t, encoding, anonymous, script)
	})
}

// scripts are those that it begins with: the golden frames of all requests, in
// parts, and some that belong together.
func scripts(f *testing.F) []string {
	files, err := filepath.Glob("../../../proto/testdata/frames/client/*.json")
	if err != nil || len(files) < 30 {
		f.Fatalf("%d golden frames: %v", len(files), err)
	}
	var all []string
	var part strings.Builder
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var golden struct {
			JSON json.RawMessage `json:"json"`
		}
		var line bytes.Buffer
		if err := json.Unmarshal(text, &golden); err != nil {
			f.Fatal(err)
		}
		if err := json.Compact(&line, golden.JSON); err != nil {
			f.Fatal(err)
		}
		part.WriteString(line.String() + "\n")
		if i%12 == 11 || i == len(files)-1 {
			all = append(all, part.String())
			part.Reset()
		}
	}
	return append(all,
		`{"type":"join-room","id":"1","roomId":"common"}
{"type":"chat-message","id":"2","roomId":"common","content":"hello"}
{"type":"chat-message","id":"2","roomId":"common","content":"again"}
{"type":"signal","id":"3","roomId":"common","event":"typing","data":{"a":[1,2]}}
{"type":"get-history","id":"4","roomId":"common","limit":2,"before":9007199254740992}
{"type":"edit-message","id":"5","roomId":"common","target":1,"content":"x"}
{"type":"delete-message","id":"6","roomId":"common","target":1}
{"type":"mark-read","id":"7","roomId":"common","seq":1}
{"type":"get-room-members","id":"8","roomId":"common","limit":1,"cursor":"Y2Fyb2w"}
{"type":"leave-room","id":"9","roomId":"common"}`,
		`{"type":"get-room-info","id":"1","roomId":"vault"}
{"type":"join-room","id":"2","roomId":"vault","after":0}
{"type":"get-history","id":"3","roomId":"vault"}
{"type":"chat-message","id":"4","roomId":"vault","content":"x"}
{"type":"kick","id":"5","roomId":"vault","userId":"carol"}
{"type":"get-room-members","id":"6","roomId":"vault"}
{"type":"get-online-users","id":"7","roomId":"vault"}
{"type":"update-room","id":"8","roomId":"vault","visibility":"public"}
{"type":"invite","id":"9","roomId":"vault","userId":"mallory"}
{"type":"get-rooms","id":"10","prefix":"v","sort":"members"}
{"type":"create-room","id":"11","roomId":"vault"}
{"type":"signal","id":"12","roomId":"vault","event":"x"}`,
		`{"type":"create-room","id":"1","roomId":"mine","visibility":"private"}
{"type":"join-room","id":"2","roomId":"mine","history":1000}
{"type":"set-role","id":"3","roomId":"mine","userId":"bob","role":"moderator"}
{"type":"ban","id":"4","roomId":"mine","userId":"bob","until":"2030-01-01T00:00:00Z"}
{"type":"get-room-sanctions","id":"5","roomId":"mine","cursor":"AA"}
{"type":"kick","id":"6","roomId":"mine","userId":"mallory"}
{"type":"delete-room","id":"7","roomId":"mine"}
{"type":"open-direct","id":"8","userId":"carol"}`,
		`{"type":"configure","id":"1","batch":{"maxMessages":2,"intervalMs":1},"compression":"gzip"}
{"type":"resume","id":"2","resumeToken":"RESUME","rooms":{"common":1,"vault":{"seq":1,"epoch":"x"}}}
{"type":"auth","id":"3","token":"TOKEN"}
{"type":"chat","id":"4","message":"hello, lobby"}
{"type":"set-status","id":"5","status":"busy","text":"x"}
{"type":"admin-broadcast","id":"6","content":"x"}
{"type":"get-presence","id":"7","userIds":["carol"]}`,
		"{\"type\":\"chat\"\n[]\n{\"type\":\"join-room\",\"id\":7}\n\xff\n{\"type\":\"no-such-type\",\"id\":\"1\"}\n{\"type\":\"join-room\",\"id\":\"2\",\"roomId\":\"a.b.*.>\"}\n{\"id\":\"3\"}",
	)
}

// world is a deployment and those who are there beside the player.
type world struct {
	*stack.Stack
	key, secret string
	carol, bob  *listener
	goroutines  int // beside a player's
	resume      string
}

func newWorld(f *testing.F) *world {
	w := &world{key: ids.New("key of a test "), secret: ids.New("the secret of the vault ")}
	w.Stack = stack.Start(f, stack.Options{Gateway: func(o *gateway.Options) {
		o.JWTSecret = []byte(w.key)
		o.RateLimit = 0
		o.Lease = time.Second
	}})
	carol := client.Dial(f, w.URLs[0], client.Options{})
	carol.SignIn(w.token("carol"))
	private := "private"
	carol.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_CreateRoom{CreateRoom: &wirev1.CreateRoom{RoomId: vault, Visibility: &private}}})
	carol.Join(vault)
	carol.Say(vault, w.secret)
	carol.Hear(vault, w.secret)
	bob := client.Dial(f, w.URLs[0], client.Options{Encoding: frame.Proto})
	bob.SignIn(w.token("bob"))
	bob.Ask(&wirev1.ClientFrame{Request: &wirev1.ClientFrame_CreateRoom{CreateRoom: &wirev1.CreateRoom{RoomId: common}}})
	bob.Join(common)
	carol.Settle()
	w.carol, w.bob = &listener{Client: carol}, &listener{Client: bob}
	w.goroutines = runtime.NumGoroutine()
	return w
}

func (w *world) token(user string) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "username": user, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(w.key))
	if err != nil {
		panic(err) // cannot be
	}
	return token
}

// player is one connection of mallory's.
type player struct {
	ws       *websocket.Conn
	encoding frame.Encoding

	mu     sync.Mutex
	came   []*wirev1.ServerFrame
	wrong  error // what cannot be read
	ended  bool
	closed chan struct{}
}

func (p *player) read() {
	defer close(p.closed)
	for {
		_, message, err := p.ws.Read(context.Background())
		if err != nil {
			p.mu.Lock()
			p.ended = true
			p.mu.Unlock()
			return
		}
		f, err := frame.DecodeServer(p.encoding, message)
		if err == nil && f.GetCompressed() != nil {
			f, err = p.unpack(f.GetCompressed().Data)
		}
		p.mu.Lock()
		if err != nil {
			p.wrong = fmt.Errorf("%q: %w", message, err)
		} else {
			p.came = append(p.came, f)
		}
		p.mu.Unlock()
	}
}

func (p *player) unpack(data []byte) (*wirev1.ServerFrame, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	message, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return nil, err
	}
	return frame.DecodeServer(p.encoding, message)
}

// asked counts what was asked under one id.
type asked struct {
	all, silent, joins, pages int
}

func (w *world) play(t *testing.T, encoding frame.Encoding, anonymous bool, script string) {
	ctx, cancel := context.WithTimeout(context.Background(), client.Patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(w.URLs[0], "http")+"/ws", &websocket.DialOptions{
		Subprotocols: []string{encoding.Subprotocol()}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	ws.SetReadLimit(64 << 20)
	p := &player{ws: ws, encoding: encoding, closed: make(chan struct{})}
	go p.read()

	requests := make(map[string]*asked)
	send := func(line string) {
		message := []byte(line)
		if f, err := frame.DecodeClient(frame.JSON, message); err == nil && encoding == frame.Proto {
			if packed, err := frame.AppendClient(nil, encoding, f); err == nil {
				message = packed
			}
		}
		f, err := frame.DecodeClient(encoding, message)
		id := f.GetId()
		if id == "" {
			// An answer could not be told from another.
		} else {
			if requests[id] == nil {
				requests[id] = new(asked)
			}
			a := requests[id]
			a.all++
			switch {
			case err != nil: // is answered with one error
			case f.GetSignal() != nil:
				a.silent++
			case f.GetJoinRoom() != nil:
				a.joins++
			case f.GetGetHistory() != nil:
				a.pages++
			}
		}
		kind := websocket.MessageText
		if encoding == frame.Proto {
			kind = websocket.MessageBinary
		}
		_ = ws.Write(ctx, kind, message) // fails where the connection has ended, which is seen by reading
	}
	if !anonymous {
		send(`{"type":"auth","id":"sign in","token":"` + w.token("mallory") + `"}`)
	}
	lines := strings.Split(script, "\n")
	for _, line := range lines[:min(len(lines), maxRequests)] {
		line = strings.ReplaceAll(line[:min(len(line), maxRequest)], "TOKEN", w.token("mallory"))
		send(strings.ReplaceAll(line, "RESUME", w.resume))
	}
	last := ids.New("last ")
	send(`{"type":"ping","id":"` + last + `"}`)

	deadline := time.Now().Add(client.Patience)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		left, over := p.unanswered(requests)
		if left == "" || over {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer to %q, of %d", left, requests[left].all)
		}
		time.Sleep(pause) // between two looks; the answers end the wait
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	<-p.closed
	w.judge(t, p, requests)
	w.settled(t)
}

// answers counts the answers to the requests of an id: pages of history apart,
// which a join brings as well.
func (p *player) answers(id string) (answers, pages int) {
	for _, f := range p.came {
		switch {
		case f.GetId() != id, f.GetChatMessage() != nil, f.GetRoomMessage() != nil, f.GetChat() != nil,
			f.GetMessageEdited() != nil, f.GetMessageDeleted() != nil: // stored under the id of its request
		case f.GetMessageHistory() != nil:
			pages++
		default:
			answers++
		}
	}
	return answers, pages
}

// unanswered gives the id of a request that waits for its answer, and says whether
// the connection has ended.
func (p *player) unanswered(requests map[string]*asked) (id string, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, a := range requests {
		if answers, pages := p.answers(id); answers+min(pages, a.pages) < a.all-a.silent {
			return id, p.ended
		}
	}
	return "", p.ended
}

// judge looks at all that has come.
func (w *world) judge(t *testing.T, p *player, requests map[string]*asked) {
	t.Helper()
	if p.wrong != nil {
		t.Errorf("cannot be read: %v", p.wrong)
	}
	for id, a := range requests {
		answers, pages := p.answers(id)
		if answers > a.all || a.joins == 0 && answers+pages > a.all {
			t.Errorf("%d requests under the id %q had %d answers and %d pages", a.all, id, answers, pages)
		}
	}
	in := map[string]bool{ids.Lobby: true}
	for _, f := range p.came {
		if f.GetRoomJoined() != nil {
			in[f.GetRoomJoined().RoomId] = true
		}
		for room, r := range f.GetResumed().GetRooms() {
			in[room] = in[room] || r.Error == nil
		}
		if r := f.GetResumed().GetResumeToken() + f.GetAuthSuccess().GetResumeToken(); r != "" {
			w.resume = r
		}
	}
	for _, f := range p.came {
		if text, err := frame.AppendServer(nil, frame.JSON, f); err != nil || bytes.Contains(text, []byte(w.secret)) {
			t.Errorf("told what was said in the vault: %s, %v", text, err)
		}
		switch room := roomOf(f); {
		case f.GetRoomInfo() != nil:
			if room == vault && f.GetRoomInfo().Exists {
				t.Errorf("told that the vault exists: %v", f)
			}
		case f.GetRoomCreated() != nil:
			if room == vault && f.GetRoomCreated().Success {
				t.Errorf("made the vault: %v", f)
			}
		case room == vault && f.GetError() == nil:
			t.Errorf("told of the vault: %v", f)
		case (f.GetChatMessage() != nil || f.GetRoomMessage() != nil || f.GetSignal() != nil || f.GetUserJoined() != nil || f.GetUserLeft() != nil) && !in[room]:
			t.Errorf("told of %q without being there: %v", room, f)
		}
		for _, r := range f.GetRoomsList().GetRooms() {
			if r.Id == vault {
				t.Errorf("the vault is listed: %v", f)
			}
		}
	}
	w.carol.listen(t, func(f *wirev1.ServerFrame) {
		if roomOf(f) == vault {
			t.Errorf("heard in the vault: %v", f)
		}
	})
	w.bob.listen(t, func(f *wirev1.ServerFrame) {
		if m := f.GetChatMessage(); m != nil && m.RoomId == common {
			if m.Seq <= w.bob.seq || m.GetPrev() > w.bob.seq && w.bob.seq > 0 {
				t.Errorf("after %d came %d, which follows %d", w.bob.seq, m.Seq, m.GetPrev())
			}
			w.bob.seq = m.Seq
		}
	})
}

// roomOf gives the room that a frame is about, "" for none.
func roomOf(f *wirev1.ServerFrame) string {
	m := f.ProtoReflect()
	event := m.WhichOneof(m.Descriptor().Oneofs().ByName("event"))
	if event == nil || event.Kind() != protoreflect.MessageKind {
		return ""
	}
	inner := m.Get(event).Message()
	if room := inner.Descriptor().Fields().ByName("room_id"); room != nil && room.Kind() == protoreflect.StringKind {
		return inner.Get(room).String()
	}
	return ""
}

// listener is somebody else.
type listener struct {
	*client.Client
	seq int64 // of the newest message
}

// listen hands on what has come since it was called last.
func (l *listener) listen(t *testing.T, each func(*wirev1.ServerFrame)) {
	t.Helper()
	if !l.Alive() {
		t.Fatal("somebody else has lost the connection")
	}
	for {
		f := l.Take()
		if f == nil {
			return
		}
		each(f)
	}
}

// settled waits until nothing is left of a player but what belongs to no connection.
func (w *world) settled(t *testing.T) {
	t.Helper()
	const slack = 40 // what comes and goes with requests that are just over
	deadline := time.Now().Add(client.Patience)
	for runtime.NumGoroutine() > w.goroutines+slack {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), w.goroutines, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(5 * time.Millisecond) // between two looks; the condition ends the wait
	}
}
