package resp

import (
	"errors"
	"math"
	"strconv"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Commands on strings, which are entries of opaque bytes.

func stringActions() map[string]action {
	return map[string]action{
		"append":      {stage: stageAppend},
		"decr":        {stage: func(d *dialog, c Command) { d.stageAdd(c, -1) }},
		"decrby":      {stage: func(d *dialog, c Command) { d.stageAddArg(c, true) }},
		"get":         {stage: stageGet},
		"getdel":      {alone: getDel},
		"getex":       {stage: stageGet, alone: getEx, stepwise: func(c Command) bool { return len(c.Args) > 2 }},
		"getrange":    {stage: stageGetRange},
		"getset":      {alone: getSet},
		"incr":        {stage: func(d *dialog, c Command) { d.stageAdd(c, 1) }},
		"incrby":      {stage: func(d *dialog, c Command) { d.stageAddArg(c, false) }},
		"incrbyfloat": {stage: stageIncrByFloat},
		"mget":        {stage: stageMGet},
		"mset":        {stage: stageMSet},
		"msetnx":      {alone: msetnx},
		"psetex":      {stage: stageSetEx},
		"set":         {stage: stageSet, alone: setGet, stepwise: setHasGet},
		"setex":       {stage: stageSetEx},
		"setnx":       {stage: stageSetNX},
		"setrange":    {stage: stageSetRange},
		"strlen":      {stage: stageStrLen},
	}
}

// str returns the string that a read found. If the read failed or found another
// kind of value, the error reply is made and done is true.
func (d *dialog) str(at int) (value []byte, ok, done bool) {
	e, ok, err := d.entry(at)
	switch {
	case err != nil:
		d.fail(err)
		return nil, false, true
	case ok && e.Kind != space.KindBytes:
		d.error(textWrongType)
		return nil, false, true
	}
	return e.Value, ok, false
}

func stageGet(d *dialog, c Command) { d.then(c, d.get(c.Args[1]), 1, answerGet) }

func answerGet(d *dialog, p *pending) {
	value, ok, done := d.str(p.at)
	switch {
	case done:
	case ok:
		d.out.Bulk(value)
	default:
		d.out.Null()
	}
}

func stageStrLen(d *dialog, c Command) {
	d.then(c, d.get(c.Args[1]), 1, func(d *dialog, p *pending) {
		if value, _, done := d.str(p.at); !done {
			d.out.Int(int64(len(value)))
		}
	})
}

func stageGetRange(d *dialog, c Command) {
	_, ok1 := integer(c.Args[2])
	_, ok2 := integer(c.Args[3])
	if !ok1 || !ok2 {
		d.refuse(textNotInteger)
		return
	}
	d.then(c, d.get(c.Args[1]), 1, func(d *dialog, p *pending) {
		value, _, done := d.str(p.at)
		if done {
			return
		}
		start, _ := integer(p.c.Args[2])
		end, _ := integer(p.c.Args[3])
		d.out.Bulk(subrange(value, start, end))
	})
}

// subrange returns the bytes from start to end, both included; negative ones
// count from the end.
func subrange(b []byte, start, end int64) []byte {
	n := int64(len(b))
	if start < 0 && end < 0 && start > end {
		return nil
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end || n == 0 {
		return nil
	}
	return b[start : end+1]
}

func stageMGet(d *dialog, c Command) {
	at := -1
	for _, key := range c.Args[1:] {
		if place := d.get(key); at < 0 {
			at = place
		}
	}
	d.then(c, at, len(c.Args)-1, func(d *dialog, p *pending) {
		for i := range p.n {
			if _, _, err := d.entry(p.at + i); err != nil {
				d.fail(err)
				return
			}
		}
		d.out.Array(p.n)
		for i := range p.n {
			if e, ok, _ := d.entry(p.at + i); ok && e.Kind == space.KindBytes {
				d.out.Bulk(e.Value)
			} else {
				d.out.Null()
			}
		}
	})
}

// written returns the operation that sets a key.
func written(key, value []byte) space.Op {
	if value == nil {
		value = []byte{}
	}
	return space.Op{Code: space.OpWrite, Key: key, Value: value, Kind: space.KindBytes}
}

func stageMSet(d *dialog, c Command) {
	if len(c.Args)%2 == 0 {
		d.refuse("ERR wrong number of arguments for 'mset' command")
		return
	}
	at := -1
	for i := 1; i < len(c.Args); i += 2 {
		if place := d.do(written(c.Args[i], c.Args[i+1])); at < 0 {
			at = place
		}
	}
	d.then(c, at, len(c.Args)/2, (*dialog).answerOK)
}

// msetnx needs its keys in one slot, as it sets all of them or none.
func msetnx(d *dialog, c Command) {
	if len(c.Args)%2 == 0 {
		d.error("ERR wrong number of arguments for 'msetnx' command")
		return
	}
	id, err := d.spaceOf(d.session.DB())
	if errors.Is(err, space.ErrNotFound) {
		id, err = d.createSpace(d.session.DB())
	}
	if err != nil {
		d.fail(err)
		return
	}
	b := d.commands.grid.NewAtomicBatch()
	last := map[string]int{} // of a key given twice the last value counts
	for i := 1; i < len(c.Args); i += 2 {
		last[string(c.Args[i])] = i
	}
	slot := space.Slot(c.Args[1])
	for i := 1; i < len(c.Args); i += 2 {
		if space.Slot(c.Args[i]) != slot {
			d.error(textCrossSlot)
			return
		}
		if err := checkKey(c.Args[i]); err != nil {
			d.fail(err)
			return
		}
		if last[string(c.Args[i])] == i {
			op := written(c.Args[i], c.Args[i+1])
			op.Space, op.Mode = id, space.ModeInsert
			b.Do(op)
		}
	}
	if err := d.commands.grid.Run(d.ctx, b); err != nil {
		d.fail(err)
		return
	}
	for at := range b.Len() {
		switch r, err := b.Result(at); {
		case err == nil || r.Code == space.CodeAborted:
		case r.Code == space.CodeExists:
			d.out.Int(0)
			return
		default:
			d.fail(err)
			return
		}
	}
	d.out.Int(1)
}

func stageAppend(d *dialog, c Command) {
	d.stageWhole(c, space.Mutation{Code: space.MutAppend, Arg: c.Args[2]}, answerLength)
}

func stageSetRange(d *dialog, c Command) {
	offset, ok := integer(c.Args[2])
	switch {
	case !ok:
		d.refuse(textNotInteger)
	case offset < 0:
		d.refuse("ERR offset is out of range")
	case len(c.Args[3]) == 0:
		stageStrLen(d, c)
	case offset+int64(len(c.Args[3])) > space.MaxValueBytes:
		d.refuse(textTooLarge)
	default:
		d.stageWhole(c, space.Mutation{Code: space.MutSetRange, Offset: uint32(offset), Arg: c.Args[3]}, answerLength)
	}
}

// stageWhole changes the string at a key, or makes it.
func (d *dialog) stageWhole(c Command, m space.Mutation, reply func(*dialog, *pending)) {
	d.then(c, d.do(space.Op{
		Code: space.OpChange, Key: c.Args[1], Kind: space.KindBytes,
		Flags: space.FlagCreate | space.FlagReturn, Mutations: []space.Mutation{m},
	}), 1, reply)
}

// changed returns the entry that a change of a whole string made. If it failed
// the error reply is made and ok is false. The state machine says "invalid" of a
// change of the whole of a hash, "wrong kind" of text that is no number.
func (d *dialog) changed(at int, noNumber, outOfRange string) (e space.Entry, ok bool) {
	r, err := d.result(at)
	var refused *space.Error
	switch {
	case err == nil:
		return r.Entries[0], true
	case errors.As(err, &refused) && refused.Code == space.CodeInvalid && refused.Detail == "":
		d.error(textWrongType)
	case errors.Is(err, space.ErrWrongKind):
		d.error(noNumber)
	case errors.Is(err, space.ErrRange):
		d.error(outOfRange)
	default:
		d.fail(err)
	}
	return e, false
}

func answerLength(d *dialog, p *pending) {
	if e, ok := d.changed(p.at, textWrongType, textTooLarge); ok {
		d.out.Int(int64(len(e.Value)))
	}
}

func (d *dialog) stageAddArg(c Command, negative bool) {
	n, ok := integer(c.Args[2])
	switch {
	case !ok:
		d.refuse(textNotInteger)
	case negative && n == math.MinInt64:
		d.refuse("ERR decrement would overflow")
	case negative:
		d.stageAdd(c, -n)
	default:
		d.stageAdd(c, n)
	}
}

func (d *dialog) stageAdd(c Command, n int64) {
	d.stageWhole(c, space.Mutation{Code: space.MutAdd, Arg: msgp.AppendInt(nil, n)}, answerAdd)
}

func answerAdd(d *dialog, p *pending) {
	e, ok := d.changed(p.at, textNotInteger, textOverflow)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(string(e.Value), 10, 64)
	if err != nil {
		panic("resp: a sum is no number: " + err.Error())
	}
	d.out.Int(n)
}

func stageIncrByFloat(d *dialog, c Command) {
	f, ok := parseFloat(c.Args[2])
	if !ok {
		d.then(c, d.get(c.Args[1]), 1, func(d *dialog, p *pending) {
			if _, _, done := d.str(p.at); !done {
				d.error(textNotFloat)
			}
		})
		return
	}
	d.stageWhole(c, space.Mutation{Code: space.MutAddFloat, Arg: msgp.AppendFloat(nil, f)}, func(d *dialog, p *pending) {
		if e, ok := d.changed(p.at, textNotFloat, textNotFinite); ok {
			d.out.Bulk(e.Value)
		}
	})
}
