//go:build linux

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/parley-im/parley/pkg/loopback"
)

// settings are what the programs are given beside addresses and the secret,
// for here a few clients send what many would. Everything else has its default.
var settings = []string{"PARLEY_MAX_CONNECTIONS=20000", "PARLEY_RATE_LIMIT=0", "PARLEY_INPUT_RATE=0", "PARLEY_ROOMS_PER_HOUR=0", "PARLEY_LOG_LEVEL=warn"}

// deployment is a server under load.
type deployment struct {
	name     string
	gateways []netip.AddrPort
	secret   []byte // nil for the floor, which nobody signs in to
	floor    bool

	program   string
	dir       string
	processes []*process
}

// starter starts a server.
type starter func(context.Context, *bench) (*deployment, error)

func (b *bench) newDeployment(name string) (*deployment, error) {
	dir, err := os.MkdirTemp("", "parley-bench-")
	if err != nil {
		return nil, err
	}
	return &deployment{name: name, program: b.opts.Program, dir: dir}, nil
}

// stop ends all processes and removes their data.
func (d *deployment) stop() {
	for _, p := range d.processes {
		p.kill()
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir) // what is left lies among the temporary files
	}
}

// deploy starts what f says and waits until it is ready.
func (b *bench) deploy(ctx context.Context, name string, f func(*deployment) error) (*deployment, error) {
	d, err := b.newDeployment(name)
	if err != nil {
		return nil, err
	}
	if err = f(d); err == nil {
		err = d.await(ctx)
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// startFloor starts the floor, or the floor+.
func startFloor(coalesce bool) starter {
	return func(ctx context.Context, b *bench) (*deployment, error) {
		name := "floor"
		if coalesce {
			name = "floor+"
		}
		return b.deploy(ctx, name, func(d *deployment) error {
			addr, err := d.gateway()
			if err != nil {
				return err
			}
			d.floor = true
			return d.start("floor", gatewayPart, listens(addr),
				[]string{ProcessCommand, "floor", "--addr", addr, fmt.Sprintf("--coalesce=%v", coalesce)}, nil)
		})
	}
}

// startFloors starts two floors, with the members of each room on both.
func startFloors(ctx context.Context, b *bench) (*deployment, error) {
	return b.deploy(ctx, "2 floors", func(d *deployment) error {
		d.floor = true
		var other []string
		for range 2 {
			addr, err := d.gateway()
			if err != nil {
				return err
			}
			err = d.start("floor", gatewayPart, listens(addr), append([]string{ProcessCommand, "floor", "--addr", addr}, other...), nil)
			if err == nil {
				err = d.await(ctx)
			}
			if err != nil {
				return err
			}
			other = []string{"--other", addr}
		}
		return nil
	})
}

// gateway gives the next gateway's address.
func (d *deployment) gateway() (string, error) {
	addr, err := loopback.Addr()
	if err != nil {
		return "", err
	}
	d.gateways = append(d.gateways, netip.MustParseAddrPort(addr))
	return addr, nil
}

// startServe starts parley serve: everything in one process.
func startServe(ctx context.Context, b *bench) (*deployment, error) {
	if len(b.opts.URLs) > 0 {
		return b.running(ctx)
	}
	if b.opts.Apart {
		return startApart(1)(ctx, b)
	}
	return b.deploy(ctx, "parley serve", func(d *deployment) error {
		addr, err1 := d.gateway()
		admin, err2 := loopback.Addr()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return d.start("serve", gatewayPart, answers(admin),
			[]string{"serve", "--data-dir", filepath.Join(d.dir, "data")}, d.environment(addr, admin))
	})
}

// environment is what all Parley's programs are given.
func (d *deployment) environment(gateway, admin string) []string {
	if d.secret == nil {
		d.secret = []byte(rand.Text() + rand.Text())
	}
	return append(slices.Clone(settings),
		"PARLEY_ADMIN_ADDR="+admin, "PARLEY_HTTP_ADDR="+gateway, "PARLEY_JWT_SECRET="+string(d.secret))
}

// startApart starts gateways, the four services, and NATS, a process each.
func startApart(gateways int) starter {
	return func(ctx context.Context, b *bench) (*deployment, error) {
		if len(b.opts.URLs) > 0 {
			return b.running(ctx)
		}
		name := "NATS apart"
		if gateways > 1 {
			name = fmt.Sprintf("%d gateways", gateways)
		}
		return b.deploy(ctx, name, func(d *deployment) error {
			nats, err := loopback.Addr()
			if err != nil {
				return err
			}
			err = d.start("nats", natsPart, listens(nats),
				[]string{ProcessCommand, "nats", "--addr", nats, "--data-dir", filepath.Join(d.dir, "nats")}, nil)
			if err == nil {
				err = d.await(ctx)
			}
			if err != nil {
				return err
			}
			env := []string{"PARLEY_NATS_URL=nats://" + nats, "PARLEY_SERVICE_TOKEN=" + rand.Text()}
			services := []string{"auth", "registry", "history", "presence"}
			for i, setting := range []string{"AUTH", "REGISTRY", "HISTORY", "PRESENCE"} {
				addr, err := loopback.Addr()
				if err != nil {
					return fmt.Errorf("%s: %w", services[i], err)
				}
				env = append(env, "PARLEY_"+setting+"_ADDR="+addr)
			}
			for _, service := range services {
				if err := d.startProgram(service, restPart, "", env); err != nil {
					return err
				}
			}
			for range gateways {
				addr, err := d.gateway()
				if err != nil {
					return err
				}
				if err := d.startProgram("gateway", gatewayPart, addr, env); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (d *deployment) startProgram(name string, p part, addr string, env []string) error {
	admin, err := loopback.Addr()
	if err != nil {
		return err
	}
	return d.start(name, p, answers(admin), []string{ProcessCommand, name}, append(d.environment(addr, admin), env...))
}

// running is the deployment that the options name.
func (b *bench) running(ctx context.Context) (*deployment, error) {
	d := &deployment{name: "parley", secret: []byte(b.opts.Secret)}
	for _, raw := range b.opts.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return nil, fmt.Errorf("url: %q is not like http://127.0.0.1:8080", raw)
		}
		port := u.Port()
		if port == "" {
			port = "80"
		}
		addrs, err := new(net.Resolver).LookupNetIP(ctx, "ip4", u.Hostname())
		if err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
		at, err := netip.ParseAddrPort(net.JoinHostPort(addrs[0].Unmap().String(), port))
		if err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
		d.gateways = append(d.gateways, at)
	}
	return d, nil
}

// usage is what the parts of a deployment have used so far.
type usage [restPart + 1]time.Duration

func (d *deployment) cpu() (usage, error) {
	var u usage
	for _, p := range d.processes {
		t, err := cpuOf(p.cmd.Process.Pid)
		if err != nil {
			return u, fmt.Errorf("%s: %w\n%s", p.name, err, p.tail())
		}
		u[p.part] += t
	}
	return u, nil
}

// memory is what the gateways, or what is in their process, have in RAM.
func (d *deployment) memory() (int64, error) {
	var sum int64
	for _, p := range d.processes {
		if p.part != gatewayPart {
			continue
		}
		n, err := residentOf(p.cmd.Process.Pid)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		sum += n
	}
	return sum, nil
}
