package frame

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// The scanner has to find the same texts valid as encoding/json, which it
// stands in for, and has to read the same from them.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{
		``, ` `, `null`, `nul`, `true`, `falsey`, `0`, `-0`, `01`, `-`, `1.`, `.5`, `1.5e+10`, `1e`, `1E-2`, `+1`, `NaN`,
		`""`, `"a`, `"\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d\ud83d\ude00"`, `"\u12g4"`, `"\x"`, `"\`, "\"\x01\"", "\"\x7f\"",
		`[]`, `[ 1 , 2 ]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `{}`, `{ "a" : 1 , "b" : [ ] }`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`,
		`{"a":1 "b":2}`, `{1:2}`, `[1]]`, `{}{}`, "\t\r\n[\"\t\"]", "[\" \\\" \"]", "\ufeff1", `[[[[{"a":[{}]}]]]]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return
		}
		err := whole(b, maxDepth)
		if err != nil && strings.Contains(err.Message, "too deep") {
			return
		}
		if (err == nil) != json.Valid(b) {
			t.Fatalf("%q: %v, but valid is %v", b, err, json.Valid(b))
		}
		if err != nil {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, b); err != nil {
			t.Fatal(err)
		}
		got := compact(bytes.Clone(b))
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q becomes %q, want %q", b, got, want.Bytes())
		}
		var text string
		if got[0] == '"' && json.Unmarshal(got, &text) == nil {
			if read, err := value(got).text(); err != nil || read != text {
				t.Fatalf("%q reads as %q, want %q", got, read, text)
			}
		}
	})
}

func TestDepthIsBounded(t *testing.T) {
	for _, bracket := range []string{"[]", `{}`} {
		open, end := bracket[:1], bracket[1:]
		if open == "{" {
			open = `{"a":`
		}
		nest := func(n int) []byte {
			return []byte(strings.Repeat(open, n-1) + bracket + strings.Repeat(end, n-1))
		}
		if err := whole(nest(maxDepth), maxDepth); err != nil {
			t.Errorf("%s at the limit: %v", bracket, err)
		}
		if err := whole(nest(maxDepth+1), maxDepth); err == nil || !strings.Contains(err.Message, "too deep") {
			t.Errorf("%s beyond the limit: %v", bracket, err)
		}
	}
}
