package grid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Alteration is what may change of a space while it has entries. What is left
// out stays as it is.
type Alteration struct {
	// AddIndexes that are there already are not an error, nor are DropIndexes,
	// names, that are gone. A new index serves once every entry is in it; until
	// then searches go on as they did before: see [Grid.Building].
	AddIndexes  []space.Index
	DropIndexes []string
	// AddFields declares fields, those that are declared already with the new
	// type. DropFields are paths.
	AddFields  []space.Field
	DropFields []string
	// ClaimLease 0 is the default, MaxAttempts 0 no limit. See space.Definition.
	ClaimLease  *time.Duration
	MaxAttempts *int
	// DeadLetter is the name of a space of the same shape; empty is none.
	DeadLetter *string
}

// AlterSpace changes the definition of a space, as a whole or not at all, and
// returns the one that is then in force.
func (g *Grid) AlterSpace(ctx context.Context, name string, a Alteration) (space.Definition, error) {
	def, err := g.Describe(ctx, name)
	if err != nil {
		return space.Definition{}, err
	}
	c := &cluster.AlterSpace{
		Space: def.ID, AddIndexes: a.AddIndexes, DropIndexes: a.DropIndexes, AddFields: a.AddFields, DropFields: a.DropFields,
		ClaimLease: a.ClaimLease, MaxAttempts: a.MaxAttempts,
	}
	if a.DeadLetter != nil {
		c.DeadLetter = new(space.ID)
		if *a.DeadLetter != "" {
			dead, err := g.DeadLetterSpace(ctx, *a.DeadLetter, def.Shape)
			if err != nil {
				return space.Definition{}, err
			}
			*c.DeadLetter = dead
		}
	}
	if _, err := g.router.Control(ctx, c); err != nil {
		return space.Definition{}, asRefusal(err)
	}
	return g.Describe(ctx, name)
}

// asRefusal makes what the control group says of a wrong definition the error
// that the same mistake has everywhere else.
func asRefusal(err error) error {
	if refused, ok := errors.AsType[*cluster.Error](err); ok && refused.Code == cluster.CodeInvalid {
		return &space.Error{Code: space.CodeInvalid, Detail: strings.TrimPrefix(refused.Detail, "space: invalid: ")}
	}
	return err
}

// DeadLetterSpace returns the identity of the space of a name, to which a space
// of a shape can send what exceeds its attempts. The error is of CodeInvalid if it
// cannot.
func (g *Grid) DeadLetterSpace(ctx context.Context, name string, shape space.Shape) (space.ID, error) {
	dead, err := g.Describe(ctx, name)
	if err != nil {
		return 0, err
	}
	if dead.Shape != shape {
		return 0, &space.Error{
			Code: space.CodeInvalid, Detail: fmt.Sprintf("the space for dead letters, %q, is of shape %s and not %s", name, dead.Shape, shape),
			Hint: "use a space of the same shape",
		}
	}
	return dead.ID, nil
}

// SpaceName returns the name of the space of an identity, empty if it is not known
// here.
func (g *Grid) SpaceName(id space.ID) string {
	if def, ok := g.router.State().SpaceByID(id); ok {
		return def.Name
	}
	return ""
}
