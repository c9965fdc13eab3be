package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
)

// comparedPartition is how the replicas of one partition compared.
type comparedPartition struct {
	Partition int    `json:"partition"`
	Group     uint32 `json:"group"`
	Result    string `json:"result"`
	Reason    string `json:"reason,omitempty"`
	Seq       uint64 `json:"seq"`
	Replicas  []struct {
		Member string `json:"member"`
		State  string `json:"state,omitempty"`
		Odd    bool   `json:"odd,omitempty"`
	} `json:"replicas,omitempty"`
}

// verify has every leader compare the replicas of its partitions, and shows those
// that are not equal. It ends with a status of its own if any differ; what cannot be
// compared at the moment does not.
func (a *app) verify(ctx context.Context, g *grid.Grid) error {
	all := askAll[[]comparedPartition](ctx, g, "verify")
	t := &table{header: []string{"PARTITION", "GROUP", "LEADER", "SEQ", "RESULT", "DIFFERS"}}
	equal, partitions, differ := 0, 0, false
	for i := range all {
		for _, p := range all[i].Answer {
			var odd []string
			for _, r := range p.Replicas {
				if r.Odd {
					odd = append(odd, r.Member)
				}
			}
			slices.Sort(odd)
			partitions++
			if p.Result == "equal" {
				equal++
				continue
			}
			result := p.Result
			differ = differ || result != "not compared"
			if p.Reason != "" {
				result += ": " + p.Reason
			}
			t.add(p.Partition, p.Group, all[i].Member, p.Seq, result, cmp.Or(strings.Join(odd, " "), "-"))
		}
	}
	a.notef("the replicas of %d of %d partitions are equal", equal, partitions)
	err := errors.Join(a.show(all, t), silent(a, all))
	if err == nil && differ {
		return &quietError{exitError}
	}
	return err
}
