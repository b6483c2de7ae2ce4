package ids

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/errs"
)

func TestCheckRoom(t *testing.T) {
	good := []string{"a", "general", "A_b:c-9", strings.Repeat("x", 64), "dm:x", Lobby}
	bad := []string{"", strings.Repeat("x", 65), "a.b", "a*", ">", "a b", "é", "a\x00", "a/b"}
	for _, id := range good {
		if err := CheckRoom("roomId", id); err != nil {
			t.Errorf("CheckRoom(%q) = %v", id, err)
		}
	}
	for _, id := range bad {
		err := CheckRoom("roomId", id)
		if errs.CodeOf(err) != errs.InvalidArgument || errs.From(err).Field != "roomId" {
			t.Errorf("CheckRoom(%q) = %v, want invalid-argument about roomId", id, err)
		}
	}
	if CheckNewRoom("roomId", "dm:x") == nil {
		t.Error("a room of two was made by name")
	}
}

func TestCheckUser(t *testing.T) {
	for _, id := range []string{"u1", "auth0|abc.*>", strings.Repeat("é", 64)} {
		if err := CheckUser("userId", id); err != nil {
			t.Errorf("CheckUser(%q) = %v", id, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", 129), "a\nb", "a\u0085b", "\xff"} {
		if CheckUser("userId", id) == nil {
			t.Errorf("CheckUser(%q) passed", id)
		}
	}
}

func TestUsername(t *testing.T) {
	// e + combining acute becomes one character.
	got, err := Username("username", "Rene\u0301e")
	if err != nil || got != "Ren\u00e9e" {
		t.Errorf("Username = %q, %v", got, err)
	}
	// 32 after composition, 64 code points before.
	if _, err := Username("username", strings.Repeat("e\u0301", 32)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "   ", strings.Repeat("x", 33), "a\tb", "\xff"} {
		if _, err := Username("username", name); errs.CodeOf(err) != errs.InvalidArgument {
			t.Errorf("Username(%q) = %v", name, err)
		}
	}
}

func TestTokenIsOneSubjectToken(t *testing.T) {
	for _, text := range []string{"a.b", "*", ">", "é ü", "auth0|x", "\x00"} {
		token := Token(text)
		if strings.ContainsAny(token, ".*> \t\r\n:") {
			t.Errorf("Token(%q) = %q", text, token)
		}
		if back, err := FromToken(token); err != nil || back != text {
			t.Errorf("FromToken(Token(%q)) = %q, %v", text, back, err)
		}
	}
}

func TestMessageKeepsPartsApart(t *testing.T) {
	seen := map[string][3]string{}
	for _, p := range [][3]string{
		{"a", "bc", "d"}, {"ab", "c", "d"}, {"a", "b", "cd"}, {"", "abc", "d"}, {"a", "bc", ""},
		{"a", "b", "c\x00d"}, {"a", "b\x00c", "d"},
	} {
		id := Message(p[0], p[1], p[2])
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q share %q", p, other, id)
		}
		seen[id] = p
	}
}

func TestDirect(t *testing.T) {
	ab := Direct("a", "bc")
	if ab != Direct("bc", "a") {
		t.Error("the order counts")
	}
	if ab == Direct("ab", "c") || ab == Direct("a", "b") {
		t.Error("two pairs have one room")
	}
	if err := CheckRoom("roomId", ab); err != nil {
		t.Error(err)
	}
}
