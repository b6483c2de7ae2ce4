package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/run"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// drain has a process end in order, by its admin port: gRPC leads to services, and
// of gateways each is to be told for itself.
func drain(s *config.Set) action {
	wait := true
	s.Bool(&wait, "wait", "end when the process has ended")
	return func(ctx context.Context, d *deployment, arguments []string) error {
		base := strings.TrimRight(arguments[0], "/")
		if !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://") {
			return fmt.Errorf("%q: want the http:// of an admin port, as http://gateway-1:9090", arguments[0])
		}
		token, err := d.operator.Token(ctx)
		if err != nil {
			return err
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/drain", nil)
		if err != nil {
			return err
		}
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
		client := &http.Client{Timeout: 10 * time.Second}
		answer, err := client.Do(q)
		if err != nil {
			return shell.Exit(shell.Unreached, fmt.Errorf("the admin port does not answer: %w", err))
		}
		said, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		_ = answer.Body.Close() // only read
		switch {
		case answer.StatusCode != http.StatusAccepted:
			return shell.Exit(shell.Refused, fmt.Errorf("%s: %s: %s", base, answer.Status, strings.TrimSpace(string(said))))
		case err != nil:
			return err
		case !wait:
			_, err = fmt.Fprintln(d.out, "It sends its clients elsewhere, and ends.")
			return err
		}
		// Its admin port is the last that it closes.
		for err == nil {
			if !run.Sleep(ctx, 100*time.Millisecond) {
				return context.Cause(ctx)
			}
			if answer, err = client.Get(base + "/livez"); err == nil {
				_ = answer.Body.Close()
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		_, err = fmt.Fprintln(d.out, "It has ended.")
		return err
	}
}
