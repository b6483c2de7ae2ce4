package check

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// TestRunAgainstLiar has the checker find what a gateway does wrong that does
// it now and then.
func TestRunAgainstLiar(t *testing.T) {
	type frames = []*wirev1.ServerFrame
	for _, test := range []struct {
		name   string
		change func(*wirev1.ServerFrame) []*wirev1.ServerFrame
		want   Kind
	}{
		{"drops", sometimes(100, func(*wirev1.ServerFrame) []*wirev1.ServerFrame { return nil }), Lost},
		{"repeats", sometimes(100, func(f *wirev1.ServerFrame) []*wirev1.ServerFrame { return frames{f, f} }), Duplicated},
		{"changes", sometimes(100, func(f *wirev1.ServerFrame) []*wirev1.ServerFrame {
			f = proto.CloneOf(f)
			if m := f.GetChatMessage(); m != nil {
				m.Content = proto.String("something else")
			} else {
				f.GetRoomMessage().Content = proto.String("something else")
			}
			return frames{f}
		}), Changed},
		{"acknowledges what it did not store", func(f *wirev1.ServerFrame) []*wirev1.ServerFrame {
			if ack := f.GetAck(); ack != nil && *ack.Seq%50 == 0 {
				*ack.Seq += 1 << 40
			}
			return frames{f}
		}, Lost},
		{"does not recognise what is sent again", func(f *wirev1.ServerFrame) []*wirev1.ServerFrame {
			if ack := f.GetAck(); ack != nil {
				ack.Duplicate = false
			}
			return frames{f}
		}, Duplicated},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := stack.Start(t, stack.Options{})
			report, err := Run(t.Context(), Options{
				URLs: []string{lie(t, s.URLs[0], test.change)}, Duration: 2 * time.Second, Patience: 2 * time.Second,
				Rooms: 2, Writers: 2, Readers: 1, Rate: 200,
			})
			if err != nil {
				t.Fatal(err)
			}
			if report.Counts[test.want] == 0 {
				t.Errorf("found %v, and nothing %s", report.Counts, test.want)
			}
		})
	}
}
