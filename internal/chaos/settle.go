package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Spaces of a run are compared with the stores but for one: entries of it end by
// themselves, also between the look into the grid and the look into a store.
const leaseSpace = "chaos-leases"

// digest is the fingerprint of one member's replica of a partition.
type digest struct {
	Partition int    `json:"partition"`
	Seq       uint64 `json:"seq"`
	State     string `json:"state"`
	Content   string `json:"content"`
}

// sameTime is how long replicas may take to stand at the same change.
const sameTime = 30 * time.Second

// replicasEqual compares the state of every partition over the members. Replicas
// at different changes are looked at again; at the same one they must be equal.
func replicasEqual(ctx context.Context, l *lab.Lab) error {
	var differ error
	err := lab.Poll(ctx, sameTime, "compare replicas", func(ctx context.Context) error {
		seen := map[int]digest{}
		differ = nil
		for _, m := range l.All() {
			var own []digest
			if err := m.Ask(ctx, "digest", &own); err != nil {
				return err
			}
			for _, d := range own {
				first, ok := seen[d.Partition]
				switch {
				case !ok:
					seen[d.Partition] = d
				case first.Seq != d.Seq:
					return fmt.Errorf("partition %d is at change %d and %d", d.Partition, first.Seq, d.Seq)
				case first.Content != d.Content:
					differ = errors.Join(differ, fmt.Errorf("the replicas of partition %d differ at change %d: %s on %s", d.Partition, d.Seq, d.Content, m.Name()))
				}
			}
		}
		return nil
	})
	return errors.Join(err, differ)
}

// stores stops the members and compares their stores with what the grid had.
func (r *run) stores(ctx context.Context) error {
	g, err := r.lab.Dial(ctx, 0, -1)
	if err != nil {
		return &brokenError{err}
	}
	content, err := workload.GridContent(ctx, g)
	partitions := g.Partitions()
	if err := errors.Join(err, g.Close()); err != nil {
		return &brokenError{err}
	}
	delete(content, leaseSpace)
	for _, entries := range content {
		r.result.StoreRows += len(entries) * r.lab.Members()
	}
	if err := r.lab.StopAll(); err != nil {
		return &brokenError{fmt.Errorf("stop: %w", err)}
	}
	var folders []string
	for _, m := range r.lab.All() {
		folders = append(folders, m.StoreDir())
	}
	differences, err := workload.StoresDiffer(ctx, folders, partitions, content)
	if err != nil {
		return &brokenError{err}
	}
	var told []string
	for _, d := range differences {
		r.result.StoreDiffers += d.Entries
		told = append(told, d.String())
	}
	if len(told) > 0 {
		return &brokenError{errors.New(strings.Join(told, "; "))}
	}
	return nil
}
