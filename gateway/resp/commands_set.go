package resp

import (
	"errors"
	"math"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// SET and its kin: writing strings under conditions and with an expiry.

// stepTries bounds how often a command of several steps begins again because
// somebody else changed its key between them.
const stepTries = 64

// setOptions are the options of SET and GETEX.
type setOptions struct {
	mode    space.Mode
	get     bool
	keep    bool // KEEPTTL
	persist bool
	lease   time.Duration // 0: none asked for
	past    bool          // the expiry is a moment that has passed
}

// parseSetOptions reads options; refusal is the error reply, empty if there is
// none. name is the command's, for texts.
func parseSetOptions(name string, args [][]byte, writes bool, now time.Time) (o setOptions, refusal string) {
	expiry := false
	for i := 0; i < len(args); i++ {
		arg := args[i]
		x := expiryOption(arg)
		switch {
		case writes && isWord(arg, "NX") && o.mode == space.ModeUpsert:
			o.mode = space.ModeInsert
		case writes && isWord(arg, "XX") && o.mode == space.ModeUpsert:
			o.mode = space.ModeUpdate
		case writes && isWord(arg, "GET"):
			o.get = true
		case writes && isWord(arg, "KEEPTTL") && !expiry:
			o.keep, expiry = true, true
		case !writes && isWord(arg, "PERSIST") && !expiry:
			o.persist, expiry = true, true
		case x != nil && !expiry && i+1 < len(args):
			n, ok := integer(args[i+1])
			if !ok {
				return o, textNotInteger
			}
			if o.lease, o.past, ok = x.lease(n, now); !ok || n <= 0 {
				return o, "ERR invalid expire time in '" + name + "' command"
			}
			expiry = true
			i++
		default:
			return o, textSyntax
		}
	}
	return o, ""
}

// expiryForm is a way to say when a key expires.
type expiryForm struct {
	unit     time.Duration
	absolute bool // Unix time
}

func expiryOption(arg []byte) *expiryForm {
	switch {
	case isWord(arg, "EX"):
		return &expiryForm{unit: time.Second}
	case isWord(arg, "PX"):
		return &expiryForm{unit: time.Millisecond}
	case isWord(arg, "EXAT"):
		return &expiryForm{unit: time.Second, absolute: true}
	case isWord(arg, "PXAT"):
		return &expiryForm{unit: time.Millisecond, absolute: true}
	}
	return nil
}

// lease returns how long a key has from now on; past if not at all. It reports
// false for what Redis cannot represent. A lease is at most 292 years.
func (x expiryForm) lease(n int64, now time.Time) (lease time.Duration, past, ok bool) {
	ms := n
	if x.unit == time.Second {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return 0, false, false
		}
		ms = n * 1000
	}
	if x.absolute {
		ms -= now.UnixMilli()
	} else if ms > math.MaxInt64-now.UnixMilli() {
		return 0, false, false
	}
	if ms <= 0 {
		return 0, true, true
	}
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond, false, true
}

func setHasGet(c Command) bool {
	for i := 3; i < len(c.Args); i++ {
		if isWord(c.Args[i], "GET") {
			return true
		}
	}
	return false
}

func stageSet(d *dialog, c Command) {
	if len(c.Args) == 3 {
		d.then(c, d.do(written(c.Args[1], c.Args[2])), 1, (*dialog).answerOK)
		return
	}
	o, refusal := parseSetOptions("set", c.Args[3:], true, d.commands.grid.Wall())
	if refusal != "" {
		d.refuse(refusal)
		return
	}
	d.then(c, d.do(o.write(c.Args[1], c.Args[2])), 1, answerSet)
}

// write returns the operation for a string under these options.
func (o *setOptions) write(key, value []byte) space.Op {
	op := written(key, value)
	op.Mode, op.Lease = o.mode, o.lease
	if o.past {
		op.Lease = 1 // as short as a lease can be
	}
	if o.keep {
		op.Flags |= space.FlagKeepLease
	}
	return op
}

// answerSet is OK, or null if the condition did not hold.
func answerSet(d *dialog, p *pending) {
	switch _, err := d.result(p.at); {
	case err == nil:
		d.out.OK()
	case errors.Is(err, space.ErrExists), errors.Is(err, space.ErrNotFound):
		d.out.Null()
	default:
		d.fail(err)
	}
}

func stageSetNX(d *dialog, c Command) {
	op := written(c.Args[1], c.Args[2])
	op.Mode = space.ModeInsert
	d.then(c, d.do(op), 1, func(d *dialog, p *pending) {
		switch _, err := d.result(p.at); {
		case err == nil:
			d.out.Int(1)
		case errors.Is(err, space.ErrExists):
			d.out.Int(0)
		default:
			d.fail(err)
		}
	})
}

// stageSetEx serves SETEX and PSETEX.
func stageSetEx(d *dialog, c Command) {
	x, name := expiryForm{unit: time.Second}, "setex"
	if isWord(c.Args[0], "PSETEX") {
		x, name = expiryForm{unit: time.Millisecond}, "psetex"
	}
	n, ok := integer(c.Args[2])
	if !ok {
		d.refuse(textNotInteger)
		return
	}
	lease, past, ok := x.lease(n, d.commands.grid.Wall())
	if !ok || past {
		d.refuse("ERR invalid expire time in '" + name + "' command")
		return
	}
	op := written(c.Args[1], c.Args[3])
	op.Lease = lease
	d.then(c, d.do(op), 1, (*dialog).answerOK)
}

// setGet serves SET with GET, whose old value must be a string.
func setGet(d *dialog, c Command) {
	o, refusal := parseSetOptions("set", c.Args[3:], true, d.commands.grid.Wall())
	if refusal != "" {
		d.error(refusal)
		return
	}
	d.exchange(c.Args[1], func(old *space.Entry) (space.Op, bool) {
		if old == nil && o.mode == space.ModeUpdate || old != nil && o.mode == space.ModeInsert {
			return space.Op{}, false
		}
		return o.write(c.Args[1], c.Args[2]), true
	})
}

func getSet(d *dialog, c Command) {
	d.exchange(c.Args[1], func(*space.Entry) (space.Op, bool) { return written(c.Args[1], c.Args[2]), true })
}

func getDel(d *dialog, c Command) {
	d.exchange(c.Args[1], func(old *space.Entry) (space.Op, bool) {
		return space.Op{Code: space.OpTake, Key: c.Args[1]}, old != nil
	})
}

func getEx(d *dialog, c Command) {
	o, refusal := parseSetOptions("getex", c.Args[2:], false, d.commands.grid.Wall())
	switch {
	case refusal == textSyntax:
		d.error(refusal)
		return
	case refusal != "":
		// As in Redis, the moment matters only if there is a string.
		stageGet(d, c)
		d.pending[0].text = refusal
		d.pending[0].reply = answerRefusal
		d.flush()
		return
	}
	d.exchange(c.Args[1], func(old *space.Entry) (space.Op, bool) {
		switch {
		case old == nil, o.persist && old.Deadline == space.Never:
			return space.Op{}, false
		case o.past:
			return space.Op{Code: space.OpTake, Key: c.Args[1]}, true
		case o.persist:
			return space.Op{Code: space.OpRenew, Key: c.Args[1], Lease: space.Forever}, true
		}
		return space.Op{Code: space.OpRenew, Key: c.Args[1], Lease: o.lease}, true
	})
}

// answerRefusal refuses to do more to a string than reading it.
func answerRefusal(d *dialog, p *pending) {
	switch _, ok, done := d.str(p.at); {
	case done:
	case ok:
		d.error(p.text)
	default:
		d.out.Null()
	}
}

// exchange replies with the string at a key and carries out what change makes of
// it, as one step: an operation, or false for none. old is nil if there is no
// entry. It is repeated while somebody else changes the key in between.
func (d *dialog) exchange(key []byte, change func(old *space.Entry) (space.Op, bool)) {
	for range stepTries {
		e, ok, err := d.lookup(key)
		switch {
		case err != nil:
			d.fail(err)
			return
		case ok && e.Kind != space.KindBytes:
			d.error(textWrongType)
			return
		}
		var old *space.Entry
		if ok {
			old = &e
		}
		if op, wanted := change(old); wanted {
			again, err := d.conditionally(op, old)
			if again {
				continue
			}
			if err != nil {
				d.fail(err)
				return
			}
		}
		if ok {
			d.out.Bulk(e.Value)
		} else {
			d.out.Null()
		}
		return
	}
	d.error(textTryAgain)
}

// conditionally carries out an operation if the key is still as old says, nil
// being absent; again says that it is not.
func (d *dialog) conditionally(op space.Op, old *space.Entry) (again bool, err error) {
	if old != nil {
		op.Match = old.Version
	} else {
		op.Mode = space.ModeInsert
	}
	_, err = d.one(op)
	again = errors.Is(err, space.ErrConflict) || errors.Is(err, space.ErrExists) || errors.Is(err, space.ErrNotFound)
	return again, err
}
