package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/stack"
	"github.com/parley-im/parley/services/gateway"
)

// limit is the largest message that both targets take, bytes.
const limit = 64 << 10

// target is a server that is judged.
type target struct {
	name, address, path string
	// echoes says that messages of any kind come back as they were.
	echoes bool
}

// say makes a message of some bytes, at least 64, that the target answers.
func (g *target) say(size int) []byte {
	const begin, end = `{"type":"ping","id":"said","pad":"`, `"}`
	fill := size - len(begin) - len(end)
	return []byte(begin + strings.Repeat("é-", fill)[:fill/3*3] + strings.Repeat("x", fill%3) + end)
}

// answered reads until the answer to what say made.
func (g *target) answered(p *peer, said []byte) (controls []received, err error) {
	for {
		kind, payload, more, err := p.message()
		controls = append(controls, more...)
		if err != nil {
			return controls, err
		}
		if kind != text {
			return controls, fmt.Errorf("an answer of kind %#x", kind)
		}
		if g.echoes {
			if !bytes.Equal(payload, said) {
				return controls, fmt.Errorf("%d bytes came back as %d, %.60q", len(said), len(payload), payload)
			}
			return controls, nil
		}
		var answer struct{ Type, ID string }
		if err := json.Unmarshal(payload, &answer); err != nil {
			return controls, err
		}
		switch {
		case answer.Type == "welcome":
			continue
		case answer.Type != "pong" || answer.ID != "said":
			return controls, fmt.Errorf("answered %q", payload)
		}
		return controls, nil
	}
}

// exchange is a case in which frames are sent and a message is answered.
func (g *target) exchange(said []byte, frames ...[]byte) (controls []received, err error) {
	p, err := dial(g.address, g.path)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.write(bytes.Join(frames, nil)); err != nil {
		return nil, err
	}
	return g.answered(p, said)
}

// refuses is a case in which frames end the connection with a code.
func (g *target) refuses(t *testing.T, name string, want int, frames ...[]byte) {
	t.Helper()
	p, err := dial(g.address, g.path)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer p.end()
	closes := slices.ContainsFunc(frames, func(f []byte) bool { return len(f) > 0 && f[0]&0x0f == closing })
	err = p.write(bytes.Join(frames, nil))
	code, reason, closeErr := p.closed(!closes)
	if err = errors.Join(err, closeErr); err != nil {
		t.Errorf("%s: %v", name, err)
	} else if code != want {
		t.Errorf("%s: closed with %d %q, want %d", name, code, reason, want)
	}
}

// TestConformance runs every case on the echo and on a gateway.
func TestConformance(t *testing.T) {
	for _, g := range []*target{echo(t), whole(t)} {
		t.Run(g.name, func(t *testing.T) {
			for _, group := range []struct {
				name string
				test func(*testing.T, *target)
			}{
				{"messages", testMessages},
				{"fragments", testFragments},
				{"pings", testPings},
				{"controls within a message", testControlsWithin},
				{"control frames that are none", testBadControls},
				{"reserved bits", testReservedBits},
				{"opcodes", testOpcodes},
				{"masks and lengths", testMasksAndLengths},
				{"order of frames", testOrderOfFrames},
				{"UTF-8", testUTF8},
				{"UTF-8 that is none", testBadUTF8},
				{"closing", testClosing},
				{"closing wrongly", testBadClosing},
				{"limits", testLimits},
				{"agreeing to compress", testOffers},
				{"compressed messages", testCompressed},
				{"compressed badly", testBadlyCompressed},
				{"many messages", testMany},
			} {
				t.Run(group.name, func(t *testing.T) {
					t.Parallel()
					group.test(t, g)
				})
			}
		})
	}
}

func echo(t *testing.T) *target {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gateway.Echo(ctx, gateway.EchoOptions{Listener: listener, MaxMessage: limit}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("echoing: %v", err)
		}
	})
	return &target{name: "echo", address: listener.Addr().String(), path: "/", echoes: true}
}

func whole(t *testing.T) *target {
	s := stack.Start(t, stack.Options{Gateway: func(o *gateway.Options) {
		o.MaxMessage = limit
		o.RateLimit, o.RateBurst = 1e6, 1e6 // that they are kept is not the question here
	}})
	return &target{name: "gateway", address: strings.TrimPrefix(s.URLs[0], "http://"), path: "/ws"}
}
