package grid

import (
	"context"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Explanation says how the entries that pass a filter are found, and what that
// costs. Its String is for people.
type Explanation = space.Explanation

// Explain finds the first entries that pass a filter, at most limit in every
// partition, and tells how instead of returning them; 0 is as many as it takes for
// a picture. With neither allowScan nor an index that serves, a partition gives up
// where a query would, and the explanation says so.
func (g *Grid) Explain(ctx context.Context, spaceName string, f Filter, limit int, allowScan bool) (Explanation, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return Explanation{}, err
	}
	template, condition, err := filterFor(&def, f)
	if err != nil {
		return Explanation{}, err
	}
	if limit <= 0 {
		limit = explainMost
	}
	e, err := g.router.Explain(ctx, cluster.Match{Space: def.ID, Template: template, Predicate: condition, Limit: limit, AllowScan: allowScan})
	return e.Explanation, err
}

// explainMost is the most entries that an explanation goes through in one partition:
// it does so between two commands, which wait for it.
const explainMost = 4096

// IndexBuilding is an index that does not serve yet, and how much of the entries
// is in it, from 0 to 1.
type IndexBuilding struct {
	Index string
	Done  float64
}

// Building returns the indexes of a space that are still being built.
func (g *Grid) Building(ctx context.Context, def *space.Definition) ([]IndexBuilding, error) {
	if len(def.Indexes) == 0 {
		return nil, nil
	}
	e, err := g.router.Explain(ctx, cluster.Match{Space: def.ID, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("how far the indexes are: %w", err)
	}
	list := make([]IndexBuilding, len(e.Building))
	for i, b := range e.Building {
		list[i] = IndexBuilding{Index: b.Index}
		if b.End > 0 {
			list[i].Done = float64(b.Next) / float64(b.End)
		}
	}
	return list, nil
}
