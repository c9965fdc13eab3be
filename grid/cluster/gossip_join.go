package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	// joinPauseMin and joinPauseMax are the pauses between attempts while
	// nobody has been reached, doubling from the one to the other.
	joinPauseMin = 250 * time.Millisecond
	joinPauseMax = 5 * time.Second
	// rejoinPause is how often members that ought to be there but are not are
	// looked for afterwards. Without it the two sides of a cut that lasted
	// longer than gossipToTheDeadTime would never find each other again.
	rejoinPause = 10 * time.Second
	// joinTargetsMax bounds the addresses tried in one attempt; each may take
	// streamTimeout. The choice is random, so that all get their turn.
	joinTargetsMax = 16
	// resolveTimeout bounds the look-up of one name.
	resolveTimeout = 3 * time.Second
)

// Join adds seeds and waits until this member has reached another one, ctx ends
// or Close begins. The attempts go on when ctx ends. When another member has
// been reached before, or there is nobody but this member to reach, it returns
// at once; the seeds are tried all the same.
func (g *Gossip) Join(ctx context.Context, seeds []string) error {
	if err := checkSeeds(seeds); err != nil {
		return err
	}
	g.mu.Lock()
	for _, s := range seeds {
		if slices.Contains(g.mu.seeds, s) {
			continue
		}
		if len(g.mu.seeds) == MaxSeeds {
			g.mu.Unlock()
			return fmt.Errorf("cluster: more than %d seeds", MaxSeeds)
		}
		g.mu.seeds = append(g.mu.seeds, s)
	}
	alone := len(g.mu.seeds) == 0
	g.mu.Unlock()
	if alone {
		return nil
	}
	poke(g.rejoin)
	select {
	case <-g.joined:
		return nil
	case <-g.stop.Done():
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("cluster: no seed has answered yet: %w", ctx.Err())
	}
}

// checkSeeds says which address can never be reached.
func checkSeeds(seeds []string) error {
	if len(seeds) > MaxSeeds {
		return fmt.Errorf("cluster: %d seeds, at most %d are looked at", len(seeds), MaxSeeds)
	}
	for _, s := range seeds {
		host, port, err := net.SplitHostPort(s)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" || n == 0 {
			return fmt.Errorf("cluster: seed %q: want host:port", s)
		}
	}
	return nil
}

// Joined is closed once this member has reached another one, or has found that
// its seeds are nobody but itself.
func (g *Gossip) Joined() <-chan struct{} { return g.joined }

// keepJoined looks for the seeds, and for members that died, until Close.
func (g *Gossip) keepJoined() {
	joined, pause := false, joinPauseMin
	for {
		if reached := g.joinOnce(); reached && !joined {
			joined = true
			close(g.joined)
		}
		if joined {
			pause = rejoinPause
		}
		// Between half and one and a half of the pause: members that were
		// started together do not stay in step.
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-g.stop.Done():
			timer.Stop()
			return
		case <-g.rejoin:
			timer.Stop()
			pause = joinPauseMin
		case <-timer.C:
			pause = min(2*pause, joinPauseMax)
		}
	}
}

// joinOnce tries everybody who ought to be there and is not. It reports whether
// somebody was reached, or the seeds are this member only.
func (g *Gossip) joinOnce() bool {
	g.mu.Lock()
	seeds := slices.Clone(g.mu.seeds)
	present := map[netip.AddrPort]bool{}
	var targets []netip.AddrPort
	for _, p := range g.mu.peers {
		switch p.Status {
		case Alive:
			present[p.Gossip] = true
		case Dead:
			targets = append(targets, p.Gossip)
		}
	}
	g.mu.Unlock()

	reached := false
	found, elsewhere := 0, false
	for _, seed := range seeds {
		for _, a := range g.resolve(seed) {
			found++
			if a != g.self {
				elsewhere = true
			}
			if a != g.self && present[a] {
				reached = true
			}
			targets = append(targets, a)
		}
	}
	if found > 0 && !elsewhere {
		reached = true
	}
	targets = slices.DeleteFunc(targets, func(a netip.AddrPort) bool { return present[a] || a == g.self })
	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	for i, a := range targets {
		if g.stop.Err() != nil || i == joinTargetsMax {
			break
		}
		if slices.Contains(targets[:i], a) {
			continue
		}
		if _, err := g.list.Join([]string{a.String()}); err != nil {
			g.log.Debug("not reached", "address", a, "err", err)
			continue
		}
		reached = true
	}
	return reached
}

// resolve returns the addresses of a seed. A name that does not resolve has
// none, until the next attempt.
func (g *Gossip) resolve(seed string) []netip.AddrPort {
	if a, err := netip.ParseAddrPort(seed); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
	}
	addrs, err := g.lookUp(seed)
	if err != nil && !errors.Is(err, context.Canceled) {
		g.log.Warn("seed is not found", "seed", seed, "err", err)
	}
	return addrs
}

func (g *Gossip) lookUp(seed string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(g.stop, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return out, nil
}
