package space

import (
	"slices"
)

// applySystem runs an operation of the grid itself.
func (p *Partition) applySystem(c *Command) Reply {
	o := &c.Ops[0]
	code := CodeInvalid
	if c.Session == 0 {
		switch o.Code {
		case OpEpoch:
			code = p.applyEpoch(o)
		case OpTick:
			p.sessions.expire(p.clock)
			p.build(tickSteps * buildStep)
			code = OK
		case OpTrim:
			code = p.applyTrim(o)
		case OpDefine:
			code = p.applyDefine(o)
		case OpDrop:
			code = p.applyDrop(o)
		case OpSink:
			code = p.applySink(o)
		}
	}
	return p.reply(code)
}

func (p *Partition) applyEpoch(o *Op) Code {
	d := decoder{b: o.Value}
	wall := d.varint()
	if !d.done() {
		return CodeInvalid
	}
	p.epoch++
	p.wall, p.wallAt = wall, p.clock
	return OK
}

// applyTrim raises watermarks and the floor. Neither ever goes back, and the
// floor never passes a required sink, whatever the leader asked for.
func (p *Partition) applyTrim(o *Op) Code {
	d := decoder{b: o.Value}
	t := d.trim()
	if !d.done() {
		return CodeInvalid
	}
	for _, w := range t.Watermarks {
		if i, ok := p.sink(w.Sink); ok {
			p.sinks[i].watermark = max(p.sinks[i].watermark, min(w.Seq, p.seq))
		}
	}
	floor := min(t.Floor, p.seq)
	for i := range p.sinks {
		if p.sinks[i].Required {
			floor = min(floor, p.sinks[i].watermark)
		}
	}
	if floor > p.floor {
		p.floor = floor
		p.log.trim(floor)
	}
	return OK
}

// applyDefine creates a space or puts a changed definition in force. Shape and
// name of an existing space stay.
func (p *Partition) applyDefine(o *Op) Code {
	d := decoder{b: o.Value}
	def := d.definition()
	if !d.done() || def.ID == 0 || def.ID != o.Space || def.Validate() != nil {
		return CodeInvalid
	}
	spaces := *p.spaces.Load()
	sp := spaces[def.ID]
	regrouped := sp != nil && sp.def.Group != def.Group
	switch {
	case sp == nil && len(spaces) >= MaxSpaces:
		return CodeTooLarge
	case sp == nil:
		p.setSpace(def.ID, newEntries(def, p.seed))
	case sp.def.Shape != def.Shape || sp.def.Name != def.Name:
		return CodeConflict
	case slices.Equal(appendDefinition(nil, &sp.def), o.Value):
		return OK
	default:
		p.setSpace(def.ID, sp.redefine(def))
		p.build(buildStep) // a small space has its index at once
	}
	p.seq++
	p.log.append(&Change{Seq: p.seq, Op: Defined, Space: def.ID, Value: o.Value, At: p.clock})
	if regrouped {
		p.offerAll(p.space(def.ID))
	}
	return OK
}

func (p *Partition) applyDrop(o *Op) Code {
	if p.space(o.Space) == nil {
		return CodeNoSpace
	}
	p.setSpace(o.Space, nil)
	p.claims.drop(o.Space)
	p.endWaitsIn(o.Space)
	p.dropLocks(o.Space)
	p.seq++
	p.log.append(&Change{Seq: p.seq, Op: Dropped, Space: o.Space, At: p.clock})
	return OK
}

func (p *Partition) applySink(o *Op) Code {
	d := decoder{b: o.Value}
	s := d.sink()
	if !d.done() || s.ID == 0 || len(s.Name) > MaxNameBytes {
		return CodeInvalid
	}
	i, ok := p.sink(s.ID)
	switch {
	case s.Name == "" && ok:
		p.sinks = slices.Delete(p.sinks, i, i+1)
	case s.Name == "":
	case ok:
		p.sinks[i].Sink = s
	case len(p.sinks) >= MaxSinks:
		return CodeTooLarge
	default:
		// A new sink has nothing yet: what was trimmed before reaches it by resync.
		p.sinks = slices.Insert(p.sinks, i, sinkState{Sink: s})
	}
	return OK
}
