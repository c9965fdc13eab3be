package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard refuses what a browser was tricked into sending: requests under a name
// that somebody has pointed at a loopback address, and requests that a foreign
// page makes on behalf of its visitor. Programs that are no browsers send no
// Origin and are not affected.
type guard struct {
	hosts   []string // lower case; empty: see allowsHost
	origins []string
	cross   *http.CrossOriginProtection
}

func newGuard(hosts, origins []string) (guard, error) {
	g := guard{origins: slices.Clone(origins), cross: http.NewCrossOriginProtection()}
	for _, h := range hosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	for _, o := range origins {
		if err := g.cross.AddTrustedOrigin(o); err != nil {
			return guard{}, fmt.Errorf("web: allowed origin %q: %w (write it as https://host)", o, err)
		}
	}
	return g, nil
}

// check returns why a request is refused, or nil.
func (g *guard) check(r *http.Request) *Problem {
	if !g.allowsHost(r) {
		return problem(codeForeignHost, fmt.Sprintf("the host %q is not a name of this member", r.Host))
	}
	if err := g.cross.Check(r); err != nil {
		return problem(codeForeignPage, fmt.Sprintf("a page of %q may not do this", r.Header.Get("Origin")))
	}
	return nil
}

// allowsHost compares the name that the client used with those allowed. Without
// any, every name will do, except on a loopback address: there only names that
// cannot be anybody else's.
func (g *guard) allowsHost(r *http.Request) bool {
	host := strings.ToLower(hostOnly(r.Host))
	if slices.Contains(g.hosts, host) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if ok && isLoopback(local) {
		addr, err := netip.ParseAddr(host)
		return host == "localhost" || err == nil && addr.IsLoopback()
	}
	return len(g.hosts) == 0
}

// allowsOrigin decides on WebSockets, which browsers open to any host without
// asking: the page must be of the same host and port, or of an allowed origin.
func (g *guard) allowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(g.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// hostOnly takes the port from a Host header, and the brackets from an address.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
