package secret_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/parley-im/parley/pkg/secret"
)

const revealing = "tell-nobody"

// options hold secrets as services' do, and as those who keep them do.
type options struct {
	Token secret.Text
	Key   secret.Bytes
	List  []secret.Text
	Named map[string]secret.Text
	Any   any
}

type keeper struct {
	token secret.Text
	inner *secret.Text
}

func TestSecretsDoNotShow(t *testing.T) {
	token := secret.New(revealing)
	o := options{token, secret.Bytes(revealing), []secret.Text{token}, map[string]secret.Text{"a": token}, token}
	k := keeper{token, &token}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%c", "%U", "%t", "%e", "%T", "%10v"} {
		for _, v := range []any{token, &token, o, &o, k, &k, o.Key, []any{o, k}, struct{ k keeper }{k}, errors.Join(fmt.Errorf("wrapped: %v", o))} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
	}
	fmt.Fprintln(&shown, token, o, k)
	for _, v := range []any{token, o.Key, o, &o, k} {
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := yaml.Dump(v)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(asJSON)
		shown.Write(asYAML)
		for _, log := range []*slog.Logger{slog.New(slog.NewJSONHandler(&shown, nil)), slog.New(slog.NewTextHandler(&shown, nil))} {
			log.With("with", v).Info(fmt.Sprint(v), "v", v, slog.Group("g", "v", v))
		}
	}
	for what, bad := range map[string]string{
		"text": revealing, "hexadecimal": fmt.Sprintf("%x", revealing), "HEXADECIMAL": fmt.Sprintf("%X", revealing), "spaced": fmt.Sprintf("% x", revealing),
		"bytes": fmt.Sprint([]byte(revealing)), "base64": "dGVsbC1ub2JvZHk",
	} {
		if at := strings.Index(shown.String(), bad); at >= 0 {
			t.Errorf("a secret is shown as %s: %s", what, shown.String()[max(0, at-100):at+40])
		}
	}
	if strings.Count(shown.String(), secret.Mask) < 100 {
		t.Errorf("hardly anything is masked: %s", shown.String())
	}
	if token.Reveal() != revealing || string(o.Key.Reveal()) != revealing || token.IsZero() {
		t.Error("not revealed")
	}
	if empty := (secret.Text{}); empty.Reveal() != "" || empty.String() != "" || !empty.IsZero() || !secret.New("").IsZero() || secret.Bytes(nil).String() != "" {
		t.Error("an empty one is not empty")
	}
	var read options
	if err := json.Unmarshal([]byte(`{"Token":"`+revealing+`"}`), &read); err != nil || read.Token.Reveal() != revealing {
		t.Errorf("read %q, %v", read.Token.Reveal(), err)
	}
}
