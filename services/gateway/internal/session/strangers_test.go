package session

import (
	"math/rand/v2"
	"slices"
	"testing"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// Whatever comes and goes, the one that goes is the one that has waited longest.
func TestStrangers(t *testing.T) {
	const most = 10
	var (
		l     strangers
		model []*Session
	)
	for range 2000 {
		if rand.IntN(3) == 0 && len(model) > 0 {
			i := rand.IntN(len(model))
			l.remove(model[i])
			l.remove(model[i]) // again, for nothing
			model = slices.Delete(model, i, i+1)
		} else {
			s := new(Session)
			longest := l.add(s, most)
			model = append(model, s)
			if len(model) <= most {
				if longest != nil {
					t.Fatalf("one of %d has to go", len(model))
				}
			} else {
				if longest != model[0] {
					t.Fatal("another than the oldest has to go")
				}
				l.remove(longest) // as its end does
				model = model[1:]
			}
		}
		if l.len() != len(model) {
			t.Fatalf("%d strangers, want %d", l.len(), len(model))
		}
	}
}

func TestDirectoryIsFullPerUser(t *testing.T) {
	d := newDirectory(2)
	alice, bob := &Identity{User: &wirev1.User{Id: "alice"}}, &Identity{User: &wirev1.User{Id: "bob"}}
	a, b, c := new(Session), new(Session), new(Session)
	if !d.add(a, alice) || !d.add(b, alice) || d.add(c, alice) || !d.add(c, bob) {
		t.Error("not two sessions of each user")
	}
	d.remove(a, alice)
	if e := new(Session); !d.add(e, alice) || len(d.signedIn("alice")) != 2 {
		t.Error("no place is free after one has gone")
	}
}
