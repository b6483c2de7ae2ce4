package limit

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKeyed(t *testing.T, o Options) *Keyed {
	t.Helper()
	k, err := NewKeyed(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func expect(t *testing.T, k *Keyed, key string, ok bool, after time.Duration) {
	t.Helper()
	if gotOK, got := k.Allow(key); gotOK != ok || got != after {
		t.Errorf("%s: %v, %v; want %v, %v", key, gotOK, got, ok, after)
	}
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, Options{Every: 10 * time.Second, Burst: 2})
		expect(t, k, "a", true, 0)
		expect(t, k, "a", true, 0)
		expect(t, k, "a", false, 10*time.Second)
		expect(t, k, "b", true, 0)
		time.Sleep(4 * time.Second)
		expect(t, k, "a", false, 6*time.Second)
		expect(t, k, "a", false, 6*time.Second) // asking costs nothing
		time.Sleep(6 * time.Second)
		expect(t, k, "a", true, 0)
		expect(t, k, "a", false, 10*time.Second)
		time.Sleep(time.Hour)
		expect(t, k, "a", true, 0)
		expect(t, k, "a", true, 0)
		expect(t, k, "a", false, 10*time.Second)
	})
}

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, Options{Every: time.Second})
		expect(t, k, "a", true, 0)
		expect(t, k, "a", false, time.Second)
	})
	free := newKeyed(t, Options{})
	for range 1000 {
		expect(t, free, "a", true, 0)
	}
	for _, o := range []Options{{Every: -1}, {Burst: -1}, {Keys: -1}} {
		if _, err := NewKeyed(o); err == nil {
			t.Error("accepted", o)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, Options{Every: time.Hour, Keys: 3})
		for _, key := range []string{"a", "b", "c"} {
			expect(t, k, key, true, 0)
		}
		expect(t, k, "a", false, time.Hour) // a use, if a refused one
		expect(t, k, "d", true, 0)          // b is the oldest
		expect(t, k, "a", false, time.Hour)
		expect(t, k, "b", true, 0)
		for i := range 100 {
			k.Allow(fmt.Sprint(i))
		}
		if k.Len() != 3 {
			t.Error(k.Len())
		}
	})
}

func TestLongKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, Options{Every: time.Hour})
		long := strings.Repeat("x", 1<<20)
		expect(t, k, long, true, 0)
		expect(t, k, long, false, time.Hour)
		expect(t, k, long+"y", true, 0)
		for _, key := range k.buckets.Keys() {
			if len(key) > 32 {
				t.Errorf("a key of %d bytes is kept", len(key))
			}
		}
	})
}

func TestConcurrent(t *testing.T) {
	k := newKeyed(t, Options{Every: time.Hour, Burst: 50})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if ok, _ := k.Allow("a"); ok {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 50 {
		t.Error(allowed.Load())
	}
}

func TestAddressKey(t *testing.T) {
	for _, test := range []struct{ address, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::9", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := AddressKey(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s: %s, want %s", test.address, got, test.want)
		}
	}
	AddressKey(netip.Addr{}) // "invalid IP", and no panic
}

func BenchmarkAllow(b *testing.B) {
	k, err := NewKeyed(Options{Every: time.Millisecond, Burst: 100})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = fmt.Sprint("user", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		k.Allow(keys[i%len(keys)])
		i++
	}
}
