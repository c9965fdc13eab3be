package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
)

// Content is what a grid, or a store, has of some spaces: entries by the name of
// their space and by their key.
type Content map[string]map[string]StoredEntry

// StoredEntry is an entry without its key. Its value is the owner's to keep.
type StoredEntry struct {
	Kind    grid.Kind
	Value   []byte
	Version grid.Version
}

func (e StoredEntry) equal(o StoredEntry) bool {
	return e.Kind == o.Kind && e.Version == o.Version && bytes.Equal(e.Value, o.Value)
}

// GridContent reads spaces of a grid that is left alone. Without names it reads all
// of them. Entries that a claim hides are not seen: whoever compares waits until no
// claim lasts.
func GridContent(ctx context.Context, g *grid.Grid, names ...string) (Content, error) {
	if len(names) == 0 {
		defs, err := g.Spaces(ctx)
		if err != nil {
			return nil, err
		}
		for _, d := range defs {
			names = append(names, d.Name)
		}
	}
	all := Content{}
	for _, name := range names {
		all[name] = map[string]StoredEntry{}
		for e, err := range g.Query(ctx, name, nil, grid.QueryOptions{AllowScan: true}) {
			if err != nil {
				return nil, fmt.Errorf("workload: space %s: %w", name, err)
			}
			if _, twice := all[name][string(e.Key)]; twice {
				return nil, fmt.Errorf("workload: space %s: the query answered key %q twice", name, e.Key)
			}
			all[name][string(e.Key)] = StoredEntry{e.Kind, bytes.Clone(e.Value), e.Version}
		}
	}
	return all, nil
}

// StoreContent reads what the store in a folder has of all spaces, in a grid of so
// many partitions. Its member must not run. Nothing is changed. An entry that is not
// in the partition of its key is an error.
func StoreContent(ctx context.Context, folder string, partitions int) (all Content, err error) {
	s, err := store.Open(store.Config{Dir: folder, ReadOnly: true, OnFatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := reader.New(s)
	defs, err := r.Definitions()
	if err != nil {
		return nil, err
	}
	all = Content{}
	byID := map[space.ID]map[string]StoredEntry{}
	for _, d := range defs {
		byID[d.ID] = map[string]StoredEntry{}
		all[d.Name] = byID[d.ID]
	}
	positions, err := r.Positions()
	if err != nil {
		return nil, err
	}
	for _, at := range positions {
		_, err := r.Scan(ctx, at.Partition, func(id space.ID, e space.Entry) error {
			if p := space.PartitionOf(e.Key, partitions); p != at.Partition {
				return fmt.Errorf("workload: key %q lies in partition %d, not in its own, %d", e.Key, at.Partition, p)
			}
			of := byID[id]
			if of == nil {
				return fmt.Errorf("workload: key %q is of space %d, which the store does not know", e.Key, id)
			}
			of[string(e.Key)] = StoredEntry{e.Kind, bytes.Clone(e.Value), e.Version}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Difference is how a store differs from what it should have.
type Difference struct {
	Folder, Space string
	Entries       int    // that are missing, are other ones, or should not be there
	First         string // one of them, in words
}

// String returns it in one line.
func (d Difference) String() string {
	return fmt.Sprintf("the store in %s differs in %d entries of space %s: %s", d.Folder, d.Entries, d.Space, d.First)
}

// StoresDiffer compares the stores of members that have stopped with what the grid
// had before, and returns where they are not the same, byte for byte and version for
// version: what the data pump was told adds up to what there is. Only the spaces of
// want are looked at.
func StoresDiffer(ctx context.Context, folders []string, partitions int, want Content) ([]Difference, error) {
	var all []Difference
	for _, folder := range folders {
		have, err := StoreContent(ctx, folder, partitions)
		if err != nil {
			return all, fmt.Errorf("workload: store in %s: %w", folder, err)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			d := Difference{Folder: folder, Space: name}
			if d.Entries, d.First = compare(want[name], have[name]); d.Entries > 0 {
				all = append(all, d)
			}
		}
	}
	return all, nil
}

// compare counts the entries that are not the same, and says which the first is.
func compare(want, have map[string]StoredEntry) (n int, first string) {
	note := func(format string, args ...any) {
		if n++; n == 1 {
			first = fmt.Sprintf(format, args...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch e, ok := have[key]; {
		case !ok:
			note("%q, version %d, is missing", key, want[key].Version)
		case !e.equal(want[key]):
			note("%q has version %d and should have %d", key, e.Version, want[key].Version)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; !ok {
			note("%q, version %d, should not be there", key, have[key].Version)
		}
	}
	return n, first
}
