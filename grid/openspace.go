package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// OpenSpace returns the typed view of a space. It creates the space from T's tags
// if it does not exist, and adds the indexes that an existing one lacks: these
// serve once every entry is in them. A space whose key, routing or group is
// another field than T's, or that has an index of the same name over other
// fields, is refused with ErrSpaceConflict.
func OpenSpace[T any](ctx context.Context, g *Grid, name string) (*Space[T], error) {
	c, err := newCodec[T]()
	if err != nil {
		return nil, err
	}
	wanted, err := c.definition(name)
	if err != nil {
		return nil, err
	}
	def, err := g.Describe(ctx, name)
	if errors.Is(err, ErrNoSpace) {
		def, err = g.CreateSpace(ctx, wanted)
		if errors.Is(err, ErrSpaceConflict) { // somebody else was faster
			def, err = g.Describe(ctx, name)
		}
	}
	if err != nil {
		return nil, err
	}
	missing, err := c.missing(&def, &wanted)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if def, err = g.AlterSpace(ctx, name, Alteration{AddIndexes: missing}); err != nil {
			return nil, err
		}
	}
	typed := def
	typed.Fields = c.fields
	return &Space[T]{g: g, def: def, codec: c, typed: typed}, nil
}

// missing returns the indexes that an existing space lacks, or why entries of
// this layout cannot be in it.
func (l *layout) missing(def, wanted *space.Definition) ([]space.Index, error) {
	if def.Shape == space.ShapeBytes {
		return nil, &space.Error{Code: space.CodeWrongKind, Detail: fmt.Sprintf("space %q holds bytes, not fields", def.Name)}
	}
	for _, office := range []struct{ name, has, want string }{
		{"key", def.Key, wanted.Key}, {"routing field", def.Routing, wanted.Routing}, {"group", def.Group, wanted.Group},
	} {
		// A space whose definition names no key takes any; a type that names no
		// routing or group leaves that to the space.
		if office.want == "" || office.has == office.want || office.has == "" && office.name == "key" {
			continue
		}
		has := "none"
		if office.has != "" {
			has = fmt.Sprintf("%q", office.has)
		}
		return nil, &cluster.Error{
			Code:   cluster.CodeSpaceConflict,
			Detail: fmt.Sprintf("the %s of space %q is %s, that of %s is %q", office.name, def.Name, has, l.goType, office.want),
		}
	}
	var missing []space.Index
	for _, x := range wanted.Indexes {
		same := func(y space.Index) bool { return y.Ordered == x.Ordered && slices.Equal(y.Fields, x.Fields) }
		if slices.ContainsFunc(def.Indexes, same) {
			continue // whatever it is called
		}
		if i := slices.IndexFunc(def.Indexes, func(y space.Index) bool { return y.Name == x.Name }); i >= 0 {
			return nil, &cluster.Error{
				Code:   cluster.CodeSpaceConflict,
				Detail: fmt.Sprintf("index %q of space %q is over %s, that of %s over %s", x.Name, def.Name, indexText(def.Indexes[i]), l.goType, indexText(x)),
			}
		}
		missing = append(missing, x)
	}
	return missing, nil
}

func indexText(x space.Index) string {
	text := "(" + strings.Join(x.Fields, ", ") + ")"
	if x.Ordered {
		text += " ordered"
	}
	return text
}
