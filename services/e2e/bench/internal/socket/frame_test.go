package socket

import (
	"bytes"
	"testing"
)

// A frame is found as soon as it is whole, of whatever length.
func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 7, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{'a', 'b', 'c'}, size/3+1)[:size]
		masked := append(appendHeader(nil, Text, size, 0x80), 1, 2, 3, 4)
		for i, c := range payload {
			masked = append(masked, c^byte(i%4+1))
		}
		for name, frame := range map[string][]byte{
			"a server's": append(AppendServer(nil, Text, size), payload...),
			"a client's": append(AppendClient(nil, Text, size), payload...),
			"a masked":   masked,
		} {
			for _, part := range []int{0, 1, 2, 3, 5, 9, 13, len(frame) - 1} {
				if part < 0 || part >= len(frame) {
					continue
				}
				if _, _, n := Next(bytes.Clone(frame[:part])); n != 0 {
					t.Errorf("%s frame of %d bytes is whole with %d", name, size, part)
				}
			}
			first, got, n := Next(append(bytes.Clone(frame), Ping, 0))
			if first != Text || n != len(frame) || !bytes.Equal(got, payload) {
				t.Errorf("%s frame of %d bytes: first %#x, %d bytes of payload, %d in all", name, size, first, len(got), n)
			}
		}
	}
}
