package frame

import (
	"bytes"
	"fmt"
)

const (
	// maxDepth bounds how deep the arrays and objects of a frame are nested.
	maxDepth = 100
	// maxDataDepth bounds it inside of a json_value field. It is smaller, so
	// that data fits in whichever frame carries it on.
	maxDataDepth = 64
)

// scanner walks JSON text (RFC 8259) that is known to be UTF-8, and cuts it
// into members and elements without copying. It exists beside the JSON
// libraries because a frame's type may come behind its fields: slices can be
// looked at twice for free. A fuzz test holds its verdicts to encoding/json's.
type scanner struct {
	b     []byte
	i     int
	inner bool   // behind the first member or element
	fault string // why the text is not JSON
}

// special marks the bytes that a string cannot have as they are: the quote,
// the backslash and the control characters.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (s *scanner) space() {
	for s.i < len(s.b) && isSpace(s.b[s.i]) {
		s.i++
	}
}

// eat passes the byte c, if it is the next.
func (s *scanner) eat(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) fail(fault string) bool {
	if s.fault == "" {
		s.fault = fault
	}
	return false
}

func (s *scanner) unexpected() bool {
	if s.i >= len(s.b) {
		return s.fail("ends too early")
	}
	return s.fail("unexpected character")
}

// err returns the fault, if there is one.
func (s *scanner) err() *Error {
	if s.fault == "" {
		return nil
	}
	return &Error{Code: BadMessage, Message: fmt.Sprintf("not valid JSON: %s at byte %d", s.fault, s.i)}
}

// member returns the next member of the object whose '{' was passed. ok is
// false at the object's end, which is passed too, and at a fault. The name is
// what stands between the quotes.
func (s *scanner) member(depth int) (name, value []byte, ok bool) {
	if !s.another('}') {
		return nil, nil, false
	}
	start := s.i
	if !s.text() {
		return nil, nil, false
	}
	name = s.b[start+1 : s.i-1]
	s.space()
	if !s.eat(':') {
		return nil, nil, s.unexpected()
	}
	s.space()
	start = s.i
	if !s.value(depth - 1) {
		return nil, nil, false
	}
	return name, s.b[start:s.i], true
}

// element is for arrays what member is for objects.
func (s *scanner) element(depth int) (value []byte, ok bool) {
	if !s.another(']') {
		return nil, false
	}
	start := s.i
	if !s.value(depth - 1) {
		return nil, false
	}
	return s.b[start:s.i], true
}

// another moves to the next member or element, past the comma before it, or
// passes the end of the object or array.
func (s *scanner) another(end byte) bool {
	s.space()
	if s.eat(end) {
		return false
	}
	if s.inner {
		if !s.eat(',') {
			return s.unexpected()
		}
		s.space()
	}
	s.inner = true
	return true
}

// value passes one value with at most depth arrays and objects in each other.
func (s *scanner) value(depth int) bool {
	if s.i >= len(s.b) {
		return s.unexpected()
	}
	switch s.b[s.i] {
	case '"':
		return s.text()
	case '{', '[':
		return s.composite(depth)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) composite(depth int) bool {
	if depth <= 0 {
		return s.fail("nested too deep")
	}
	object := s.b[s.i] == '{'
	outer := s.inner
	s.i++
	s.inner = false
	for ok := true; ok; {
		if object {
			_, _, ok = s.member(depth)
		} else {
			_, ok = s.element(depth)
		}
	}
	s.inner = outer
	return s.fault == ""
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		return s.unexpected()
	}
	s.i += len(w)
	return true
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start || s.unexpected()
}

func (s *scanner) number() bool {
	s.eat('-')
	if !s.eat('0') && !s.digits() {
		return false
	}
	if s.eat('.') && !s.digits() {
		return false
	}
	if s.eat('e') || s.eat('E') {
		if !s.eat('+') {
			s.eat('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) text() bool {
	if !s.eat('"') {
		return s.unexpected()
	}
	for {
		i := s.i
		for i < len(s.b) && !special[s.b[i]] {
			i++
		}
		s.i = i
		switch {
		case i == len(s.b):
			return s.unexpected()
		case s.b[i] == '"':
			s.i++
			return true
		case s.b[i] != '\\':
			return s.fail("control character in a string")
		case !s.escape():
			return false
		}
	}
}

func (s *scanner) escape() bool {
	s.i++
	if s.i >= len(s.b) {
		return s.unexpected()
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return true
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) || unhex(s.b[s.i]) < 0 {
				return s.unexpected()
			}
			s.i++
		}
		return true
	}
	return s.unexpected()
}

func unhex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return rune(c - 'A' + 10)
	}
	return -1
}

// open starts at the object or array that raw is, past its first byte.
func open(raw []byte) scanner { return scanner{b: raw, i: 1} }

// whole reports whether raw is one JSON value and nothing else.
func whole(raw []byte, depth int) *Error {
	s := scanner{b: raw}
	s.space()
	if s.value(depth) {
		s.end()
	}
	return s.err()
}

// end makes anything but space behind the value a fault.
func (s *scanner) end() {
	s.space()
	if s.i < len(s.b) {
		s.fail("more than one value")
	}
}

// compact takes the space between the tokens out of b, which is JSON, in
// place. What stands in it otherwise, numbers above all, stays as written.
func compact(b []byte) []byte {
	if !bytes.ContainsAny(b, " \t\r\n") {
		return b
	}
	out := b[:0]
	for i := 0; i < len(b); {
		start := i
		switch {
		case isSpace(b[i]):
			i++
			continue
		case b[i] == '"':
			s := scanner{b: b, i: i}
			s.text()
			i = s.i
		default:
			i++
		}
		out = append(out, b[start:i]...)
	}
	return out
}
