// Package embedded runs a NATS server with JetStream inside this process, for
// parley serve and for tests. It owns the server's settings and its life; what
// is said over it is package bus's.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options says where the server keeps its data and whom it listens to.
type Options struct {
	// Dir holds JetStream's files; needed, made if it is not there. It is one
	// server's at a time.
	Dir string
	// Addr makes the server listen on TCP, "host:port" (port 0 picks one);
	// empty serves this process alone.
	Addr string
	// Sync is how often written data is brought to the disk; 0 is the server's
	// own interval of 2 minutes, and negative is each write before it is
	// acknowledged. It decides what a power cut can take, not what the end of
	// the process can.
	Sync time.Duration
	// Name of the server, and with Cluster of the cluster it belongs to.
	Name string
	// Cluster makes it one node of a cluster.
	Cluster *Cluster
	// Logger gets the server's warnings and errors; nil discards.
	Logger *slog.Logger
}

// Cluster says how this node finds the others.
type Cluster struct {
	// Name is the same on all nodes.
	Name string
	// Addr is where this node listens for the others, "host:port".
	Addr string
	// Routes are the Addr of all nodes.
	Routes []string
}

// Server is a running NATS server.
type Server struct {
	s      *server.Server
	locked *os.File
}

// readyTimeout is generous: a start reads back all that the streams hold.
const readyTimeout = 30 * time.Second

// readyStep is how often it is asked whether it has given up.
const readyStep = 100 * time.Millisecond

// Start runs a server and returns when it takes connections.
func Start(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("dir: is missing: where JetStream keeps its files")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	locked, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := start(o)
	if err != nil {
		locked.Close()
		return nil, err
	}
	return &Server{s, locked}, nil
}

func start(o Options) (*server.Server, error) {
	opts := &server.Options{
		ServerName: o.Name,
		JetStream:  true,
		StoreDir:   o.Dir,
		DontListen: o.Addr == "",
		NoSigs:     true,
		// Stay below what a client of ours may publish: 16 KiB of content and
		// of data, a name and headers.
		MaxPayload:   1 << 20,
		SyncInterval: o.Sync,
		SyncAlways:   o.Sync < 0,
	}
	if o.Sync < 0 {
		opts.SyncInterval = 0
	}
	var err error
	if o.Addr != "" {
		if opts.Host, opts.Port, err = split(o.Addr); err != nil {
			return nil, err
		}
	}
	if c := o.Cluster; c != nil {
		opts.Cluster.Name = c.Name
		if opts.Cluster.Host, opts.Cluster.Port, err = split(c.Addr); err != nil {
			return nil, err
		}
		for _, route := range c.Routes {
			opts.Routes = append(opts.Routes, server.RoutesFromStr("nats://"+route)...)
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("setting up the NATS server: %w", err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	failed := make(chan string, 1)
	s.SetLogger(logger{log, failed}, false, false)
	s.Start()
	if err := ready(s, failed); err != nil {
		s.Shutdown()
		return nil, err
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("JetStream did not start on %s (see the log; is the directory in use or not writable?)", o.Dir)
	}
	return s, nil
}

// ready waits until the server takes connections, or has said why it never
// will.
func ready(s *server.Server, failed <-chan string) error {
	for deadline := time.Now().Add(readyTimeout); !s.ReadyForConnections(readyStep); {
		select {
		case why := <-failed:
			return fmt.Errorf("the NATS server does not start: %s", why)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the NATS server was not ready within %s", readyTimeout)
		}
	}
	return nil
}

func split(addr string) (host string, port int, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", addr, err)
	}
	port = tcp.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if tcp.IP == nil {
		return "0.0.0.0", port, nil
	}
	return tcp.IP.String(), port, nil
}

// InProcessConn connects to the server without a socket.
func (s *Server) InProcessConn() (net.Conn, error) { return s.s.InProcessConn() }

// URL is where the server listens, for clients in other processes.
func (s *Server) URL() string { return s.s.ClientURL() }

// Shutdown ends the server and returns when its files are closed.
func (s *Server) Shutdown() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
	s.locked.Close() // fails only when it is closed already
}

// logger hands the server's own messages to slog: only what somebody should
// look at, for its notices are many.
type logger struct {
	log    *slog.Logger
	failed chan<- string // gets the first thing that ends the server
}

func (l logger) Noticef(f string, a ...any) { l.log.Debug("nats-server", "text", text(f, a)) }
func (l logger) Warnf(f string, a ...any)   { l.log.Warn("nats-server", "text", text(f, a)) }
func (l logger) Errorf(f string, a ...any)  { l.log.Error("nats-server", "text", text(f, a)) }
func (l logger) Fatalf(f string, a ...any) {
	l.log.Error("nats-server", "text", text(f, a))
	select {
	case l.failed <- text(f, a):
	default: // something else did before
	}
}
func (l logger) Debugf(string, ...any) {}
func (l logger) Tracef(string, ...any) {}

func text(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
