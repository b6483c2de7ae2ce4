package check

import (
	"fmt"
	"strconv"
	"strings"
)

// pad fills messages up; what it is does not matter as long as it is always
// the same and not quite regular.
var pad = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 4<<10; i++ {
		fmt.Fprintf(&b, "%d · ", i*i)
	}
	return b.String()
}()

// names makes and reads the ids of one run's messages.
type names struct{ run string }

func (n names) id(k Key) string {
	return n.run + "-" + strconv.Itoa(k.Writer()) + "-" + strconv.Itoa(k.N())
}

func (n names) user(client int) string { return n.run + "-" + strconv.Itoa(client) }

func (n names) room(i int) string { return n.run + "-room-" + strconv.Itoa(i) }

// key reads an id; ok is false where the run has not made it.
func (n names) key(id string) (k Key, ok bool) {
	rest, found := strings.CutPrefix(id, n.run+"-")
	w, m, found2 := strings.Cut(rest, "-")
	if !found || !found2 {
		return 0, false
	}
	writer, err1 := strconv.ParseUint(w, 10, 64-keyBits)
	number, err2 := strconv.ParseUint(m, 10, keyBits)
	return makeKey(int(writer), int(number)), err1 == nil && err2 == nil
}

// content is what a message says: its room and id, so that one cannot pass for
// another, and as much more as its key decides; most are small.
func (n names) content(room int, k Key) string {
	return n.room(room) + " " + n.id(k) + " " + padding(k)
}

// isContent is content without making it.
func (n names) isContent(text, roomName, id string, k Key) bool {
	rest, ok1 := strings.CutPrefix(text, roomName)
	rest, ok2 := strings.CutPrefix(rest, " ")
	rest, ok3 := strings.CutPrefix(rest, id)
	rest, ok4 := strings.CutPrefix(rest, " ")
	return ok1 && ok2 && ok3 && ok4 && rest == padding(k)
}

func padding(k Key) string {
	h := uint64(k) * 0x9e3779b97f4a7c15
	size := int(h>>32) % 160
	if h>>59 == 0 {
		size = 3 << 10
	}
	for size > 0 && pad[size]&0xc0 == 0x80 { // not within a character
		size--
	}
	return pad[:size]
}
