package filter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	yaml "go.yaml.in/yaml/v3"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

const (
	// MaxConfigBytes bounds the text of a configuration.
	MaxConfigBytes = 64 << 10
	// MaxBranches bounds a fan-out: each branch is a sink with a pump of its own.
	MaxBranches = 16
)

// Config describes pipes, as in YAML:
//
//	steps:
//	  - spaces: {only: [orders, customers]}
//	  - drop: [internal.notes]
//	  - mask: {fields: [card], show: 4}
//	    in: [orders]
//	branches:
//	  shipping:
//	    - where: status = 'paid'
//	    - set: {field: label, template: "${name}, ${address.city}"}
//	  audit: []
type Config struct {
	// Steps are those of every pipe, before those of its branch.
	Steps []StepConfig `yaml:"steps"`
	// Branches fan out: each is a pipe of its own, for a sink of its own. Without
	// any there is one pipe, for the sink "".
	Branches map[string][]StepConfig `yaml:"branches"`
}

// StepConfig describes one step: exactly one of its fields is set, In aside.
type StepConfig struct {
	Spaces *SpacesConfig `yaml:"spaces,omitempty"`
	Where  string        `yaml:"where,omitempty"`
	Rename *RenameConfig `yaml:"rename,omitempty"`
	Drop   []Path        `yaml:"drop,omitempty"`
	Keep   []Path        `yaml:"keep,omitempty"`
	Mask   *MaskConfig   `yaml:"mask,omitempty"`
	Set    *SetConfig    `yaml:"set,omitempty"`
	// In lists the spaces that the step is for; empty is all.
	In []string `yaml:"in,omitempty"`
}

// SpacesConfig describes a Spaces.
type SpacesConfig struct {
	Only   []string `yaml:"only,omitempty"`
	Except []string `yaml:"except,omitempty"`
}

// RenameConfig describes a Rename.
type RenameConfig struct {
	From Path `yaml:"from"`
	To   Path `yaml:"to"`
}

// MaskConfig describes a Mask.
type MaskConfig struct {
	Fields []Path `yaml:"fields"`
	Show   int    `yaml:"show,omitempty"`
}

// SetConfig describes a Compute: exactly one of Value, Copy and Template is set.
type SetConfig struct {
	Field    Path      `yaml:"field"`
	Value    yaml.Node `yaml:"value,omitempty"`
	Copy     Path      `yaml:"copy,omitempty"`
	Template *string   `yaml:"template,omitempty"`
}

// Parse reads a configuration from YAML. A name that means nothing is an error, so
// that a slip does not let something pass that should be hidden.
func Parse(text []byte) (*Config, error) {
	if len(text) > MaxConfigBytes {
		return nil, fmt.Errorf("filter: a configuration of %d bytes, at most %d are possible", len(text), MaxConfigBytes)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	c := new(Config)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("filter: more than one document")
	}
	return c, nil
}

// Pipes makes the pipes, by the names of their branches.
func (c *Config) Pipes() (map[string]*Pipe, error) {
	branches := c.Branches
	if len(branches) > MaxBranches {
		return nil, fmt.Errorf("filter: %d branches, at most %d are possible", len(branches), MaxBranches)
	}
	if len(branches) == 0 {
		branches = map[string][]StepConfig{"": nil}
	}
	pipes := make(map[string]*Pipe, len(branches))
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		var steps []Step
		for i, s := range slices.Concat(c.Steps, branches[name]) {
			step, err := s.step()
			if err != nil {
				return nil, fmt.Errorf("filter: branch %q, step %d: %w", name, i+1, err)
			}
			steps = append(steps, step)
		}
		p, err := NewPipe(steps...)
		if err != nil {
			return nil, err
		}
		pipes[name] = p
	}
	return pipes, nil
}

// step makes the step.
func (s *StepConfig) step() (Step, error) {
	var made []Step
	var failed error
	add := func(step Step, err error) {
		made, failed = append(made, step), errors.Join(failed, err)
	}
	transform := func(t Transform, err error) { add(Apply(t), err) }
	if s.Spaces != nil {
		add(Check(Spaces(*s.Spaces)), nil)
	}
	if s.Where != "" {
		p, err := predicate.Parse(s.Where)
		add(Check(Where{p}), err)
	}
	if s.Rename != nil {
		t, err := NewRename(s.Rename.From, s.Rename.To)
		transform(t, err)
	}
	if s.Drop != nil {
		t, err := NewDrop(s.Drop...)
		transform(t, err)
	}
	if s.Keep != nil {
		t, err := NewKeep(s.Keep...)
		transform(t, err)
	}
	if s.Mask != nil {
		t, err := NewMask(s.Mask.Show, s.Mask.Fields...)
		transform(t, err)
	}
	if s.Set != nil {
		t, err := s.Set.compute()
		transform(t, err)
	}
	switch {
	case failed != nil:
		return Step{}, failed
	case len(made) != 1:
		return Step{}, fmt.Errorf("it is %d things at once, not one of spaces, where, rename, drop, keep, mask and set", len(made))
	case len(s.In) > 0:
		return In(Spaces{Only: s.In}, made[0]), nil
	}
	return made[0], nil
}

func (s *SetConfig) compute() (Compute, error) {
	given := 0
	for _, is := range []bool{!s.Value.IsZero(), s.Copy != "", s.Template != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return Compute{}, errors.New("a field is set to exactly one of value, copy and template")
	case s.Copy != "":
		return NewCopy(s.Field, s.Copy)
	case s.Template != nil:
		return NewTemplate(s.Field, *s.Template)
	}
	var v any
	if err := s.Value.Decode(&v); err != nil {
		return Compute{}, err
	}
	return NewConstant(s.Field, v)
}
