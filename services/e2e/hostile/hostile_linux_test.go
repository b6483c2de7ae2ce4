package hostile

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// grown is how much more memory than before the process may have after an
// attack, MiB: what the allocator keeps, and not what the attacker has.
const grown = 96

// TestHostile makes one attack after the other on the same process.
func TestHostile(t *testing.T) {
	full := os.Getenv("PARLEY_HOSTILE") == "full"
	size := func(quick, most int) int {
		if full {
			return most
		}
		return quick
	}
	g := start(t)
	settled := g.chat(after(500 * time.Millisecond))
	t.Logf("in peace: %v between the two, %d MiB, %d files", median(settled), g.memory(t), g.files(t))
	for _, c := range []struct {
		name   string
		attack func(*target, int) error
		size   int
	}{
		{"slowloris on the upgrade", slowUpgrade, size(800, 5000)},
		{"slowloris on frames", slowFrames, size(100, 300)},
		{"half-open connections", halfOpen, perUser},
		{"connections that never sign in", neverSignIn, size(2000, 15_000)},
		{"storm of connections", storm, size(1000, 20_000)},
		{"flood of valid messages", floodValid, size(3000, 100_000)},
		{"flood of invalid messages", floodInvalid, size(1000, 10_000)},
		{"flood of maximal messages", floodMaximal, size(150, 5000)},
		{"very many rooms", manyRooms, size(2000, 100_000)},
		{"compression bombs", bombs, size(20, 200)},
		{"endless fragments", fragments, size(10, 100)},
		{"flood of pings", pings, size(20_000, 1_000_000)},
		{"reading a byte a second", slowReader, size(10, 50)},
		{"one token from many addresses", oneToken, size(300, 1000)},
		{"one id with different contents", oneID, 50},
		{"headers and cookies", headers, size(50, 500)},
		{"smuggled requests", smuggle, size(1, 20)},
		{"paths", paths, size(1, 20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, memory := g.files(t), g.memory(t)
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				err = c.attack(g, c.size)
			}()
			took := g.chat(done)
			if err != nil {
				t.Error(err)
			}
			peak := g.memory(t)
			process.Eventually(t, patience, "what the attack took is given back", func() error {
				open, err := g.metric("parley_gateway_connections", "")
				switch now := g.files(t); {
				case err != nil:
					return err
				case open != 2:
					return fmt.Errorf("%v connections are open", open)
				case now > files+16:
					return fmt.Errorf("%d files are open, %d before", now, files)
				}
				if now := g.memory(t); now > memory+grown {
					return fmt.Errorf("%d MiB, %d before", now, memory)
				}
				return nil
			})
			t.Logf("%d messages, %v at the median and %v at most; %d, %d, then %d MiB", len(took), median(took), took[len(took)-1].Round(time.Millisecond), memory, peak, g.memory(t))
		})
	}
	if !g.Running() {
		t.Error("the process has ended")
	}
}

func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

func text(format string, args ...any) []byte {
	return client.Frame(0x81, fmt.Appendf(nil, format, args...))
}

// attacker is signed in; what comes is thrown away, and the end of it told.
func (g *target) attacker(i int, header ...string) (net.Conn, *bufio.Reader, error) {
	c, err := g.socket(i, g.request(g.token, header...))
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(c)
	answer, err := http.ReadResponse(r, nil)
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("answered %s", answer.Status)
	}
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c, r, nil
}

func slowUpgrade(g *target, n int) error {
	all := g.gather(n, 20, "GET /ws HTTP/1.1\r\nHost: ")
	defer all.close()
	for range 10 {
		for _, c := range all {
			_, _ = c.Write([]byte("x")) // most are ended
		}
	}
	waiting, err := g.metric("parley_gateway_sockets_waiting", "")
	if err == nil && waiting > strangers {
		err = fmt.Errorf("%v sockets wait, want at most %d", waiting, strangers)
	}
	return errors.Join(err, g.counted("parley_gateway_connections_refused_total", `cause="crowded"`, 1))
}

func slowFrames(g *target, n int) error {
	all := g.gather(n, 20, g.request("")+"\x81\xfe\xff\xff\x00\x00\x00\x00") // 64 KiB are to come
	defer all.close()
	for range 10 {
		for _, c := range all {
			_, _ = c.Write([]byte("x"))
		}
	}
	for _, c := range all { // until they have not signed in in time
		if _, err := toEnd(c); err != nil {
			return err
		}
	}
	return nil
}

func halfOpen(g *target, n int) error {
	all := g.gather(n, 20, g.request(g.token))
	defer all.close()
	for _, c := range all { // which answers no ping
		if code, err := toEnd(c); err != nil || code != 4201 {
			return fmt.Errorf("ended with %d, %w", code, err)
		}
	}
	return nil
}

func neverSignIn(g *target, n int) error {
	all := g.gather(n, 20, g.request(""))
	defer all.close()
	know, err := g.metric("parley_gateway_strangers", "")
	if err == nil && know > strangers {
		err = fmt.Errorf("%v strangers, want at most %d", know, strangers)
	}
	for _, c := range all[max(0, len(all)-50):] {
		_, late := toEnd(c)
		err = errors.Join(err, late)
	}
	return err
}

func storm(g *target, n int) error {
	for i := range n {
		c, err := g.socket(9000, g.request("")) // all of one address
		if err != nil {
			continue
		}
		if i%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0) // a reset
		}
		_ = c.Close()
	}
	// The kernel's resets may overtake requests; one that waits for its answer is told.
	for range 10 * perAddress {
		c, err := g.socket(9000, g.request(""))
		if err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		_ = c.Close()
		if err != nil {
			return err
		}
		if answer.StatusCode == http.StatusTooManyRequests {
			return nil
		}
	}
	return errors.New("one address has opened more than it may")
}

// flood sends on a connection whose answers are read, until it is ended. It ends
// it when it has sent all, and was told the words, or not in time.
func flood(g *target, n int, message func(i int) []byte, words ...string) (said string, err error) {
	c, r, err := g.attacker(9001)
	if err != nil {
		return "", err
	}
	defer c.Close()
	answers, told := make(chan string, 1), make(chan struct{})
	go func() {
		b, wanted := make([]byte, 0, 1<<20), slices.Clone(words)
		for err := error(nil); err == nil; { // until it ends
			searched := max(0, len(b)-64) // a word may have come in part
			b = slices.Grow(b, 64<<10)
			var more int
			more, err = r.Read(b[len(b):cap(b)])
			b = b[:len(b)+more]
			if wanted != nil {
				wanted = slices.DeleteFunc(wanted, func(word string) bool { return bytes.Contains(b[searched:], []byte(word)) })
				if len(wanted) == 0 || err != nil {
					close(told)
					wanted = nil
				}
			}
		}
		answers <- string(b)
	}()
	for i := range n {
		if _, err := c.Write(message(i)); err != nil {
			break // it has ended
		}
	}
	if words != nil {
		select {
		case <-told:
		case <-time.After(patience):
		}
	}
	_, _ = c.Write(client.Frame(0x88, []byte{3, 232})) // 1000; behind all that was sent
	return <-answers, nil
}

func wants(said string, err error, words ...string) error {
	for _, word := range words {
		if err == nil && !strings.Contains(said, word) {
			err = fmt.Errorf("was not told %q", word)
		}
	}
	return err
}

func floodValid(g *target, n int) error {
	said, err := flood(g, n, func(i int) []byte { return text(`{"type":"chat","id":"f%d","message":"flood"}`, i) })
	return wants(said, err, "rate-limited")
}

func floodInvalid(g *target, n int) error {
	said, err := flood(g, n, func(int) []byte { return text(`{"type":`) })
	return wants(said, err, "too many bad messages")
}

func floodMaximal(g *target, n int) error {
	content := strings.Repeat("m", 16<<10)
	_, err := flood(g, n, func(i int) []byte { return text(`{"type":"chat","id":"m%d","message":%q}`, i, content) })
	return errors.Join(err, g.counted("parley_gateway_input_held_total", "", 1))
}

func manyRooms(g *target, n int) error {
	said, err := flood(g, n, func(i int) []byte { return text(`{"type":"join-room","id":"j%d","roomId":"many-%d"}`, i, i) }, "forbidden")
	if joined := strings.Count(said, `"type":"room-joined"`); joined > rooms {
		err = fmt.Errorf("joined %d rooms, want at most %d", joined, rooms)
	}
	if err = wants(said, err, "forbidden", "rate-limited"); err != nil {
		return err
	}
	said, err = flood(g, n, func(i int) []byte { // never in more than one
		kind := [2]string{"join", "leave"}[i%2]
		return text(`{"type":"%s-room","roomId":"more-%d"}`, kind, i/2)
	}, "too many rooms")
	if joined := strings.Count(said, `"type":"room-joined"`); joined > made {
		err = fmt.Errorf("made %d rooms, want at most %d", joined, made)
	}
	return wants(said, err, "too many rooms")
}

func bombs(g *target, n int) error {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(make([]byte, 32<<20))
	if err = errors.Join(err, w.Flush()); err != nil {
		return err
	}
	bomb := client.Frame(0xc1, b.Bytes()[:b.Len()-4]) // without the end of the flush (RFC 7692, section 7.2.1)
	for range n {
		c, r, err := g.attacker(9002, "Sec-WebSocket-Extensions: permessage-deflate")
		if err != nil {
			return err
		}
		_, _ = c.Write(bomb)
		code, err := toEnd(r)
		_ = c.Close()
		if err != nil || code != 1009 {
			return fmt.Errorf("ended with %d, %w", code, err)
		}
	}
	return nil
}

func fragments(g *target, n int) error {
	for _, payload := range [][]byte{make([]byte, 1000), nil} {
		want := 1009 // they add up
		if payload == nil {
			want = 1008 // or take too long
		}
		for range (n + 9) / 10 {
			c, r, err := g.attacker(9003)
			if err != nil {
				return err
			}
			ended := make(chan error, 1)
			go func() {
				code, err := toEnd(r)
				if err == nil && code != want && code != 0 { // 0 where a reset overtook it
					err = fmt.Errorf("fragments of %d bytes ended with %d, want %d", len(payload), code, want)
				}
				_ = c.Close() // which ends the writing
				ended <- err
			}()
			first, pong := byte(0x01), client.Frame(0x8a, nil)
			for {
				if _, err := c.Write(append(client.Frame(first, payload), pong...)); err != nil {
					break
				}
				first = 0
			}
			err = <-ended
			_ = c.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func pings(g *target, n int) error {
	c, _, err := g.attacker(9004) // and reads no pong
	if err != nil {
		return err
	}
	defer c.Close()
	ping := bytes.Repeat(client.Frame(0x89, make([]byte, 125)), 100)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it is read at a rate
	for range n / 100 {
		if _, err := c.Write(ping); err != nil {
			break
		}
	}
	return g.counted("parley_gateway_input_held_total", "", 1)
}

func slowReader(g *target, n int) error {
	var all crowd
	defer func() { all.close() }()
	for range n {
		c, _, err := g.attacker(9005)
		if err != nil {
			return err
		}
		all = append(all, c)
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10) // the kernel takes what it likes
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		for range 40 { // all of the lobby's history, again and again
			if _, err := c.Write(text(`{"type":"get-history","roomId":"lobby","limit":1000}`)); err != nil {
				break
			}
		}
	}
	for range 2 {
		for _, c := range all {
			_, _ = c.Read(make([]byte, 1))
		}
		time.Sleep(time.Second) // is the attack
	}
	return nil
}

func oneToken(g *target, n int) error {
	const refused, crowded = "parley_gateway_connections_refused_total", `cause="crowded"`
	before, err := g.metric(refused, crowded)
	if err != nil {
		return err
	}
	all := g.gather(n, 1, g.request(g.token))
	defer all.close()
	if len(all) < n {
		return fmt.Errorf("%d of %d sockets", len(all), n)
	}
	ended := make(map[int]int) // by how
	for _, c := range all {
		code, err := toEnd(c)
		if err != nil {
			return err
		}
		ended[code]++
	}
	// Those let in answer no ping (4201). Of those that come faster than they are
	// served, some wait among too many others, for the upgrade (0) or signing in (1013).
	if ended[4201] > perUser || ended[4103] == 0 || ended[4201]+ended[4103]+ended[1013]+ended[0] < n {
		return fmt.Errorf("%d connections ended with %v, want at most %d let in and the others refused", n, ended, perUser)
	}
	return g.counted(refused, crowded, before+float64(ended[0]))
}

func oneID(g *target, n int) error {
	c, r, err := g.attacker(9007)
	if err != nil {
		return err
	}
	defer c.Close()
	var said []byte
	for i := range n {
		if _, err := c.Write(text(`{"type":"chat","id":"same","message":"version %d"}`, i)); err != nil {
			return err
		}
		for bytes.Count(said, []byte(`"type":"ack"`)) <= i {
			b := make([]byte, 4<<10)
			got, err := r.Read(b)
			if err != nil {
				return fmt.Errorf("after %q: %w", said, err)
			}
			said = append(said, b[:got]...)
		}
	}
	if again := bytes.Count(said, []byte(`"duplicate":true`)); again != n-1 {
		return fmt.Errorf("%d of %d are duplicates", again, n)
	}
	if bytes.Contains(said, []byte("version 1")) {
		return errors.New("another content was delivered")
	}
	return nil
}

// answers sends bytes and gives the statuses of all that comes back.
func (g *target) answers(say string) (list []int, bodies string, err error) {
	c, err := g.socket(9006, "")
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, say) }() // what is not taken is answered, too
	for r := bufio.NewReader(c); ; {
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // more is not to come
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return list, bodies, nil
		}
		list = append(list, answer.StatusCode)
		b, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		bodies += string(b)
	}
}

func headers(g *target, n int) error {
	for _, header := range []string{
		"X: " + strings.Repeat("x", 100<<10),
		"Cookie: " + strings.Repeat("a=b; ", 20<<10),
		strings.Repeat("X: y\r\n", 10_000) + "X: y",
		strings.Repeat("Sec-WebSocket-Protocol: "+strings.Repeat("p,", 100)+"p\r\n", 500) + "X: y",
	} {
		for range (n + 49) / 50 {
			list, _, err := g.answers(g.request("", header))
			if err != nil {
				return err
			}
			if len(list) > 1 || len(list) == 1 && list[0] != 431 { // a reset may overtake it
				return fmt.Errorf("%.30q… was answered %v", header, list)
			}
		}
	}
	return nil
}

// smuggle sends what proxies and servers have understood differently.
func smuggle(g *target, n int) error {
	hidden := "GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\n\r\n"
	for range n {
		for _, c := range []string{
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nabcde" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
			"POST /api/auth HTTP/1.1\r\nHost: h\r\nHost: i\r\nContent-Length: 0\r\n\r\n" + hidden,
			"GET /ws HTTP/1.1\r\nHost: h\r\n X: folded\r\nX\r\n\r\n" + hidden,
			"GET  /ws HTTP/1.1\r\nHost: h\r\n\r\n" + hidden,
		} {
			list, bodies, err := g.answers(c)
			if err != nil {
				return err
			}
			if strings.Contains(bodies, `"keys"`) || len(list) != 1 || list[0] != 400 && list[0] != 501 {
				return fmt.Errorf("%.90q was answered %v", c, list)
			}
		}
	}
	return nil
}

func paths(g *target, n int) error {
	for range n {
		for _, path := range []string{
			"/../../../../etc/passwd", "/..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", `/..\..\etc\passwd`,
			"/parley.js/../../go.mod", "/%00", "/.git/config", "/./././.env", "/assets/", "/js/", "/%c0%ae%c0%ae/etc/passwd",
			"/" + strings.Repeat("a/", 5000),
		} {
			list, bodies, err := g.answers("GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			if err != nil {
				return err
			}
			if len(list) != 1 || list[0] < 300 || list[0] >= 500 || strings.Contains(bodies, "root:") || strings.Contains(bodies, "module ") {
				return fmt.Errorf("%.60q was answered %v", path, list)
			}
		}
	}
	return nil
}
