package cluster

import (
	"bytes"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

func (c *CreateSpace) apply(d *draft) Reply {
	def := cloneDefinition(&c.Definition)
	def.ID = 0
	if err := def.Validate(); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if old, ok := d.Space(def.Name); ok {
		if sameDefinition(old, &def) {
			return Reply{Space: old.ID}
		}
		r := refuse(CodeSpaceConflict, "%q", def.Name)
		r.Space = old.ID
		return r
	}
	if r := d.checkDeadLetter(&def); r.Code != OK {
		return r
	}
	if len(d.Spaces) == space.MaxSpaces {
		return refuse(CodeLimit, "%d spaces", space.MaxSpaces)
	}
	if d.LastSpace == ^space.ID(0) {
		return refuse(CodeLimit, "all identities of spaces have been given out")
	}
	d.LastSpace++
	def.ID = d.LastSpace
	d.setSpaces(append(slices.Clone(d.Spaces), def)) // IDs only grow, so the end is its place
	d.changed = true
	return Reply{Space: def.ID}
}

// cloneDefinition copies a definition; one without indexes or declared fields has
// the same form as after a restore.
func cloneDefinition(d *space.Definition) space.Definition {
	def := d.Clone()
	if len(def.Indexes) == 0 {
		def.Indexes = nil
	}
	if len(def.Fields) == 0 {
		def.Fields = nil
	}
	return def
}

// sameDefinition compares all but the identity.
func sameDefinition(a, b *space.Definition) bool {
	x, y := *a, *b
	x.ID, y.ID = 0, 0
	return bytes.Equal(space.AppendDefinition(nil, &x), space.AppendDefinition(nil, &y))
}

func sameIndex(a, b space.Index) bool {
	return a.Name == b.Name && a.Ordered == b.Ordered && slices.Equal(a.Fields, b.Fields)
}

func (c *DropSpace) apply(d *draft) Reply {
	i, ok := d.spaceAt(c.Space)
	if !ok {
		if c.Space != 0 && c.Space <= d.LastSpace {
			return Reply{Space: c.Space} // dropped before
		}
		return refuse(CodeNoSpace, "%d", c.Space)
	}
	for j := range d.Spaces {
		if d.Spaces[j].DeadLetter == c.Space {
			return refuse(CodeSpaceConflict, "the dead letters of space %q go to space %q: alter that first", d.Spaces[j].Name, d.Spaces[i].Name)
		}
	}
	d.setSpaces(slices.Delete(slices.Clone(d.Spaces), i, i+1))
	d.changed = true
	return Reply{Space: c.Space}
}

func (c *AlterSpace) apply(d *draft) Reply {
	i, ok := d.spaceAt(c.Space)
	if !ok {
		return refuse(CodeNoSpace, "%d", c.Space)
	}
	old := &d.Spaces[i]
	def := cloneDefinition(old)
	if name := c.alterIndexes(&def); name != "" {
		return refuse(CodeSpaceConflict, "index %q of space %q has other fields", name, def.Name)
	}
	c.alterFields(&def)
	if c.ClaimLease != nil {
		def.ClaimLease = *c.ClaimLease
	}
	if c.MaxAttempts != nil {
		def.MaxAttempts = *c.MaxAttempts
	}
	if c.DeadLetter != nil {
		def.DeadLetter = *c.DeadLetter
	}
	if err := def.Validate(); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if r := d.checkDeadLetter(&def); r.Code != OK {
		return r
	}
	if sameDefinition(old, &def) {
		return Reply{Space: def.ID}
	}
	d.Spaces = slices.Clone(d.Spaces) // every name stays where it is
	d.Spaces[i] = cloneDefinition(&def)
	d.changed = true
	return Reply{Space: def.ID}
}

// alterIndexes returns the name of an index that is there with other fields.
func (c *AlterSpace) alterIndexes(def *space.Definition) (conflict string) {
	def.Indexes = slices.DeleteFunc(def.Indexes, func(x space.Index) bool { return slices.Contains(c.DropIndexes, x.Name) })
	for _, add := range c.AddIndexes {
		at := slices.IndexFunc(def.Indexes, func(x space.Index) bool { return x.Name == add.Name })
		switch {
		case at < 0:
			def.Indexes = append(def.Indexes, space.Index{Name: add.Name, Fields: slices.Clone(add.Fields), Ordered: add.Ordered})
		case !sameIndex(def.Indexes[at], add):
			return add.Name
		}
	}
	return ""
}

func (c *AlterSpace) alterFields(def *space.Definition) {
	def.Fields = slices.DeleteFunc(def.Fields, func(f space.Field) bool { return slices.Contains(c.DropFields, f.Path) })
	for _, add := range c.AddFields {
		at := slices.IndexFunc(def.Fields, func(f space.Field) bool { return f.Path == add.Path })
		if at < 0 {
			def.Fields = append(def.Fields, add)
		} else {
			def.Fields[at] = add
		}
	}
}

// checkDeadLetter refuses a definition whose exhausted entries would have no
// place to go to.
func (d *draft) checkDeadLetter(def *space.Definition) Reply {
	if def.DeadLetter == 0 {
		return Reply{}
	}
	dead, ok := d.SpaceByID(def.DeadLetter)
	if !ok {
		return refuse(CodeInvalid, "space %q: its space for dead letters does not exist", def.Name)
	}
	if dead.ID == def.ID || dead.Shape != def.Shape {
		return refuse(CodeInvalid, "space %q: dead letters go to another space, of the same shape; %q is of shape %s", def.Name, dead.Name, dead.Shape)
	}
	return Reply{}
}

func (c *SetSink) apply(d *draft) Reply {
	if c.Name == "" || len(c.Name) > space.MaxNameBytes {
		return refuse(CodeInvalid, "the name of a sink has 1 to %d bytes", space.MaxNameBytes)
	}
	for i, s := range d.Sinks {
		if s.Name != c.Name {
			continue
		}
		if s.Required != c.Required {
			d.Sinks = slices.Clone(d.Sinks)
			d.Sinks[i].Required = c.Required
			d.changed = true
		}
		return Reply{Sink: s.ID}
	}
	if len(d.Sinks) == space.MaxSinks {
		return refuse(CodeLimit, "%d sinks", space.MaxSinks)
	}
	d.LastSink++
	d.Sinks = append(slices.Clone(d.Sinks), Sink{Sink: space.Sink{ID: d.LastSink, Name: c.Name, Required: c.Required}})
	d.changed = true
	return Reply{Sink: d.LastSink}
}
