package resp

import (
	"errors"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Commands on the expiry of keys, which are leases on the partitions' clocks.
// Those stand still while a partition has no leader, so a key never expires
// early; moments of Unix time are converted when the command arrives.

func expiryActions() map[string]action {
	expire := action{stage: stageExpire, alone: expireIf, stepwise: func(c Command) bool { return len(c.Args) > 3 }}
	left := action{stage: stageTTL}
	return map[string]action{
		"expire": expire, "pexpire": expire, "expireat": expire, "pexpireat": expire,
		"ttl": left, "pttl": left, "expiretime": left, "pexpiretime": left,
		"persist": {alone: persist},
	}
}

// expiryCommand returns the form of time that a command of the family takes, and
// its name for texts.
func expiryCommand(name []byte) (expiryForm, string) {
	switch {
	case isWord(name, "EXPIRE"):
		return expiryForm{unit: time.Second}, "expire"
	case isWord(name, "PEXPIRE"):
		return expiryForm{unit: time.Millisecond}, "pexpire"
	case isWord(name, "EXPIREAT"):
		return expiryForm{unit: time.Second, absolute: true}, "expireat"
	}
	return expiryForm{unit: time.Millisecond, absolute: true}, "pexpireat"
}

// renewal returns the operation of a command of the EXPIRE family: a moment that
// has passed removes the key.
func renewal(c Command, now time.Time) (op space.Op, refusal string) {
	x, name := expiryCommand(c.Args[0])
	n, ok := integer(c.Args[2])
	if !ok {
		return op, textNotInteger
	}
	lease, past, ok := x.lease(n, now)
	if !ok {
		return op, "ERR invalid expire time in '" + name + "' command"
	}
	if past {
		return space.Op{Code: space.OpTake, Key: c.Args[1]}, ""
	}
	return space.Op{Code: space.OpRenew, Key: c.Args[1], Lease: lease}, ""
}

func stageExpire(d *dialog, c Command) {
	op, refusal := renewal(c, d.commands.grid.Wall())
	if refusal != "" {
		d.refuse(refusal)
		return
	}
	d.then(c, d.do(op), 1, func(d *dialog, p *pending) {
		switch _, err := d.result(p.at); {
		case err == nil:
			d.out.Int(1)
		case errors.Is(err, space.ErrNotFound):
			d.out.Int(0)
		default:
			d.fail(err)
		}
	})
}

// expireConditions are the options of the EXPIRE family.
type expireConditions struct{ nx, xx, gt, lt bool }

func parseExpireConditions(args [][]byte) (x expireConditions, refusal string) {
	for _, arg := range args {
		switch {
		case isWord(arg, "NX"):
			x.nx = true
		case isWord(arg, "XX"):
			x.xx = true
		case isWord(arg, "GT"):
			x.gt = true
		case isWord(arg, "LT"):
			x.lt = true
		default:
			return x, "ERR Unsupported option " + quotable(arg, refusalQuote)
		}
	}
	switch {
	case x.nx && (x.xx || x.gt || x.lt):
		return x, "ERR NX and XX, GT or LT options at the same time are not compatible"
	case x.gt && x.lt:
		return x, "ERR GT and LT options at the same time are not compatible"
	}
	return x, ""
}

// hold reports whether a key with the given rest of its lease, negative for none
// that ends, may have a new one.
func (x expireConditions) hold(left time.Duration, lasting bool, lease time.Duration) bool {
	switch {
	case x.nx && !lasting, x.xx && lasting:
		return false
	case x.gt && (lasting || lease <= left):
		return false
	case x.lt && !lasting && lease >= left:
		return false
	}
	return true
}

func expireIf(d *dialog, c Command) {
	conditions, refusal := parseExpireConditions(c.Args[3:])
	var op space.Op
	if refusal == "" {
		op, refusal = renewal(c, d.commands.grid.Wall())
	}
	if refusal != "" {
		d.error(refusal)
		return
	}
	d.update(c.Args[1], func(e *space.Entry) (space.Op, bool, error) {
		left := time.Duration(0)
		if e.Deadline != space.Never {
			var err error
			if left, err = d.left(e); err != nil {
				return op, false, err
			}
		}
		return op, conditions.hold(left, e.Deadline == space.Never, op.Lease), nil
	})
}

func persist(d *dialog, c Command) {
	d.update(c.Args[1], func(e *space.Entry) (space.Op, bool, error) {
		return space.Op{Code: space.OpRenew, Key: c.Args[1], Lease: space.Forever}, e.Deadline != space.Never, nil
	})
}

// update carries out what change makes of an entry and replies 1, or 0 if there
// is none or change wants nothing done.
func (d *dialog) update(key []byte, change func(*space.Entry) (op space.Op, wanted bool, err error)) {
	for range stepTries {
		e, ok, err := d.lookup(key)
		var op space.Op
		if ok && err == nil {
			op, ok, err = change(&e)
		}
		if ok && err == nil {
			var again bool
			if again, err = d.conditionally(op, &e); again {
				continue
			}
		}
		switch {
		case err != nil:
			d.fail(err)
		case ok:
			d.out.Int(1)
		default:
			d.out.Int(0)
		}
		return
	}
	d.error(textTryAgain)
}

// left returns what is left of an entry's lease, which ends.
func (d *dialog) left(e *space.Entry) (time.Duration, error) {
	clock, err := d.commands.grid.Clock(d.ctx, space.PartitionOf(e.Key, d.commands.grid.Partitions()))
	return max(e.Deadline.Sub(clock), 0), err
}

// stageTTL serves TTL, PTTL, EXPIRETIME and PEXPIRETIME. What they say is right
// to a few milliseconds.
func stageTTL(d *dialog, c Command) {
	d.then(c, d.get(c.Args[1]), 1, func(d *dialog, p *pending) {
		e, ok, err := d.entry(p.at)
		switch {
		case err != nil:
			d.fail(err)
			return
		case !ok:
			d.out.Int(-2)
			return
		case e.Deadline == space.Never:
			d.out.Int(-1)
			return
		}
		left, err := d.left(&e)
		if err != nil {
			d.fail(err)
			return
		}
		name := p.c.Args[0]
		// Up to the next millisecond, so that a lease reads as it was granted.
		ms := int64((left + time.Millisecond - 1) / time.Millisecond)
		if isWord(name, "EXPIRETIME") || isWord(name, "PEXPIRETIME") {
			ms += d.commands.grid.Wall().UnixMilli()
		}
		if isWord(name, "TTL") || isWord(name, "EXPIRETIME") {
			ms = (ms + 500) / 1000
		}
		d.out.Int(ms)
	})
}
