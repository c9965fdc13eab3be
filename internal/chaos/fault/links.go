package fault

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// Links cuts links by address, for whoever tries out something else than a lab in
// the same private network.
type Links struct{}

// Cut lets nothing pass between an address and others, in either direction, until it
// is healed, and makes sure of it.
func (Links) Cut(ctx context.Context, from string, others []string) (heal func(context.Context) error, err error) {
	if why := lab.Possible().Network; why != "" {
		return nil, fmt.Errorf("fault: the network cannot be touched: %s", why)
	}
	var links []link
	for _, to := range others {
		links = append(links, link{from, to}, link{to, from})
	}
	table := fmt.Sprintf(tablePrefix+"%016x", rand.Uint64())
	if err := nft(ctx, (&filter{links: links}).rules(table)); err != nil {
		return nil, err
	}
	heal = func(ctx context.Context) error { return nft(ctx, "delete table inet "+table+"\n") }
	return heal, each(links, func(p probe) error {
		open, err := p.carries(ctx, allPorts)
		if open {
			return unverified("cut", "%s still carries", p.link)
		}
		return err
	})
}
