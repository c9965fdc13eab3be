package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// cutFault stops links: what is sent over them is lost, in silence.
type cutFault struct {
	name  string
	ports ports
	// shape chooses the links and says in words which.
	shape func(ctx context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error)
	// slow stops one member's links after the other's, and lets them carry again in
	// another order.
	slow bool
}

func cuts() []Fault {
	return []Fault{
		cutFault{name: "cut-one", shape: cutOne},
		cutFault{name: "cut-leader", shape: cutLeader},
		cutFault{name: "cut-halves", shape: cutHalves},
		cutFault{name: "cut-ring", shape: cutRing},
		cutFault{name: "cut-bridge", shape: cutBridge},
		cutFault{name: "cut-one-way", shape: cutOneWay},
		cutFault{name: "cut-members-port", ports: lab.PortPeer, shape: cutOne},
		cutFault{name: "cut-gossip", ports: lab.PortGossip, shape: cutOne},
		cutFault{name: "cut-clients", shape: cutClients},
		cutFault{name: "cut-swizzled", shape: cutSome, slow: true},
	}
}

// Name implements Fault.
func (c cutFault) Name() string { return c.name }

// Missing implements Fault.
func (cutFault) Missing(rights lab.Rights) string { return rights.Network }

// swizzlePause is how long lies between two links that are stopped, or carry again,
// at most.
const swizzlePause = 500 * time.Millisecond

// Strike implements Fault.
func (c cutFault) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		links, says, err := c.shape(ctx, l, r)
		if err != nil {
			return err
		}
		// Verified last, when all filters are gone.
		j.later(func(ctx context.Context) error { return carry(ctx, c.name, links, c.ports) })
		if c.slow {
			err = j.swizzle(ctx, l, r, links)
		} else {
			err = j.apply(ctx, l, r, &filter{links: links, ports: c.ports})
		}
		if err != nil {
			return err
		}
		j.sayf("cut %s", says)
		return each(links, func(p probe) error {
			open, err := p.carries(ctx, c.ports)
			if open {
				err = errors.Join(unverified(c.name, "%s still carries", p.link), err)
			}
			return err
		})
	})
}

// carry makes sure that links carry again. While filters of others are there it is
// left to the last of them to look.
func carry(ctx context.Context, name string, links []link, on ports) error {
	if n, err := filters(ctx); err != nil || n > 0 {
		return err
	}
	return each(links, func(p probe) error {
		open, err := p.carries(ctx, on)
		if !open {
			err = errors.Join(unverified(name, "%s does not carry again", p.link), err)
		}
		return err
	})
}

// swizzle stops links one by one, each with a filter of its own, and has them carry
// again in another order.
func (j *injury) swizzle(ctx context.Context, l *lab.Lab, r *rand.Rand, links []link) error {
	pauses := make([]time.Duration, 2*len(links))
	for i := range pauses {
		pauses[i] = time.Duration(r.Int64N(int64(swizzlePause)))
	}
	order := r.Perm(len(links))
	each := make([]*injury, len(links))
	for i, k := range links {
		each[i] = &injury{}
		if err := each[i].apply(ctx, l, r, &filter{links: []link{k}}); err != nil {
			return errors.Join(err, healAll(context.WithoutCancel(ctx), each[:i]))
		}
		j.later(each[i].Heal)
		sleep(ctx, pauses[i])
	}
	for n, i := range order {
		j.later(func(ctx context.Context) error {
			sleep(ctx, pauses[len(links)+n])
			return each[i].Heal(ctx)
		})
	}
	return nil
}

func healAll(ctx context.Context, all []*injury) error {
	var err error
	for _, j := range all {
		err = errors.Join(err, j.Heal(ctx))
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// both returns the links between each of some members and each of others.
func both(some, others []*lab.Member) []link {
	var links []link
	for _, a := range some {
		for _, b := range others {
			links = append(links, link{a.IP(), b.IP()}, link{b.IP(), a.IP()})
		}
	}
	return links
}

// everyLink returns both directions between any two members.
func everyLink(l *lab.Lab) []link {
	var links []link
	for i := range l.All() {
		links = append(links, both(l.All()[i:i+1], l.All()[i+1:])...)
	}
	return links
}

// shuffled returns the members in a drawn order.
func shuffled(l *lab.Lab, r *rand.Rand) []*lab.Member {
	all := slices.Clone(l.All())
	r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return all
}

func cutOne(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	all := shuffled(l, r)
	return both(all[:1], all[1:]), all[0].Name() + " off the other members", nil
}

func cutLeader(ctx context.Context, l *lab.Lab, _ *rand.Rand) ([]link, string, error) {
	m, err := leading(ctx, l)
	if err != nil {
		return nil, "", err
	}
	others := slices.DeleteFunc(slices.Clone(l.All()), func(o *lab.Member) bool { return o == m })
	return both([]*lab.Member{m}, others), m.Name() + ", which leads, off the other members", nil
}

func cutHalves(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	all := shuffled(l, r)
	half := len(all) / 2
	return both(all[:half], all[half:]), names(all[:half]) + " off " + names(all[half:]), nil
}

// cutRing leaves every member a majority that it reaches, and no two of them the
// same one: each reaches its neighbours in a ring. With three or four members it is
// the cut of one link.
func cutRing(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	ring := shuffled(l, r)
	n, near := len(ring), l.Majority()/2
	var links []link
	for i := range ring {
		for k := i + 1; k < n; k++ {
			if min(k-i, n-(k-i)) > near {
				links = append(links, both(ring[i:i+1], ring[k:k+1])...)
			}
		}
	}
	if len(links) == 0 {
		links = both(ring[:1], ring[1:2])
	}
	return links, "all links but those of the ring " + names(ring), nil
}

// cutBridge leaves one member that reaches both sides.
func cutBridge(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	all := shuffled(l, r)
	half := len(all) / 2
	left, right := all[:half], all[half+1:]
	return both(left, right), names(left) + " off " + names(right) + " with " + all[half].Name() + " between them", nil
}

// cutOneWay makes one member deaf or dumb.
func cutOneWay(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	all := shuffled(l, r)
	deaf := r.IntN(2) == 0
	var links []link
	for _, o := range all[1:] {
		k := link{all[0].IP(), o.IP()}
		if deaf {
			k = link{o.IP(), all[0].IP()}
		}
		links = append(links, k)
	}
	if deaf {
		return links, all[0].Name() + " hears no other member", nil
	}
	return links, "no other member hears " + all[0].Name(), nil
}

// cutClients leaves one member to its peers.
func cutClients(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	m := l.Member(r.IntN(l.Members()))
	return []link{{lab.ClientNet, m.IP()}, {m.IP(), lab.ClientNet}}, m.Name() + " off all clients", nil
}

// cutSome takes some links, at least one.
func cutSome(_ context.Context, l *lab.Lab, r *rand.Rand) ([]link, string, error) {
	all := everyLink(l)
	r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	all = all[:1+r.IntN(len(all))]
	return all, fmt.Sprintf("links one after the other: %v", all), nil
}
