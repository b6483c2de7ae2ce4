package e2e

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

// parley echo sends back what it gets, up to the limit it is given, says
// goodbye when it is stopped, and ends well.
func TestProcessEcho(t *testing.T) {
	p := process.Start(t, process.Spec{Program: process.Parley, Args: args("echo", "--addr", "127.0.0.1:0", "--max-message", "1MiB")})
	var url string
	process.Eventually(t, client.Patience, "it says where it serves", func() error {
		_, rest, ok := strings.Cut(p.Stdout(), "echoing on ws://")
		if !ok {
			return errors.New(p.Stdout())
		}
		url = "http://" + strings.TrimSpace(rest)
		return nil
	})
	raw, _ := client.Upgrade(t, url, "/any/path", http.Header{})
	for _, kind := range []byte{client.OpText, client.OpBinary} {
		said := bytes.Repeat([]byte("said "), 200_000)
		raw.Write(kind, said)
		if got, payload, err := raw.Read(); err != nil || got != kind || !bytes.Equal(payload, said) {
			t.Errorf("kind %#x: %#x, %d bytes came back, %v", kind, got, len(payload), err)
		}
	}
	ended := make(chan int, 1)
	go func() { ended <- p.Stop() }()
	kind, payload, err := raw.Read()
	if err != nil || kind != client.OpClose || client.CloseCode(payload) != 1001 {
		t.Errorf("at the end: %#x %q, %v", kind, payload, err)
	}
	raw.Write(client.OpClose, payload[:2])
	if status := <-ended; status != 0 {
		t.Errorf("exit status %d: %s", status, p.Stderr())
	}
}
