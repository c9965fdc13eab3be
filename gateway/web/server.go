package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// Config of a Server. A zero optional field means its default.
type Config struct {
	// Grid is what the door leads to. Required; the caller closes it, after the
	// server.
	Grid *grid.Grid
	// Self is the member that answers questions about itself, and the one whose
	// state /readyz and /metrics show. Empty if this process is no member: then
	// those say only what the handle knows.
	Self grid.MemberID
	// Logger takes one line per state change and none per request. Default:
	// slog.Default().
	Logger *slog.Logger
	// Limits bounds requests and connections.
	Limits Limits
	// AllowedHosts are the names, without port, under which this member is
	// reached. Default: any, but on a loopback address only localhost and
	// loopback addresses, so that no foreign name can be pointed there.
	AllowedHosts []string
	// AllowedOrigins are the origins, such as https://console.example, whose
	// pages may change something or subscribe, besides those of the same host.
	AllowedOrigins []string
	// Metrics is what /metrics publishes and requests are counted in. Default:
	// one of its own.
	Metrics *Metrics
	// Fallback serves the paths that this package has nothing under, such as a
	// console. Default: they are not found.
	Fallback http.Handler
}

// Server is the web door. It is an http.Handler; all methods may be called
// concurrently.
type Server struct {
	config  Config
	grid    *grid.Grid
	limits  Limits
	log     *slog.Logger
	metrics *Metrics
	guard   guard
	handler http.Handler
	sockets sockets

	// ctx ends when Close cuts what is still running.
	ctx    context.Context
	cancel context.CancelFunc
	// leaving ends when Drain begins: nobody waits for entries any more.
	leaving  context.Context
	leave    context.CancelFunc
	draining atomic.Bool
	open     atomic.Int64 // connections of Serve's listeners

	mu struct {
		sync.Mutex
		closed  bool
		servers map[*http.Server]struct{} // one for each Serve
	}
	serving sync.WaitGroup // Serve calls
}

var _ http.Handler = (*Server)(nil)

// New returns a server that serves nothing yet. It panics without a Grid, and
// fails if an allowed origin is not one.
func New(config Config) (*Server, error) {
	if config.Grid == nil {
		panic("web: Config.Grid is required")
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Metrics == nil {
		config.Metrics = NewMetrics()
	}
	s := &Server{
		config: config, grid: config.Grid, limits: config.Limits.withDefaults(),
		log: config.Logger, metrics: config.Metrics,
	}
	var err error
	if s.guard, err = newGuard(config.AllowedHosts, config.AllowedOrigins); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.leaving, s.leave = context.WithCancel(s.ctx)
	s.mu.servers = map[*http.Server]struct{}{}
	s.sockets.open = map[*socket]struct{}{}
	s.handler = s.routed()
	s.metrics.watch(s)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := s.guard.check(r); p != nil {
		p.write(w)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	s.handler.ServeHTTP(w, r)
}

// Serve answers requests that arrive at a listener until Drain or Close, then
// returns nil; the listener is closed by then. Any other end is an error. It may
// be called for several listeners at once, which may speak TLS.
func (s *Server) Serve(l net.Listener) error {
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.limits.HeaderTimeout,
		ReadTimeout:       s.limits.BodyTimeout,
		IdleTimeout:       s.limits.IdleTimeout,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:         s.count,
	}
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.mu.servers[hs] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	err := hs.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	s.mu.Lock()
	delete(s.mu.servers, hs)
	s.mu.Unlock()
	return errors.Join(err, hs.Close())
}

// count keeps the number of open connections and closes those beyond the limit.
// A connection that became a WebSocket is counted by sockets instead.
func (s *Server) count(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.open.Add(1) > int64(s.limits.Connections) {
			_ = nc.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// Drain departs politely: /readyz says no from now on, subscribers are told
// where else to go, waits for entries end, no connection is accepted, and requests
// under way are finished. It waits for them until ctx ends, then cuts the rest as Close does
// and returns ctx's error in that case.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	s.leave()
	s.mu.Lock()
	s.mu.closed = true
	servers := make([]*http.Server, 0, len(s.mu.servers))
	for hs := range s.mu.servers {
		servers = append(servers, hs)
	}
	clear(s.mu.servers)
	s.mu.Unlock()

	s.sockets.bye(s.otherDoors())
	var wg sync.WaitGroup
	errs := make([]error, len(servers)+1)
	for i, hs := range servers {
		wg.Go(func() { errs[i] = hs.Shutdown(ctx) })
	}
	wg.Go(func() { errs[len(servers)] = s.sockets.wait(ctx) })
	wg.Wait()

	s.cancel()
	s.metrics.unwatch(s)
	s.sockets.cut()
	for _, hs := range servers {
		// What Shutdown could not finish; after a finished one there is nothing.
		_ = hs.Close()
	}
	s.serving.Wait()
	// Cut sockets end at once, so this wait is short.
	return errors.Join(errors.Join(errs...), s.sockets.wait(context.Background()))
}

// Close drains for at most Limits.DrainTimeout, cuts the rest, and waits until
// everything that the server started has ended. It is safe to call twice.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.DrainTimeout)
	defer cancel()
	if err := s.Drain(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// bounded gives a request its time. Requests of a server that is being cut end
// as well.
func (s *Server) bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
