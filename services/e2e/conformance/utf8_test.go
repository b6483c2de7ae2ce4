package conformance

import (
	"bytes"
	"fmt"
	"testing"
	"unicode/utf8"
)

// wordsOf every length of a character, and the last of each length; none is an
// escape in JSON.
var words = []string{
	"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "日本語", "\U00010000\U0010ffff", "😀😀", "\u0080\u07ff\u0800\ud7ff\ue000\uffff",
	"\ufdd0\ufffe", "é\u0301 \u200d\u202e", "\x7f",
}

// within gives a message of the target in which some bytes are text.
func (g *target) within(b string) []byte {
	return []byte(`{"type":"ping","id":"said","pad":"` + b + `"}`)
}

// testUTF8 says text cut into fragments at every byte, also within characters.
func testUTF8(t *testing.T, g *target) {
	for _, word := range words {
		said := g.within(word)
		begin := bytes.Index(said, []byte(word))
		for cut := begin; cut <= begin+len(word); cut++ {
			if _, err := g.exchange(said, masked(text, said[:cut]), masked(fin|continuation, said[cut:])); err != nil {
				t.Errorf("%q cut at %d: %v", word, cut-begin, err)
			}
			if err := g.inPieces(said, masked(fin|text, said), cut); err != nil {
				t.Errorf("%q written in pieces of %d: %v", word, cut, err)
			}
		}
		if _, err := g.exchange(said, fragments(text, said, 1)...); err != nil {
			t.Errorf("%q in single bytes: %v", word, err)
		}
	}
}

// notText are bytes that are no UTF-8 (RFC 3629, section 4): bare and missing
// continuations, overlong forms, surrogates, beyond U+10FFFF, bytes there are not.
var notText = []string{
	"\x80", "\xbf", "\x80\xbf\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xf4\x8f\xbf",
	"\xc0\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80",
	"\xed\xa0\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80",
	"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff", "\xfe\xfe\xff\xff",
	"κόσμε\xed\xa0\x80edited", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
}

func testBadUTF8(t *testing.T, g *target) {
	for _, bad := range notText {
		if utf8.ValidString(bad) {
			t.Fatalf("%q is text", bad)
		}
		said := g.within(bad)
		begin := bytes.Index(said, []byte(bad))
		g.refuses(t, fmt.Sprintf("%q", bad), 1007, masked(fin|text, said))
		for cut := begin; cut <= begin+len(bad); cut++ {
			g.refuses(t, fmt.Sprintf("%q cut at %d", bad, cut-begin), 1007, masked(text, said[:cut]), masked(fin|continuation, said[cut:]))
		}
		g.refuses(t, fmt.Sprintf("%q at the end", bad), 1007, masked(text, []byte("{")), masked(fin|continuation, []byte(bad)))
	}
	// Text that is cut off in the middle of a character is not text, however it
	// was cut before.
	for _, word := range words {
		for cut := 1; cut < len(word); cut++ {
			if !utf8.ValidString(word[:cut]) {
				g.refuses(t, fmt.Sprintf("%q", word[:cut]), 1007, fragments(text, []byte(word[:cut]), 1)...)
			}
		}
	}
}
