package resp

import (
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Commands on hashes, which are entries of fields. What they write is text, or
// binary where it is not UTF-8; what others have written is shown as text.

func hashActions() map[string]action {
	return map[string]action{
		"hdel":         {stage: stageHDel},
		"hexists":      {stage: stageHExists},
		"hget":         {stage: stageHGet},
		"hgetall":      {stage: stageHGetAll},
		"hincrby":      {stage: stageHIncrBy},
		"hincrbyfloat": {stage: stageHIncrByFloat},
		"hkeys":        {stage: stageHKeys},
		"hlen":         {stage: stageHLen},
		"hmget":        {stage: stageHMGet},
		"hmset":        {stage: stageHSet},
		"hrandfield":   {stage: stageHRandField},
		"hscan":        {stage: stageHScan},
		"hset":         {stage: stageHSet},
		"hsetnx":       {stage: stageHSetNX},
		"hstrlen":      {stage: stageHStrLen},
		"hvals":        {stage: stageHVals},
	}
}

const (
	textHashInteger = "ERR hash value is not an integer"
	textHashFloat   = "ERR hash value is not a float"
)

// fieldValue returns a value as hashes keep it.
func fieldValue(b []byte) []byte {
	dst := make([]byte, 0, len(b)+5)
	if utf8.Valid(b) {
		return msgp.AppendString(dst, b)
	}
	return msgp.AppendBytes(dst, b)
}

// checkField reports names that fields do not have.
func checkField(name []byte) (refusal string) {
	if len(name) == 0 || len(name) > space.MaxKeyBytes {
		return "ERR the name of a field has 1 to " + strconv.Itoa(space.MaxKeyBytes) + " bytes"
	}
	return ""
}

// stageReadHash replies with what reply makes of the canonical map at a key; the
// map is nil if there is none.
func (d *dialog) stageReadHash(c Command, key []byte, reply func(d *dialog, c Command, fields []byte)) {
	p := d.then(c, d.get(key), 1, nil)
	p.reply = func(d *dialog, p *pending) {
		e, ok, err := d.entry(p.at)
		switch {
		case err != nil:
			d.fail(err)
		case ok && e.Kind != space.KindFields:
			d.error(textWrongType)
		default:
			reply(d, p.c, e.Value)
		}
	}
}

func stageHGet(d *dialog, c Command) { d.then(c, d.get(c.Args[1]), 1, answerHGet) }

func answerHGet(d *dialog, p *pending) {
	e, ok, err := d.entry(p.at)
	switch {
	case err != nil:
		d.fail(err)
	case ok && e.Kind != space.KindFields:
		d.error(textWrongType)
	default:
		d.field(e.Value, p.c.Args[2])
	}
}

// field writes a field as text, or null.
func (d *dialog) field(fields, name []byte) {
	value, ok := msgp.Field(fields, string(name))
	if !ok {
		d.out.Null()
		return
	}
	d.text(value)
}

// text writes a field's value. Strings, which most are, are not copied.
func (d *dialog) text(value []byte) {
	if s, _, err := msgp.ReadString(value); err == nil {
		d.out.Bulk(s)
		return
	}
	d.out.Bulk(appendText(nil, value))
}

func stageHExists(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, c Command, fields []byte) {
		n := int64(0)
		if _, ok := msgp.Field(fields, string(c.Args[2])); ok {
			n = 1
		}
		d.out.Int(n)
	})
}

func stageHStrLen(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, c Command, fields []byte) {
		n := 0
		if value, ok := msgp.Field(fields, string(c.Args[2])); ok {
			n = len(appendText(nil, value))
		}
		d.out.Int(int64(n))
	})
}

// fieldCount returns the number of fields; a nil map has none.
func fieldCount(fields []byte) int {
	n, _, err := msgp.ReadMapHeader(fields)
	if err != nil {
		return 0
	}
	return n
}

func stageHLen(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, fields []byte) { d.out.Int(int64(fieldCount(fields))) })
}

func stageHGetAll(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, fields []byte) {
		d.out.Map(fieldCount(fields))
		for name, value := range msgp.EachField(fields) {
			d.out.Bulk(name)
			d.text(value)
		}
	})
}

func stageHKeys(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, fields []byte) {
		d.out.Array(fieldCount(fields))
		for name := range msgp.EachField(fields) {
			d.out.Bulk(name)
		}
	})
}

func stageHVals(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, fields []byte) {
		d.out.Array(fieldCount(fields))
		for _, value := range msgp.EachField(fields) {
			d.text(value)
		}
	})
}

func stageHMGet(d *dialog, c Command) {
	d.stageReadHash(c, c.Args[1], func(d *dialog, c Command, fields []byte) {
		d.out.Array(len(c.Args) - 2)
		for _, name := range c.Args[2:] {
			d.field(fields, name)
		}
	})
}

// stageHScan goes through a hash in one step: it is no larger than an entry.
func stageHScan(d *dialog, c Command) {
	o, refusal := parseScan(c.Args[2:], false)
	if refusal != "" {
		d.refuse(refusal)
		return
	}
	d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, fields []byte) {
		n := 0
		for name := range msgp.EachField(fields) {
			if o.matches(name) {
				n++
			}
		}
		d.out.Array(2)
		d.out.BulkString("0")
		d.out.Array(2 * n)
		for name, value := range msgp.EachField(fields) {
			if o.matches(name) {
				d.out.Bulk(name)
				d.text(value)
			}
		}
	})
}

// randomMost bounds the fields that HRANDFIELD returns with repetition.
const randomMost = 1 << 20

func stageHRandField(d *dialog, c Command) {
	count, withValues := int64(1), len(c.Args) == 4
	if len(c.Args) > 2 {
		var ok bool
		if count, ok = integer(c.Args[2]); !ok {
			d.refuse(textNotInteger)
			return
		}
		if count < -randomMost {
			d.refuse("ERR value is out of range")
			return
		}
	}
	if len(c.Args) > 4 || withValues && !isWord(c.Args[3], "WITHVALUES") {
		d.refuse(textSyntax)
		return
	}
	d.stageReadHash(c, c.Args[1], func(d *dialog, c Command, fields []byte) {
		var pairs [][2][]byte
		for name, value := range msgp.EachField(fields) {
			pairs = append(pairs, [2][]byte{name, value})
		}
		switch {
		case len(c.Args) == 2 && len(pairs) == 0:
			d.out.Null()
		case len(c.Args) == 2:
			d.out.Bulk(pairs[rand.IntN(len(pairs))][0])
		default:
			d.fields(choose(pairs, count), withValues)
		}
	})
}

// choose returns count different elements, or -count with repetition.
func choose(pairs [][2][]byte, count int64) [][2][]byte {
	if len(pairs) == 0 {
		return nil
	}
	if count >= 0 {
		rand.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		return pairs[:min(count, int64(len(pairs)))]
	}
	chosen := make([][2][]byte, 0, -count)
	for range -count {
		chosen = append(chosen, pairs[rand.IntN(len(pairs))])
	}
	return chosen
}

// fields writes names, with values as pairs in RESP3 and flat in RESP2.
func (d *dialog) fields(pairs [][2][]byte, withValues bool) {
	pair := withValues && d.out.Proto() == 3
	n := len(pairs)
	if withValues && !pair {
		n *= 2
	}
	d.out.Array(n)
	for _, x := range pairs {
		if pair {
			d.out.Array(2)
		}
		d.out.Bulk(x[0])
		if withValues {
			d.text(x[1])
		}
	}
}

// stageHSet serves HSET and HMSET.
func stageHSet(d *dialog, c Command) {
	plain := isWord(c.Args[0], "HMSET")
	if len(c.Args)%2 != 0 {
		name := "hset"
		if plain {
			name = "hmset"
		}
		d.refuse("ERR wrong number of arguments for '" + name + "' command")
		return
	}
	mutations := make([]space.Mutation, 0, len(c.Args)/2-1)
	for i := 2; i < len(c.Args); i += 2 {
		if refusal := checkField(c.Args[i]); refusal != "" {
			d.refuse(refusal)
			return
		}
		mutations = append(mutations, space.Mutation{Code: space.MutSet, Field: string(c.Args[i]), Arg: fieldValue(c.Args[i+1])})
	}
	reply := answerCount
	if plain {
		reply = (*dialog).answerOK
	}
	d.then(c, d.do(changeHash(c.Args[1], space.FlagCreate, mutations)), 1, reply)
}

func changeHash(key []byte, flags space.OpFlags, mutations []space.Mutation) space.Op {
	return space.Op{Code: space.OpChange, Key: key, Kind: space.KindFields, Flags: flags, Mutations: mutations}
}

func answerCount(d *dialog, p *pending) {
	r, err := d.result(p.at)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Int(int64(r.Count))
}

func stageHSetNX(d *dialog, c Command) {
	if refusal := checkField(c.Args[2]); refusal != "" {
		d.refuse(refusal)
		return
	}
	m := space.Mutation{Code: space.MutDefault, Field: string(c.Args[2]), Arg: fieldValue(c.Args[3])}
	d.then(c, d.do(changeHash(c.Args[1], space.FlagCreate, []space.Mutation{m})), 1, answerCount)
}

func stageHDel(d *dialog, c Command) {
	mutations := make([]space.Mutation, 0, len(c.Args)-2)
	for _, name := range c.Args[2:] {
		if checkField(name) == "" { // no hash has the others
			mutations = append(mutations, space.Mutation{Code: space.MutUnset, Field: string(name)})
		}
	}
	if len(mutations) == 0 {
		d.stageReadHash(c, c.Args[1], func(d *dialog, _ Command, _ []byte) { d.out.Int(0) })
		return
	}
	d.then(c, d.do(changeHash(c.Args[1], space.FlagReturn, mutations)), 1, answerHDel)
	d.reads.add(space.Slot(c.Args[1]))
}

// answerHDel has the hash removed if no field is left.
func answerHDel(d *dialog, p *pending) {
	r, err := d.result(p.at)
	switch {
	case errors.Is(err, space.ErrNotFound):
		d.out.Int(0)
		return
	case err != nil:
		d.fail(err)
		return
	}
	if e := &r.Entries[0]; isEmptyHash(e) {
		if id, err := d.spaceOf(d.session.DB()); err == nil {
			d.emptied = append(d.emptied, emptied{space: id, key: append([]byte(nil), e.Key...)})
		}
	}
	d.out.Int(int64(r.Count))
}

func stageHIncrBy(d *dialog, c Command) {
	n, ok := integer(c.Args[3])
	if !ok {
		d.refuse(textNotInteger)
		return
	}
	d.stageAddField(c, space.Mutation{Code: space.MutAdd, Arg: msgp.AppendInt(nil, n)}, func(d *dialog, p *pending) {
		value, ok := d.added(p, textHashInteger, textOverflow)
		if !ok {
			return
		}
		n, err := strconv.ParseInt(string(appendText(nil, value)), 10, 64)
		if err != nil {
			panic("resp: a sum is no number: " + err.Error())
		}
		d.out.Int(n)
	})
}

func stageHIncrByFloat(d *dialog, c Command) {
	f, ok := parseFloat(c.Args[3])
	switch {
	case !ok:
		d.refuse(textNotFloat)
		return
	case math.IsInf(f, 0):
		d.refuse("ERR value is NaN or Infinity")
		return
	}
	d.stageAddField(c, space.Mutation{Code: space.MutAddFloat, Arg: msgp.AppendFloat(nil, f)}, func(d *dialog, p *pending) {
		if value, ok := d.added(p, textHashFloat, textNotFinite); ok {
			d.text(value)
		}
	})
}

func (d *dialog) stageAddField(c Command, m space.Mutation, reply func(*dialog, *pending)) {
	if refusal := checkField(c.Args[2]); refusal != "" {
		d.refuse(refusal)
		return
	}
	m.Field = string(c.Args[2])
	d.then(c, d.do(changeHash(c.Args[1], space.FlagCreate|space.FlagReturn, []space.Mutation{m})), 1, reply)
}

// added returns the field that an addition made. The state machine has one code
// for a key that is no hash and a field that is no number; the key is read to
// tell which, and may have changed by then: only the text depends on it.
func (d *dialog) added(p *pending, noNumber, outOfRange string) (value []byte, ok bool) {
	r, err := d.result(p.at)
	switch {
	case err == nil:
		return msgp.Field(r.Entries[0].Value, string(p.c.Args[2]))
	case errors.Is(err, space.ErrRange):
		d.error(outOfRange)
	case errors.Is(err, space.ErrWrongKind) && d.isHash(p.c.Args[1]):
		d.error(noNumber)
	default:
		d.fail(err)
	}
	return nil, false
}

func (d *dialog) isHash(key []byte) bool {
	id, err := d.spaceOf(d.session.DB())
	if err != nil {
		return false
	}
	b := d.commands.grid.NewBatch()
	at := b.Get(id, key)
	d.run(b)
	e, err := b.Entry(at)
	return err == nil && e.Kind == space.KindFields
}
