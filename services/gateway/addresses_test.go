package gateway

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	a, err := newAddresses(Options{MaxPerAddress: 2})
	if err != nil {
		t.Fatal(err)
	}
	enter := func(remote string, want refusal) {
		t.Helper()
		if cause, after := a.enter(remote); cause != want || (after > 0) != (want != 0) {
			t.Errorf("%s: refused for %v, after %v; want %v", remote, cause, after, want)
		}
	}
	enter("192.0.2.1:4711", 0)
	enter("[::ffff:192.0.2.1]:4712", 0) // the same, said in another way
	enter("192.0.2.1:4713", address)
	enter("192.0.2.2:4711", 0)
	// A /64 is one customer's.
	enter("[2001:db8:0:1::1]:1", 0)
	enter("[2001:db8:0:1:ffff::2]:1", 0)
	enter("[2001:db8:0:1::3]:1", address)
	enter("[2001:db8:0:2::1]:1", 0)
	// A private address may be a load balancer's, and what is none is nobody's.
	for _, remote := range []string{"10.1.2.3:1", "127.0.0.1:1", "[fe80::1%eth0]:1", "[fd00::1]:1", "somewhere", ""} {
		for range 5 {
			enter(remote, 0)
		}
	}
	if n := a.count(); n != 4 {
		t.Errorf("%d addresses, want 4", n)
	}
	a.leave("192.0.2.1") // without its port, as a connection knows it
	enter("192.0.2.1:4714", 0)
	enter("192.0.2.1:4715", address)
	for _, remote := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1", "10.1.2.3"} {
		a.leave(remote)
	}
	if n := a.count(); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
}

func TestConnectRate(t *testing.T) {
	a, err := newAddresses(Options{ConnectRate: 0.001, ConnectBurst: 3, LimitPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		cause, after := a.enter("127.0.0.1:1")
		if early := i >= 3; (cause == tooFast) != early || (after > 0) != early {
			t.Errorf("connection %d: %v, after %v", i, cause, after)
		}
	}
	if cause, _ := a.enter("127.0.0.2:1"); cause != 0 {
		t.Errorf("another address: %v", cause)
	}
}

// What makes no sense is refused by its name.
func TestLimitsThatAreNone(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"proxy-protocol":      func(o *Options) { o.Proxy = "maybe" },
		"trusted-proxies":     func(o *Options) { o.Proxy = "required" },
		"max-unauthenticated": func(o *Options) { o.MaxUnauthenticated = -1 },
		"max-per-address":     func(o *Options) { o.MaxPerAddress = -1 },
		"max-per-user":        func(o *Options) { o.MaxPerUser = -1 },
		"max-rooms":           func(o *Options) { o.MaxRooms = -1 },
		"connect-rate":        func(o *Options) { o.ConnectRate = -1 },
		"input-rate":          func(o *Options) { o.InputRate = 1 },
		"queue-total":         func(o *Options) { o.QueueTotal = 1 },
	} {
		o := Defaults()
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
