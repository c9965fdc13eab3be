package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// readyTimeout bounds the checks of /readyz, so that a load balancer that asks
// every few seconds has an answer of a member that hangs.
const readyTimeout = 2 * time.Second

// check is one condition for being ready.
type check struct {
	name string
	ask  func(*Server, context.Context) error
}

func checks() []check {
	return []check{
		{"draining", (*Server).notDraining},
		{"formed", (*Server).formed},
		{"member", (*Server).memberReady},
	}
}

func (s *Server) notDraining(context.Context) error {
	if s.draining.Load() {
		return errors.New("the member is about to stop")
	}
	return nil
}

func (s *Server) formed(context.Context) error {
	if s.grid.Partitions() == 0 {
		return errors.New("the cluster is not formed")
	}
	return nil
}

func (s *Server) memberReady(ctx context.Context) error {
	if s.config.Self == "" {
		return nil
	}
	var st memberStatus
	if err := s.ask(ctx, "status", &st); err != nil {
		return err
	}
	if !st.Ready {
		return errors.New("the member does not serve all its groups yet")
	}
	return nil
}

// healthz says that the process answers, whatever the cluster does: a process
// that waits for others must not be restarted for it.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// readyz says whether requests should be sent here. ?verbose lists the checks,
// ?exclude=name leaves one out.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	query := r.URL.Query()
	var lines strings.Builder
	status := http.StatusOK
	for _, c := range checks() {
		if slices.Contains(query["exclude"], c.name) {
			fmt.Fprintf(&lines, "[ ] %s excluded\n", c.name)
			continue
		}
		if err := c.ask(s, ctx); err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&lines, "[-] %s failed: %v\n", c.name, err)
			continue
		}
		fmt.Fprintf(&lines, "[+] %s ok\n", c.name)
	}
	verdict := "ready\n"
	if status != http.StatusOK {
		verdict = "not ready\n"
		w.Header().Set("Retry-After", retryAfter)
	}
	if !query.Has("verbose") && status == http.StatusOK {
		lines.Reset()
	}
	return writeBody(w, status, "text/plain; charset=utf-8", []byte(lines.String()+verdict))
}
