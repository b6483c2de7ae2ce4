package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-im/parley/pkg/headers"
)

// AdminOptions configure an [Admin].
type AdminOptions struct {
	// Addr is the TCP address to listen on (":9090"; port 0 picks one). Empty means not to listen.
	Addr string
	// Logger gets what goes wrong while serving. Nil discards it.
	Logger *slog.Logger
	// Metrics are served at /metrics; nil makes that a 404.
	Metrics *Metrics
	// Pprof serves the profiles of net/http/pprof below /debug/pprof/. They show memory: not for everyone.
	Pprof bool
	// Ready are the checks behind /readyz. More may follow with AddCheck.
	Ready []Check
	// Patience is how long a check that had been passed may fail before /readyz says so: what a whole deployment needs,
	// such as NATS, is now and then gone for a moment, and a load balancer must not take everybody out for that. What
	// has never been passed fails at once, and so does draining.
	Patience time.Duration
	// Full says whether there is room for no more connections; nil is never.
	Full func() bool
	// Pages answers what is none of the addresses below, such as a page for operators; nil makes that a 404.
	Pages http.Handler
	// Health gives the body of /health, encoded as JSON, and its HTTP status. Nil means a simple report built from the
	// checks.
	Health func(ctx context.Context) (body any, status int)
	// Drain begins the program's end, as a SIGTERM does; token is the bearer token of the request, and who may not is
	// an error. Nil means that nobody can.
	Drain func(token string) error
}

// Admin is the HTTP server of the admin port:
//
//	/livez         200 as long as the process answers
//	/readyz        {"ready":true,"draining":false,"full":false,"checks":{"nats":{"ok":true}}}; 503 when a check has failed
//	               for longer than the patience, or while draining. A check that fails says why, and for how long.
//	/acceptz       the same, and 503 also while full
//	/health        the service's own report; by default {"status":"healthy","uptimeSeconds":3,"checks":{…}}, where a failed
//	               check makes it "critical" and 503
//	/metrics       metrics for Prometheus
//	/debug/pprof/  profiles, when enabled
//	POST /drain    begins the program's end, for who may (see [AdminOptions])
//	anything else  what the program adds (Pages)
//
// It answers from its construction to the end of Run's context, so that a draining program can still be asked.
type Admin struct {
	options  AdminOptions
	listener net.Listener // nil: not listening
	server   *http.Server
	started  time.Time
	draining atomic.Bool

	mu     sync.Mutex
	checks []*checked
}

// NewAdmin listens on the address; connections are answered once [Admin.Run] runs.
func NewAdmin(o AdminOptions) (*Admin, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Admin{options: o, started: time.Now()}
	if err := a.AddCheck(o.Ready...); err != nil {
		return nil, err
	}
	a.server = &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes 30 s by default
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	if o.Addr == "" {
		return a, nil
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin-addr: listening: %w", err)
	}
	a.listener = listener
	return a, nil
}

// Addr returns the address listened on, nil if there is none.
func (a *Admin) Addr() net.Addr {
	if a.listener == nil {
		return nil
	}
	return a.listener.Addr()
}

// SetDraining makes /readyz answer 503 from now on: the program is stopping and wants no new work.
func (a *Admin) SetDraining() { a.draining.Store(true) }

// Run serves until ctx ends, then gives requests under way 5 s to finish. It is to be called once; the listener is
// closed when it returns. Its error is nil after an orderly end.
func (a *Admin) Run(ctx context.Context) error {
	if a.listener == nil {
		<-ctx.Done()
		return nil
	}
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(a.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve admin port: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if a.server.Shutdown(end) != nil {
		a.server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin port: %w", err)
	}
	return nil
}

// Close gives the listener up, for a program that fails before [Admin.Run].
func (a *Admin) Close() error {
	if a.listener == nil {
		return nil
	}
	return a.listener.Close()
}

// Handler returns the pages of the admin port.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { a.serveReady(w, r, false) })
	mux.HandleFunc("GET /acceptz", func(w http.ResponseWriter, r *http.Request) { a.serveReady(w, r, true) })
	mux.HandleFunc("GET /health", a.serveHealth)
	mux.Handle("GET /metrics", a.options.Metrics.Handler())
	if a.options.Drain != nil {
		mux.HandleFunc("POST /drain", a.serveDrain)
	}
	if a.options.Pages != nil {
		mux.Handle("/", a.options.Pages)
	}
	if a.options.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		// Not cmdline: a secret may have been given as a flag.
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // addresses by the thousand
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		headers.Guard(w.Header(), headers.NoPage) // pages set their own
		mux.ServeHTTP(w, r)
	})
}

// serveDrain has the program end.
func (a *Admin) serveDrain(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := a.options.Drain(token); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	w.Write([]byte("draining\n"))
}
