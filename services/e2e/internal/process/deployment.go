package process

import (
	"net"
	"slices"
	"testing"
)

// Services are the programs that serve gRPC and that every deployment has. A
// test that wants Events, too, starts it.
var Services = []string{Auth, Registry, History, Presence}

// What the services of a Deployment show each other, and what its back ends and
// operators do.
const (
	ServiceToken = "the token of the services of a test"
	BackEndToken = "the token of a back end of a test"
	AdminToken   = "the token of an operator of a test"
)

// Deployment is a NATS server, the four services and some gateways, a process
// each.
type Deployment struct {
	NATS     *Process
	Services map[string]*Process // by program
	Gateways []*Process
	// URLs are where the gateways serve clients.
	URLs []string
	// Addrs are where the services serve gRPC, by program; of several replicas
	// with commas between.
	Addrs map[string]string
	// Trust is how the services know each other and who else calls; until they
	// are started it may be changed.
	Trust []string
	// Env is what else is set for all programs but NATS, Paths what is run in
	// place of the programs that this package builds; both until they are started.
	Env   []string
	Paths map[string]string

	t        testing.TB
	nats     string
	dir      string
	replicas []*Process // that AddReplica started
}

// Plan chooses the addresses of a deployment and starts nothing yet, so that a
// test can, in any order.
func Plan(t testing.TB, gateways int) *Deployment {
	t.Helper()
	d := &Deployment{
		Services: make(map[string]*Process), Gateways: make([]*Process, gateways), Addrs: make(map[string]string),
		Trust: []string{"PARLEY_SERVICE_TOKEN=" + ServiceToken, "PARLEY_BACKEND_TOKEN=" + BackEndToken, "PARLEY_ADMIN_TOKEN=" + AdminToken},
		t:     t, nats: Addr(t), dir: t.TempDir(),
	}
	for _, s := range append(slices.Clip(Services), Events) {
		d.Addrs[s] = Addr(t)
	}
	for range gateways {
		d.URLs = append(d.URLs, "http://"+Addr(t))
	}
	return d
}

// Deploy starts a whole deployment and waits until all of it is ready.
func Deploy(t testing.TB, gateways int) *Deployment {
	t.Helper()
	d := Plan(t, gateways)
	d.Start()
	return d
}

// Start starts all of a planned deployment and waits until it is ready.
func (d *Deployment) Start() {
	d.t.Helper()
	d.StartNATS()
	for _, s := range Services {
		d.StartService(s)
	}
	for i := range d.Gateways {
		d.StartGateway(i)
	}
	d.WaitReady()
}

// Broker is where the NATS server serves its clients.
func (d *Deployment) Broker() string { return d.nats }

// StartNATS starts the NATS server.
func (d *Deployment) StartNATS() {
	d.t.Helper()
	host, port, _ := net.SplitHostPort(d.nats) // Addr's are well-formed
	monitor := Addr(d.t)
	_, monitorPort, _ := net.SplitHostPort(monitor)
	d.NATS = Start(d.t, Spec{
		Program: NATS,
		Args:    []string{"--addr", host, "--port", port, "--http_port", monitorPort, "--jetstream", "--store_dir", d.dir},
		Admin:   "http://" + monitor, ReadyPath: "/healthz",
	})
}

// StartService starts one of Services, or Events.
func (d *Deployment) StartService(program string) {
	d.t.Helper()
	d.Services[program] = Start(d.t, d.spec(program))
}

// AddReplica starts one more process of a service, which whoever is started
// afterwards finds beside the first.
func (d *Deployment) AddReplica(program string) *Process {
	d.t.Helper()
	addr := Addr(d.t)
	p := Start(d.t, d.spec(program, "PARLEY_GRPC_ADDR="+addr))
	d.replicas = append(d.replicas, p)
	d.Addrs[program] += "," + addr
	return p
}

// StartGateway starts a gateway.
func (d *Deployment) StartGateway(i int) {
	d.t.Helper()
	d.Gateways[i] = Start(d.t, d.spec(Gateway, "PARLEY_HTTP_ADDR="+d.URLs[i][len("http://"):]))
}

// spec gives a program its environment, most of which is the same for all.
func (d *Deployment) spec(program string, env ...string) Spec {
	admin := Addr(d.t)
	env = append(append(env, d.Trust...), d.Env...)
	env = append(env, "PARLEY_ADMIN_ADDR="+admin, "PARLEY_NATS_URL=nats://"+d.nats,
		"PARLEY_AUTH_ADDR="+d.Addrs[Auth], "PARLEY_REGISTRY_ADDR="+d.Addrs[Registry],
		"PARLEY_HISTORY_ADDR="+d.Addrs[History], "PARLEY_PRESENCE_ADDR="+d.Addrs[Presence], "PARLEY_EVENTS_ADDR="+d.Addrs[Events])
	return Spec{Program: program, Path: d.Paths[program], Env: env, Admin: "http://" + admin}
}

// All gives the processes that were started.
func (d *Deployment) All() []*Process {
	var all []*Process
	if d.NATS != nil {
		all = append(all, d.NATS)
	}
	for _, s := range append(slices.Clip(Services), Events) {
		if p := d.Services[s]; p != nil {
			all = append(all, p)
		}
	}
	all = append(all, d.replicas...)
	for _, g := range d.Gateways {
		if g != nil {
			all = append(all, g)
		}
	}
	return all
}

// WaitReady waits until every process that was started is ready.
func (d *Deployment) WaitReady() {
	d.t.Helper()
	for _, p := range d.All() {
		p.WaitReady()
	}
}
