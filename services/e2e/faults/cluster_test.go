package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

const (
	nodes    = 3
	gateways = 3
	shards   = 4
	// retention is more than any room gets, so that the whole log is checked.
	retention = 500_000
	secret    = "a secret that only these tests have"
	// queueBytes is what may wait for a client, maxInFlight what of a gateway may
	// wait for the log (package bus).
	queueBytes  = 128 << 10
	maxInFlight = 8192
)

// cluster is the deployment under test.
type cluster struct {
	t        testing.TB
	nats     [nodes]*process.Process
	stores   [nodes]string // where each keeps its files
	profiles [nodes]string // where each tells of its goroutines
	services map[string]*process.Process
	gateways [gateways]*process.Process
	urls     []string
	// wires lie between the first gateway and each NATS node.
	wires [nodes]*wire
}

// deploy starts everything and waits until it is ready.
func deploy(t testing.TB) *cluster { return deployOn(t, nil) }

// deployOn is deploy with something done to the directory of each NATS node
// before that starts.
func deployOn(t testing.TB, prepare func(node int, dir string)) *cluster {
	c := &cluster{t: t, services: make(map[string]*process.Process)}
	direct, wired := c.startNATS(prepare)
	env := []string{
		"PARLEY_REPLICAS=" + strconv.Itoa(nodes), "PARLEY_SHARDS=" + strconv.Itoa(shards),
		"PARLEY_RETENTION=" + strconv.Itoa(retention),
		"PARLEY_JWT_SECRET=" + secret, "PARLEY_SERVICE_TOKEN=" + secret, "PARLEY_RATE_LIMIT=0", "PARLEY_INPUT_RATE=0", "PARLEY_LOG_FORMAT=text",
		// So that a client that does not read overflows it soon.
		"PARLEY_QUEUE_BYTES=" + strconv.Itoa(queueBytes),
		// A gateway may have to take all of a crowd, which comes from one address.
		"PARLEY_MAX_CONNECTIONS=20000", "PARLEY_MAX_PER_ADDRESS=0", "PARLEY_CONNECT_RATE=0", "PARLEY_MAX_PER_USER=0",
	}
	for _, s := range process.Services {
		env = append(env, "PARLEY_"+strings.ToUpper(s)+"_ADDR="+process.Addr(t))
	}
	start := func(program string, more ...string) *process.Process {
		admin := process.Addr(t)
		return process.Start(t, process.Spec{
			Program: program, Admin: "http://" + admin,
			Env: append(append([]string{"PARLEY_ADMIN_ADDR=" + admin}, env...), more...),
		})
	}
	for _, s := range process.Services {
		c.services[s] = start(s, "PARLEY_NATS_URL="+direct)
	}
	for i := range c.gateways {
		addr, url := process.Addr(t), direct
		if i == 0 {
			url = wired
		}
		c.gateways[i] = start(process.Gateway, "PARLEY_NATS_URL="+url, "PARLEY_HTTP_ADDR="+addr)
		c.urls = append(c.urls, "http://"+addr)
	}
	for _, p := range c.all() {
		p.WaitReady()
	}
	return c
}

// startNATS starts the nodes and gives their addresses as a client's setting:
// directly, and over the wires.
func (c *cluster) startNATS(prepare func(node int, dir string)) (direct, wired string) {
	var clients, routes, urls, wires []string
	for range nodes {
		clients = append(clients, process.Addr(c.t))
		routes = append(routes, "nats://"+process.Addr(c.t))
	}
	dir := c.t.TempDir()
	for i := range nodes {
		host, port, _ := net.SplitHostPort(clients[i]) // Addr's are well-formed
		monitor := process.Addr(c.t)
		_, monitorPort, _ := net.SplitHostPort(monitor)
		name := fmt.Sprintf("n%d", i)
		c.stores[i] = filepath.Join(dir, name)
		if prepare != nil {
			prepare(i, c.stores[i])
		}
		c.profiles[i] = process.Addr(c.t)
		_, profilePort, _ := net.SplitHostPort(c.profiles[i])
		c.nats[i] = process.Start(c.t, process.Spec{
			Program: process.NATS,
			Args: []string{"--server_name", name, "--addr", host, "--port", port, "--http_port", monitorPort,
				"--jetstream", "--store_dir", c.stores[i], "--profile", profilePort, "--pid", c.stores[i] + ".pid",
				"--cluster_name", "parley", "--cluster", routes[i], "--routes", strings.Join(routes, ","),
				// Or clients would find the other nodes past the wires.
				"--no_advertise=true"},
			Admin: "http://" + monitor, ReadyPath: "/healthz",
		})
		c.wires[i] = lay(c.t, clients[i])
		urls = append(urls, "nats://"+clients[i])
		wires = append(wires, "nats://"+c.wires[i].addr())
	}
	for _, n := range c.nats {
		n.WaitReady()
	}
	return strings.Join(urls, ","), strings.Join(wires, ",")
}

func (c *cluster) all() []*process.Process {
	list := c.nats[:]
	for _, s := range process.Services {
		list = append(list[:len(list):len(list)], c.services[s])
	}
	return append(list, c.gateways[:]...)
}

// keepLogs writes what the processes have said.
func (c *cluster) keepLogs(dir string) {
	for i, p := range c.all() {
		name := fmt.Sprintf("%02d-%s.log", i, p.Program)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.Stderr()), 0o644); err != nil {
			c.t.Error(err)
		}
	}
}

// mended waits until everything is ready again: only one thing fails at a
// time.
func (c *cluster) mended() {
	for _, p := range c.all() {
		p.WaitReady()
	}
}

// wantReplicas wants all nodes to have the same of each stream of the log, when
// nothing is written any more.
func (c *cluster) wantReplicas() {
	c.t.Helper()
	process.Eventually(c.t, 30*time.Second, "the replicas are alike", func() error {
		first := map[string]string{}
		for i := range c.nats {
			streams, err := c.logStreams(i)
			if err != nil {
				return err
			}
			for _, s := range streams {
				has := fmt.Sprintf("%+v", s.State)
				if i == 0 {
					first[s.Name] = has
				} else if first[s.Name] != has {
					return fmt.Errorf("%s: n0 has %s, n%d %s", s.Name, first[s.Name], i, has)
				}
			}
			if len(streams) != shards {
				return fmt.Errorf("n%d tells of %d streams", i, len(streams))
			}
		}
		return nil
	})
}

// logStream is what a NATS node tells of one stream of the log.
type logStream struct {
	Name  string `json:"name"`
	State struct {
		Messages uint64 `json:"messages"`
		First    uint64 `json:"first_seq"`
		Last     uint64 `json:"last_seq"`
		Deleted  int    `json:"num_deleted"`
	} `json:"state"`
	Cluster struct {
		Leader string `json:"leader"`
	} `json:"cluster"`
}

// logStreams asks a NATS node for the log's streams that it keeps.
func (c *cluster) logStreams(node int) (list []logStream, err error) {
	var view struct {
		Accounts []struct {
			Streams []logStream `json:"stream_detail"`
		} `json:"account_details"`
	}
	_, body, err := process.Get(c.nats[node].Admin + "/jsz?streams=true")
	if err == nil {
		err = json.Unmarshal([]byte(body), &view)
	}
	for _, a := range view.Accounts {
		for _, s := range a.Streams {
			if strings.HasPrefix(s.Name, "PARLEY_LOG_") {
				list = append(list, s)
			}
		}
	}
	return list, err
}

// leader gives the NATS node that leads most of the log's streams.
func (c *cluster) leader() int {
	var led [nodes]int
	for i := range c.nats {
		var streams []logStream
		process.Eventually(c.t, 10*time.Second, "a NATS node tells its streams", func() (err error) {
			streams, err = c.logStreams(i)
			return err
		})
		for _, s := range streams {
			if s.Cluster.Leader == fmt.Sprintf("n%d", i) {
				led[i]++
			}
		}
	}
	best := 0
	for i := range led {
		if led[i] > led[best] {
			best = i
		}
	}
	return best
}

// signed makes a token that the gateways take, for an hour unless claims say
// otherwise.
func signed(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	if claims["exp"] == nil {
		claims["exp"] = time.Now().Add(time.Hour).Unix()
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
