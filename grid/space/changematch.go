package space

// prepareChangeMatch applies the mutations to the first entries that match, to
// all of them or, if one does not take them, to none. Like every search it stops
// early at entries of maxReplyBytes.
func (p *Partition) prepareChangeMatch(sp *entries, o *Op, i int) Code {
	f, code := p.filter(o.Template, o.Predicate)
	if code != OK {
		return code
	}
	found, code := p.find(sp, &f, p.prep.room(o), o.Flags&FlagAllowScan != 0, true)
	if code != OK {
		return code
	}
	if len(found) == 0 {
		return CodeNotFound
	}
	base := len(p.prep.values)
	for j := range found {
		e := &found[j]
		if e.Value, _, code = p.prep.mutate(e.Kind, e.Value, o.Mutations); code == OK {
			code = checkValue(&sp.def, e.Kind, len(e.Value))
		}
		if code == OK {
			code = p.guarded(sp, e.Kind, e.Value)
		}
		if code == OK && !sp.def.routed(e.Key, e.Kind, e.Value) {
			code = CodeInvalid
		}
		if code != OK {
			p.prep.values = p.prep.values[:base]
			return code
		}
	}
	for j := range found {
		e, n, code := p.touch(sp, found[j].Key)
		if code != OK {
			panic("space: an entry that matched cannot be touched")
		}
		e.write(found[j].Kind, found[j].Value)
		found[j] = e.entry
		p.prep.made[i] = n
	}
	p.prep.results[i].Count = len(found)
	if o.Flags&FlagReturn != 0 {
		p.prep.results[i].Entries = p.prep.list(found...)
	}
	return OK
}
