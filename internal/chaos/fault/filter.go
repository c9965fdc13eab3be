package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// link is one direction between two addresses, or networks.
type link struct{ from, to string }

// ports are those that a filter is about.
type ports uint16

const allPorts ports = 0

// filter is packets of some links that do not arrive as they should.
type filter struct {
	links  []link
	ports  ports
	chance int  // of each packet, in percent; 0 and 100: all of them
	reset  bool // connections are told so
}

// rules returns the filter as a table of nft, which looks at packets as they arrive:
// whoever sends notices nothing.
func (f *filter) rules(table string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n chain arrive {\n  type filter hook input priority 0; policy accept;\n", table)
	chance := ""
	if f.chance > 0 && f.chance < 100 {
		chance = fmt.Sprintf(" numgen random mod 100 < %d", f.chance)
	}
	verdict := "drop"
	matches := []string{""}
	switch {
	case f.reset:
		verdict = "reject with tcp reset"
		// Not the resets themselves: they are on their way over the same links.
		matches = []string{" tcp flags & rst == 0"}
	case f.ports != allPorts:
		// Both ends of a connection or an exchange: who asked and who answers.
		matches = []string{
			fmt.Sprintf(" meta l4proto { tcp, udp } th dport %d", f.ports),
			fmt.Sprintf(" meta l4proto { tcp, udp } th sport %d", f.ports),
		}
	}
	for _, k := range f.links {
		for _, m := range matches {
			fmt.Fprintf(&b, "  ip saddr %s ip daddr %s%s%s counter %s\n", k.from, k.to, m, chance, verdict)
		}
	}
	b.WriteString(" }\n}\n")
	return b.String()
}

// apply puts a filter in place until the injury is healed. Every filter is a table
// of its own, so that several may be there at a time.
func (j *injury) apply(ctx context.Context, l *lab.Lab, r *rand.Rand, f *filter) error {
	table := fmt.Sprintf(tablePrefix+"%016x", r.Uint64())
	if why := l.Rights().Network; why != "" {
		return fmt.Errorf("fault: the network cannot be touched: %s", why)
	}
	if err := nft(ctx, f.rules(table)); err != nil {
		return err
	}
	j.later(func(ctx context.Context) error { return nft(ctx, "delete table inet "+table+"\n") })
	return nil
}

const tablePrefix = "fault_"

// filters returns how many filters there are.
func filters(ctx context.Context) (int, error) {
	said, err := exec.CommandContext(ctx, "nft", "list", "tables", "inet").Output()
	if err != nil {
		return 0, fmt.Errorf("fault: nft: %w", err)
	}
	return strings.Count(string(said), tablePrefix), nil
}

// alone fails while there are filters of others: what this one does could not be told
// from what they do.
func alone(ctx context.Context) error {
	n, err := filters(ctx)
	if err == nil && n > 0 {
		err = &lab.HeldError{Reason: "links are cut already"}
	}
	return err
}

// nft carries out a script, all of it or nothing.
func nft(ctx context.Context, script string) error {
	c := exec.CommandContext(ctx, "nft", "-f", "-")
	c.Stdin = strings.NewReader(script)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("fault: nft: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}
