package resp

import (
	"errors"

	"github.com/spacegrid/spacegrid/grid"
)

// textUnblocked ends a wait whose connection, or member, is about to end.
const textUnblocked = "UNBLOCKED The wait has ended with the connection."

// spaceClaim hides entries for a while and replies with them and their tokens.
func spaceClaim(d *dialog, c Command) {
	def, a, ok := d.open(c, "KEY", "MATCH", "WHERE", "ARGS", "LIMIT", "LEASE", "WAIT", "ALLOWSCAN")
	if !ok {
		return
	}
	if (a.key != nil) == a.matching {
		d.error(textSyntax)
		return
	}
	o := grid.ClaimOptions{Lease: a.lease, Wait: a.wait, Limit: a.limit, AllowScan: a.allowScan}
	ctx, done := d.patience(a.wait)
	var claims []*grid.Claim
	var err error
	if a.key != nil {
		var one *grid.Claim
		one, err = d.commands.grid.Claim(ctx, def.Name, a.key, o)
		claims = []*grid.Claim{one}
	} else {
		claims, err = d.commands.grid.ClaimMatch(ctx, def.Name, a.filter, o)
	}
	gone := ctx.Err() != nil
	done()
	switch {
	case err == nil:
		all := make([]shown, len(claims))
		for i, x := range claims {
			all[i] = shown{entry: x.Entry, claim: x}
		}
		d.show(all, a.matching)
	case isNotFound(err) && a.matching:
		d.out.Array(0)
	case isNotFound(err):
		d.out.Null()
	case gone && !errors.Is(err, grid.ErrIndeterminate):
		d.error(textUnblocked)
	default:
		d.fail(err)
	}
}

// claimed reads the arguments of a command that a claim's holder sends: space, key
// and token, and options behind them.
func (d *dialog) claimed(c Command, allowed ...string) (name string, key []byte, t grid.Token, a spaceArgs, ok bool) {
	if refusal := a.parse(c.Args[4:], allowed...); refusal != "" {
		d.error(refusal)
		return name, nil, t, a, false
	}
	t, err := grid.ParseToken(string(c.Args[3]))
	if err == nil {
		err = checkKey(c.Args[2])
	}
	if err != nil {
		d.fail(err)
		return name, nil, t, a, false
	}
	return string(c.Args[1]), c.Args[2], t, a, true
}

// settled replies to the holder of a claim.
func (d *dialog) settled(err error) {
	if err != nil {
		d.fail(err)
		return
	}
	d.out.OK()
}

func spaceAck(d *dialog, c Command) {
	if name, key, t, _, ok := d.claimed(c); ok {
		d.settled(d.commands.grid.Ack(d.ctx, name, key, t))
	}
}

func spaceNack(d *dialog, c Command) {
	if name, key, t, a, ok := d.claimed(c, "DELAY", "UNCOUNTED"); ok {
		d.settled(d.commands.grid.Nack(d.ctx, name, key, t, grid.NackOptions{Delay: a.delay, Uncounted: a.uncounted}))
	}
}

func spaceExtend(d *dialog, c Command) {
	if name, key, t, a, ok := d.claimed(c, "LEASE"); ok {
		d.settled(d.commands.grid.Extend(d.ctx, name, key, t, a.lease))
	}
}
