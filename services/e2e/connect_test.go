package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

var encodings = []frame.Encoding{frame.JSON, frame.Proto}

func TestConnecting(t *testing.T) {
	s := stack.Start(t, stack.Options{Gateways: 2, Gateway: func(o *gateway.Options) { o.JWTSecret = secret }})
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack.Stack)
	}{
		{"welcome", testWelcome},
		{"subprotocols", testSubprotocols},
		{"requests", testUpgradeRequests},
		{"origins", testOrigins},
		{"token with the upgrade", testTokenWithUpgrade},
		{"foreign tokens", testForeignTokens},
		{"renewal", testRenewal},
		{"expiry", testExpiry},
		{"in time", testAuthTimeout},
		{"token expiring", testTokenExpiring},
		{"limit", testConnectionLimit},
		{"heartbeat", testHeartbeat},
		{"pings", testPings},
		{"revocation", testRevocation},
		{"drain", testDrain},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, s) })
	}
}

func testWelcome(t *testing.T, s *stack.Stack) {
	seen := map[string]bool{}
	for _, path := range []string{"/ws", "/chat"} {
		raw, _ := client.Upgrade(t, s.URLs[0], path, nil)
		welcome := raw.ReadText() // the first that comes at all
		if welcome["type"] != "welcome" || welcome["protocol"] != "parley.v1.json" || welcome["id"] != nil || welcome["message"] == "" {
			t.Errorf("%s: %v", path, welcome)
		}
		connection, _ := welcome["connectionId"].(string)
		if connection == "" || seen[connection] {
			t.Errorf("%s: connection %q", path, connection)
		}
		seen[connection] = true
		at, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprint(welcome["timestamp"]))
		if err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s: timestamp %v", path, welcome["timestamp"])
		}
		if ms, _ := welcome["serverTime"].(float64); int64(ms) != at.UnixMilli() {
			t.Errorf("%s: serverTime %v, timestamp %v", path, welcome["serverTime"], welcome["timestamp"])
		}
		limits, _ := welcome["limits"].(map[string]any)
		for name, want := range map[string]float64{
			"maxFrameBytes": 65536, "maxContentBytes": 16384, "maxDataBytes": 16384, "maxHistory": 1000,
			"leaseMs": 15000, "authTimeoutMs": 10000, "rateLimit": 0, "rateBurst": 0,
		} {
			if limits[name] != want {
				t.Errorf("%s: limits.%s is %v, want %v", path, name, limits[name], want)
			}
		}
		if welcome["heartbeatIntervalMs"] != 25000.0 {
			t.Errorf("%s: heartbeatIntervalMs %v", path, welcome["heartbeatIntervalMs"])
		}
	}
	c := client.Dial(t, s.URLs[0], client.Options{Encoding: frame.Proto})
	if w := c.Want("welcome").GetWelcome(); w.Protocol != "parley.v1.proto" || w.Limits.GetMaxFrameBytes() != 65536 {
		t.Errorf("welcome %v", w)
	}
}

func testSubprotocols(t *testing.T, s *stack.Stack) {
	token := "parley.token." + signHS256(t, secret, claims{"sub": "offers"})
	for _, row := range []struct {
		offer  []string
		answer string
		token  bool
	}{
		{nil, "", false},
		{[]string{"parley.v1.json"}, "parley.v1.json", false},
		{[]string{"parley.v1.proto"}, "parley.v1.proto", false},
		{[]string{"unknown"}, "", false},
		{[]string{"unknown, other.v2"}, "", false},
		{[]string{"unknown, parley.v1.proto"}, "parley.v1.proto", false},
		{[]string{"unknown", "parley.v1.json"}, "parley.v1.json", false},
		{[]string{"parley.v1.json, " + token}, "parley.v1.json", true},
		{[]string{token + ",parley.v1.json"}, "parley.v1.json", true},
		{[]string{token, "parley.v1.proto"}, "parley.v1.proto", true},
		{[]string{token}, "", true},
		{[]string{"unknown, " + token}, "", true},
	} {
		header := http.Header{}
		if row.offer != nil {
			header["Sec-WebSocket-Protocol"] = row.offer
		}
		raw, answer := client.Upgrade(t, s.URLs[0], "/ws", header)
		if raw == nil {
			t.Errorf("%.60q: %s", row.offer, answer.Status)
			continue
		}
		if got := answer.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != row.answer || len(got) > 1 {
			t.Errorf("%.60q: answered %.60q, want %q", row.offer, got, row.answer)
		}
		encoding, opcode := frame.JSON, byte(client.OpText)
		if row.answer == frame.Proto.Subprotocol() {
			encoding, opcode = frame.Proto, client.OpBinary
		}
		want := []string{"welcome"}
		if row.token {
			want = append(want, "auth-success")
		}
		for _, event := range want {
			got, payload, err := raw.Read()
			if err != nil || got != opcode {
				t.Fatalf("%.60q: a frame of kind %d, %v", row.offer, got, err)
			}
			f, err := frame.DecodeServer(encoding, payload)
			if err != nil || frame.EventType(f) != event || f.Id != nil {
				t.Errorf("%.60q: %v (%v) came, want %s", row.offer, f, err, event)
			}
		}
	}
}

// testUpgradeRequests sends requests that must not become connections.
func testUpgradeRequests(t *testing.T, s *stack.Stack) {
	token := signHS256(t, secret, claims{"sub": "query"})
	for _, query := range []string{"token=" + token, "token=", "access_token=" + token, "jwt=" + token, "a=b&token=" + token} {
		for _, path := range []string{"/ws?", "/chat?"} {
			raw, answer := client.Upgrade(t, s.URLs[0], path+query, nil)
			if raw != nil || answer.StatusCode != http.StatusBadRequest {
				t.Errorf("%s%.20s: %s", path, query, answer.Status)
				continue
			}
			var body struct {
				Error struct{ Code, Field, Message string }
			}
			if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.Error.Field != "token" || body.Error.Code != "invalid-argument" {
				t.Errorf("%s%.20s: %+v (%v)", path, query, body, err)
			}
		}
	}
	if raw, answer := client.Upgrade(t, s.URLs[0], "/ws?room=x", nil); raw == nil {
		t.Errorf("another query: %s", answer.Status)
	}
	if raw, answer := client.Upgrade(t, s.URLs[0], "/elsewhere", nil); raw != nil || answer.StatusCode != http.StatusNotFound {
		t.Errorf("/elsewhere: %s", answer.Status)
	}
	for name, header := range map[string]http.Header{
		"no upgrade":    {"Upgrade": nil},
		"no connection": {"Connection": nil},
		"version 8":     {"Sec-WebSocket-Version": {"8"}},
		"no key":        {"Sec-WebSocket-Key": nil},
		"a short key":   {"Sec-WebSocket-Key": {"eA=="}},
	} {
		if raw, answer := client.Upgrade(t, s.URLs[0], "/ws", header); raw != nil || answer.StatusCode/100 != 4 {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
}

func testOrigins(t *testing.T, s *stack.Stack) {
	open := s.AddGateway(t, func(o *gateway.Options) { o.AllowedOrigins = []string{"https://chat.example.com", "*.example.org"} })
	for _, row := range []struct {
		gateway int
		origin  string
		status  int
	}{
		{0, "", 101}, // not a browser
		{0, s.URLs[0], 101},
		{0, "https://evil.example.com", 403},
		{0, "https://chat.example.com", 403},
		{0, "null", 403},
		{0, s.URLs[1], 403}, // another port
		{0, "file://", 403},
		{open, s.URLs[open], 101},
		{open, "https://chat.example.com", 101},
		{open, "http://chat.example.com", 403},
		{open, "https://chat.example.com.evil.com", 403},
		{open, "https://evil.com/chat.example.com", 403},
		{open, "https://a.example.org", 101},
		{open, "https://evil.example.com", 403},
	} {
		header := http.Header{}
		if row.origin != "" {
			header.Set("Origin", row.origin)
		}
		for _, path := range []string{"/ws", "/chat"} {
			if _, answer := client.Upgrade(t, s.URLs[row.gateway], path, header); answer.StatusCode != row.status {
				t.Errorf("gateway %d, %s from %q: %s, want %d", row.gateway, path, row.origin, answer.Status, row.status)
			}
		}
	}
}

func testConnectionLimit(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.MaxConnections = 2 })
	first := client.Dial(t, s.URLs[n], client.Options{})
	first.Want("welcome")
	second := client.Dial(t, s.URLs[n], client.Options{})
	second.Want("welcome")
	for range 3 {
		raw, answer := client.Upgrade(t, s.URLs[n], "/ws", nil)
		if raw == nil {
			t.Fatalf("the upgrade was refused: %s", answer.Status)
		}
		opcode, payload, err := raw.Read()
		if err != nil || opcode != client.OpClose || client.CloseCode(payload) != 1013 || string(payload[2:]) != "Server overloaded" {
			t.Errorf("frame %d %q, %v", opcode, payload, err)
		}
		raw.Write(client.OpClose, payload[:2])
	}
	if code := client.Dial(t, s.URLs[n], client.Options{}).Closed(); code != 1013 {
		t.Errorf("closed with %d", code)
	}
	first.SignIn(s.Token(t, "early")) // those inside notice nothing
	first.Join("full")
	second.Close()
	stack.Eventually(t, "there is room again", func() error {
		raw, answer := client.Upgrade(t, s.URLs[n], "/ws", nil)
		if raw == nil {
			return fmt.Errorf("the answer was %s", answer.Status)
		}
		if opcode, payload, _ := raw.Read(); opcode != client.OpText {
			return fmt.Errorf("closed with %d", client.CloseCode(payload))
		}
		return nil
	})
}

func testHeartbeat(t *testing.T, s *stack.Stack) {
	const interval = 200 * time.Millisecond
	n := s.AddGateway(t, func(o *gateway.Options) { o.Heartbeat = interval })
	witness := client.Dial(t, s.URLs[n], client.Options{}) // its library answers pings
	if ms := witness.Want("welcome").GetWelcome().HeartbeatIntervalMs; ms != interval.Milliseconds() {
		t.Errorf("welcome says %d ms", ms)
	}
	silent, _ := client.Upgrade(t, s.URLs[n], "/ws", nil)
	began, pings := time.Now(), 0
	for {
		opcode, payload, err := silent.Read()
		if err != nil {
			t.Fatalf("after %d pings: %v", pings, err)
		}
		if opcode == client.OpPing {
			pings++
			silent.Write(client.OpText, []byte(`{"type":"ping"}`)) // no answer to it
		}
		if opcode == client.OpClose {
			if code := client.CloseCode(payload); code != 4201 {
				t.Errorf("closed with %d", code)
			}
			break
		}
	}
	if took := time.Since(began); pings != 2 || took < 2*interval || took > 10*interval {
		t.Errorf("dropped after %d pings and %v", pings, took)
	}
	answering, _ := client.Upgrade(t, s.URLs[n], "/ws", nil)
	for pings = 0; pings < 6; {
		opcode, payload, err := answering.Read()
		if err != nil || opcode == client.OpClose {
			t.Fatalf("one that answers pings was dropped after %d: %v", pings, err)
		}
		if opcode == client.OpPing {
			pings++
			answering.Write(client.OpPong, payload)
		}
	}
	if !witness.Alive() {
		t.Error("a client whose library answers pings was dropped")
	}
}

func testPings(t *testing.T, s *stack.Stack) {
	raw, _ := client.Upgrade(t, s.URLs[0], "/ws", nil)
	raw.ReadText()
	raw.Write(client.OpPing, []byte("are you there"))
	if opcode, payload, err := raw.Read(); err != nil || opcode != client.OpPong || string(payload) != "are you there" {
		t.Errorf("frame %d %q, %v", opcode, payload, err)
	}
	raw.Write(client.OpText, []byte(`{"type":"ping","id":"p"}`))
	pong := raw.ReadText()
	at, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprint(pong["timestamp"]))
	if pong["type"] != "pong" || pong["id"] != "p" || err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("answered %v (%v)", pong, err)
	}
	raw.Write(client.OpClose, []byte{1000 >> 8, 1000 & 0xff})
	if opcode, payload, err := raw.Read(); err != nil || opcode != client.OpClose || client.CloseCode(payload) != 1000 {
		t.Errorf("the close was answered %d %q, %v", opcode, payload, err)
	}
}

// testDrain stops a gateway that is at work.
func testDrain(t *testing.T, s *stack.Stack) {
	n := s.AddGateway(t, func(o *gateway.Options) { o.DrainDelay = 500 * time.Millisecond })
	anonymous := client.Dial(t, s.URLs[n], client.Options{})
	anonymous.Want("welcome")
	reader := client.Dial(t, s.URLs[0], client.Options{})
	reader.SignIn(s.Token(t, "reader"))
	reader.Join("drained")
	var writers []*client.Client
	for _, encoding := range encodings {
		c := client.Dial(t, s.URLs[n], client.Options{Encoding: encoding})
		c.SignIn(s.Token(t, "writer-"+encoding.String()))
		c.Join("drained")
		writers = append(writers, c)
	}
	say := func(i int) {
		for j, c := range writers {
			f := ask.ChatMessage(&wirev1.SendMessage{RoomId: "drained", Content: proto.String(fmt.Sprintf("%d-%d", j, i))})
			f.Id = proto.String(fmt.Sprintf("d%d", i))
			_ = c.TrySend(f) // it may have been sent away
		}
	}
	const early, most = 50, 3000
	for i := range early {
		say(i)
	}
	done := s.StopGateway(n)
	stack.Eventually(t, "new connections are refused", func() error {
		raw, answer := client.Upgrade(t, s.URLs[n], "/ws", nil)
		if raw != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			return fmt.Errorf("answered %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
		}
		return nil
	})
	// Those who are connected are served until they are sent away.
	for i := early; i < most && len(writers[0].Untaken("going-away")) == 0; i++ {
		say(i)
	}
	for _, c := range append(writers, anonymous) {
		away := c.Want("going-away").GetGoingAway()
		if away.ReconnectInMs < 0 || away.ReconnectInMs > 2000 {
			t.Errorf("going-away %v", away)
		}
		if code := c.Closed(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
	}
	select {
	case <-done:
	case <-time.After(client.Patience):
		t.Fatal("the gateway does not end")
	}
	// What was acknowledged is stored; and what was under way when the end began
	// was acknowledged. (A message behind going-away may miss its ack: who sends
	// it again elsewhere is told that it is a duplicate.)
	reader.Say("drained", "the end")
	reader.Hear("drained", "the end")
	stored := map[string]bool{}
	for _, f := range reader.Untaken("chat-message") {
		stored[f.GetChatMessage().User.Username+" "+f.GetId()] = true
	}
	for i, c := range writers {
		acked := map[string]bool{}
		for _, f := range c.Untaken("ack") {
			acked[f.GetId()] = true
			if !stored["writer-"+encodings[i].String()+" "+f.GetId()] {
				t.Errorf("%s was acknowledged and is not stored", f.GetId())
			}
		}
		for n := range early {
			if !acked[fmt.Sprintf("d%d", n)] {
				t.Errorf("%s was not acknowledged", fmt.Sprintf("d%d", n))
			}
		}
	}
}
