package faults

import (
	"encoding/json"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/services/e2e/internal/client"
)

// stopReading has a client join every room and then read nothing more. The
// others must not notice; the gateway may close it, and has to bound what it
// keeps for it.
func (b *breaker) stopReading() {
	c, answer := client.Upgrade(b.t, b.urls[b.rand.IntN(gateways)], "/ws", nil)
	if c == nil {
		b.t.Errorf("a gateway answered %s", answer.Status)
		return
	}
	c.ReadBuffer(4 << 10)
	say := func(request map[string]any) {
		text, err := json.Marshal(request)
		if err != nil {
			b.t.Fatal(err)
		}
		c.Write(client.OpText, text)
	}
	say(map[string]any{"type": "auth", "token": signed(b.t, jwt.MapClaims{"userId": "sleeper", "username": "sleeper"})})
	for _, room := range b.control.Rooms() {
		say(map[string]any{"type": "join-room", "roomId": room})
	}
	b.wait(b.seconds(4, 10))
}
