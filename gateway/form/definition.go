package form

import (
	"context"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Definition is a space's definition as JSON says it.
type Definition struct {
	Name      string  `json:"name"`
	Shape     string  `json:"shape,omitempty"`      // any, fields or bytes; default any
	Key       string  `json:"key,omitempty"`        // the field that holds the key
	Indexes   []Index `json:"indexes,omitempty"`    // on fields of the entries
	Fields    []Field `json:"fields,omitempty"`     // declared fields
	Lease     string  `json:"lease,omitempty"`      // granted by default; none is forever
	ScanLimit int     `json:"scan_limit,omitempty"` // 0 is the default, negative is none
	Group     string  `json:"group,omitempty"`      // the field by which entries are handed out in order
	Routing   string  `json:"routing,omitempty"`    // the field whose text is the {tag} of every key
	// ClaimLease is how long a claim lasts that asks for no time of its own.
	ClaimLease  string `json:"claim_lease,omitempty"`
	MaxAttempts int    `json:"max_attempts,omitempty"`
	DeadLetter  string `json:"dead_letter,omitempty"` // the name of a space of the same shape
	// Consistency is what this kind of space promises; it cannot be chosen.
	Consistency string `json:"consistency,omitempty"`
}

// Index is an index as JSON says it.
type Index struct {
	Name    string   `json:"name,omitempty"` // default: the fields, joined by a point
	Fields  []string `json:"fields"`
	Ordered bool     `json:"ordered,omitempty"` // serves ranges of the last field too
	// Building is how much of the entries is in an index that does not serve yet,
	// from 0 to 1; only in descriptions.
	Building *float64 `json:"building,omitempty"`
}

// Field is a declared field as JSON says it.
type Field struct {
	Path string `json:"path"`
	Type string `json:"type,omitempty"` // default any
}

// consistency is what every space of a grid promises.
const consistency = "linearizable"

// DefinitionOf returns the form of a definition. Progress of indexes that are
// being built is added by Describe.
func DefinitionOf(g *grid.Grid, d *space.Definition) Definition {
	out := Definition{
		Name: d.Name, Shape: d.Shape.String(), Key: d.Key, ScanLimit: d.ScanLimit, Group: d.Group, Routing: d.Routing,
		Lease: leaseText(d.Lease), ClaimLease: leaseText(d.ClaimLease), MaxAttempts: d.MaxAttempts, Consistency: consistency,
	}
	for _, x := range d.Indexes {
		out.Indexes = append(out.Indexes, Index{Name: x.Name, Fields: x.Fields, Ordered: x.Ordered})
	}
	for _, f := range d.Fields {
		out.Fields = append(out.Fields, Field{Path: f.Path, Type: f.Type.String()})
	}
	if d.DeadLetter != 0 {
		out.DeadLetter = g.SpaceName(d.DeadLetter)
	}
	return out
}

// Describe returns the form of a definition with the progress of its indexes.
func Describe(ctx context.Context, g *grid.Grid, d *space.Definition) (Definition, error) {
	out := DefinitionOf(g, d)
	building, err := g.Building(ctx, d)
	if err != nil {
		return out, err
	}
	for _, b := range building {
		for i := range out.Indexes {
			if out.Indexes[i].Name == b.Index {
				out.Indexes[i].Building = new(b.Done)
			}
		}
	}
	return out, nil
}

func leaseText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// Parse returns the definition, checked, its dead-letter space looked up.
func (d *Definition) Parse(ctx context.Context, g *grid.Grid) (space.Definition, error) {
	out := space.Definition{Name: d.Name, Key: d.Key, ScanLimit: d.ScanLimit, Group: d.Group, Routing: d.Routing, MaxAttempts: d.MaxAttempts}
	if d.Consistency != "" && d.Consistency != consistency {
		return out, refuse("leave it out: partitioned spaces are linearizable", "unknown consistency")
	}
	var err error
	if d.Shape != "" {
		if out.Shape, err = space.ParseShape(d.Shape); err != nil {
			return out, err
		}
	}
	if out.Lease, err = parseLease(d.Lease); err != nil {
		return out, err
	}
	if out.ClaimLease, err = parseLease(d.ClaimLease); err != nil {
		return out, err
	}
	out.Indexes = indexes(d.Indexes)
	if out.Fields, err = fields(d.Fields); err != nil {
		return out, err
	}
	if d.DeadLetter != "" {
		if out.DeadLetter, err = g.DeadLetterSpace(ctx, d.DeadLetter, out.Shape); err != nil {
			return out, err
		}
	}
	err = out.Validate()
	return out, err
}

func indexes(list []Index) []space.Index {
	var out []space.Index
	for _, x := range list {
		name := x.Name
		if name == "" {
			name = strings.Join(x.Fields, ".")
		}
		out = append(out, space.Index{Name: name, Fields: x.Fields, Ordered: x.Ordered})
	}
	return out
}

func fields(list []Field) ([]space.Field, error) {
	var out []space.Field
	for _, f := range list {
		t, err := ParseType(f.Type)
		if err != nil {
			return nil, err
		}
		out = append(out, space.Field{Path: f.Path, Type: t})
	}
	return out, nil
}

// ParseType reads the name of a declared field's type. Empty is any.
func ParseType(word string) (predicate.Type, error) {
	if word == "" {
		return predicate.Any, nil
	}
	var names []string
	for t := predicate.Any; t <= predicate.Map; t++ {
		if t.String() == word {
			return t, nil
		}
		names = append(names, t.String())
	}
	return 0, refuse("use "+strings.Join(names, ", "), "unknown type %q of a field", word)
}

// parseLease reads a duration; none and forever are 0.
func parseLease(text string) (time.Duration, error) {
	if text == "" || text == "forever" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, refuse("write 30s, 5m or forever", "the lease %q is no positive duration", text)
	}
	return d, nil
}

// Alteration is what is to change of a space, as JSON says it. What is left out
// stays.
type Alteration struct {
	AddIndexes  []Index  `json:"add_indexes"`
	DropIndexes []string `json:"drop_indexes"`
	AddFields   []Field  `json:"add_fields"`
	DropFields  []string `json:"drop_fields"`
	ClaimLease  *string  `json:"claim_lease"`  // empty: the default
	MaxAttempts *int     `json:"max_attempts"` // 0: no limit
	DeadLetter  *string  `json:"dead_letter"`  // empty: none
}

// Parse returns the alteration.
func (a *Alteration) Parse() (grid.Alteration, error) {
	out := grid.Alteration{AddIndexes: indexes(a.AddIndexes), DropIndexes: a.DropIndexes, DropFields: a.DropFields, MaxAttempts: a.MaxAttempts, DeadLetter: a.DeadLetter}
	var err error
	if out.AddFields, err = fields(a.AddFields); err != nil {
		return out, err
	}
	if a.ClaimLease != nil {
		lease, err := parseLease(*a.ClaimLease)
		if err != nil {
			return out, err
		}
		out.ClaimLease = &lease
	}
	return out, nil
}
