package resp

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spacegrid/spacegrid/grid"
)

// The usual Go client works against any of three members as with Redis: every
// member answers for every key, whoever leads its partition, and all of them see
// what one has acknowledged.
func TestGoRedisOfThreeMembers(t *testing.T) {
	addresses := startThree(t)
	for i, address := range addresses {
		t.Run(fmt.Sprint("member", i+1), func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: address, Protocol: 3})
			defer c.Close()
			useClient(t, c)
			if err := c.Set(t.Context(), "last", i, 0).Err(); err != nil {
				t.Fatal(err)
			}
			for _, other := range addresses {
				o := redis.NewClient(&redis.Options{Addr: other})
				if got, err := o.Get(t.Context(), "last").Int(); err != nil || got != i {
					t.Errorf("%s has %v, %v", other, got, err)
				}
				o.Close()
			}
		})
	}
}

// startThree starts a cluster of three members in this process, each with a door,
// and returns the doors' addresses.
func startThree(t *testing.T) []string {
	t.Helper()
	const members = 3
	ports := freeAddresses(t, 2*members)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	grids := make([]*grid.Grid, members)
	errs := make([]error, members)
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { // they wait for each other
			gossip := ports[members+i]
			grids[i], errs[i] = grid.Open(ctx, grid.Config{
				Name: fmt.Sprint("m", i+1), Listen: ports[i], Gossip: gossip, Expect: members, Partitions: 32,
				Join:   slices.DeleteFunc(slices.Clone(ports[members:]), func(a string) bool { return a == gossip }),
				Logger: quiet(),
			})
			if errs[i] == nil {
				errs[i] = grids[i].Ready(ctx)
			}
		})
	}
	wg.Wait()
	var addresses []string
	for i, g := range grids {
		if g != nil {
			t.Cleanup(func() { _ = g.Close() })
		}
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		_, address := startCommands(t, CommandsConfig{Grid: g})
		addresses = append(addresses, address)
	}
	return addresses
}

// freeAddresses returns addresses on loopback that nobody listens on at the
// moment.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	listeners := make([]net.Listener, n)
	for i := range addresses {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		addresses[i] = listeners[i].Addr().String()
	}
	for _, l := range listeners { // all of them first, so that none is given twice
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return addresses
}
