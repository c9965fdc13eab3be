package chaos

import (
	"fmt"
	"strings"

	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Column is faults that a run draws from, under one name.
type Column struct {
	Name   string
	Faults []fault.Fault
}

// Pair is a workload and the faults it is put under.
type Pair struct {
	Workload workload.Workload
	Column   Column
}

// peace is the column without faults.
const peace = "none"

// families are the columns of a matrix: names of faults, or their beginnings.
var families = []struct {
	name  string
	begin []string
}{
	{"kill", []string{"kill-"}},
	{"pause", []string{"pause-"}},
	{"cut", []string{"cut-"}},
	{"loss", []string{"loss", "reset-"}},
	{"power", []string{"power-"}},
	{"disk", []string{"sync-", "disk-full"}},
	{"bytes", []string{"bytes-", "live-bytes-"}},
	{"replaced", []string{"disk-lost", "disk-stale"}},
	{"clock", []string{"clock-"}},
	{"transfer", []string{"transfer"}},
	{"cold-start", []string{"cold-start"}},
	{"several", []string{"several"}},
}

// Columns returns every fault there is, in families, and a column in peace.
func Columns() []Column {
	columns := []Column{{Name: peace}}
	for _, f := range families {
		c := Column{Name: f.name}
		for _, x := range fault.All() {
			for _, begin := range f.begin {
				if strings.HasPrefix(x.Name(), begin) {
					c.Faults = append(c.Faults, x)
				}
			}
		}
		columns = append(columns, c)
	}
	return columns
}

// DamageColumns returns a column for each kind of file that a member writes, with
// every kind of damage to it, and with kills, because a member writes some kinds when it
// starts again.
func DamageColumns() []Column {
	var columns []Column
	for _, kind := range fault.Kinds() {
		c := Column{Name: kind}
		if kill, ok := fault.Named("kill-one"); ok {
			c.Faults = append(c.Faults, kill)
		}
		for _, f := range fault.Damages() {
			if strings.HasSuffix(f.Name(), "-"+kind) {
				c.Faults = append(c.Faults, f)
			}
		}
		columns = append(columns, c)
	}
	return columns
}

// NamedColumn returns a family, a single fault, or several faults whose names are
// joined by +.
func NamedColumn(name string) (Column, error) {
	for _, c := range Columns() {
		if c.Name == name {
			return c, nil
		}
	}
	c := Column{Name: name}
	for one := range strings.SplitSeq(name, "+") {
		f, ok := fault.Named(one)
		if !ok {
			return c, fmt.Errorf("chaos: there is no fault %q", one)
		}
		c.Faults = append(c.Faults, f)
	}
	return c, nil
}

// smoke is what is tried before every change lands: each workload, and each family
// of faults, at least once.
var smoke = []struct{ workload, column string }{
	{"set", "kill"}, {"register", "pause"}, {"bank", "cut"}, {"queue", "loss"}, {"set", "power-all"},
	{"register", "disk"}, {"bank", "bytes"}, {"claims", "kill"}, {"lease", "clock"}, {"list", "transfer"},
	{"set", "cold-start"}, {"watch", "several"}, {"queue", "replaced"},
}

// Smoke returns the pairs that are tried before every change lands.
func Smoke() []Pair {
	pairs := make([]Pair, 0, len(smoke))
	for _, s := range smoke {
		w, ok := workload.Named(s.workload)
		c, err := NamedColumn(s.column)
		if !ok || err != nil {
			panic(fmt.Sprintf("chaos: the smoke test names %s under %s, which do not exist", s.workload, s.column))
		}
		pairs = append(pairs, Pair{w, c})
	}
	return pairs
}
