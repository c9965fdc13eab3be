package grid

import (
	"cmp"
	"context"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Token is the proof of a claim; its text is "epoch-number". The tokens under
// which one entry is claimed only grow, also over failures of members. A holder that
// sends its token along with whatever it writes elsewhere can be told from one that
// came after it: see [space.Token.Compare].
type Token = space.Token

// ParseToken reads the text of a token.
func ParseToken(s string) (Token, error) { return space.ParseToken(s) }

// ErrFenced is returned to the holder of a claim that has ended: its lease was
// over, or it was settled already. Somebody else may have the entry by now.
var ErrFenced = space.ErrFenced

// ErrClaimed is returned to whoever would read, take or write an entry that a
// claim hides, by its key.
var ErrClaimed = space.ErrClaimed

// ClaimOptions say how entries are claimed.
type ClaimOptions struct {
	// Lease is how long the claim lasts unless it is extended; 0 is the space's
	// own, which is [space.DefaultClaimLease] if it has none.
	Lease time.Duration
	// Wait is how long to wait if there is no such entry; 0 does not wait,
	// Forever waits until the context ends.
	Wait      time.Duration
	Limit     int  // at most so many entries; 0 is 1
	AllowScan bool // examine any number of entries if no index serves
}

// Claim is an entry that is held: nobody else sees it until the claim is
// acknowledged, which removes it, or given back, or its lease ends, which shows it
// again in its old place. Space, Entry.Key and Token are all that it takes to
// settle it, in any process: see [Grid.Ack].
type Claim struct {
	Space    string
	Entry    Entry
	Token    Token
	Attempts int           // earlier claims of the entry that ended without an Ack
	Lease    time.Duration // from the moment at which it was granted

	g     *Grid
	space space.ID
}

// Claim hides the entry under a key and returns it, or ErrNotFound; ErrClaimed if
// somebody else holds it. With ClaimOptions.Wait it waits until it is there.
func (g *Grid) Claim(ctx context.Context, spaceName string, key any, o ClaimOptions) (*Claim, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	e, err := g.takeKey(ctx, space.Op{Code: space.OpClaim, Space: def.ID, Lease: o.Lease, Wait: o.Wait}, key)
	if err != nil {
		return nil, err
	}
	return g.claimOf(&def, e, o.Lease), nil
}

// ClaimMatch hides entries that pass a filter and returns them, or ErrNotFound:
// as [Grid.TakeMatch] takes them, but for the time of a lease. Work that is
// claimed is done at least once: a holder that dies loses its claims when their
// leases end, and others get the entries.
func (g *Grid) ClaimMatch(ctx context.Context, spaceName string, f Filter, o ClaimOptions) ([]*Claim, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	return g.claimMatch(ctx, &def, f, o)
}

// claimMatch is ClaimMatch once the space is known.
func (g *Grid) claimMatch(ctx context.Context, def *space.Definition, f Filter, o ClaimOptions) ([]*Claim, error) {
	template, condition, err := filterFor(def, f)
	if err != nil {
		return nil, err
	}
	es, err := g.handOut(ctx, def, space.Op{
		Code: space.OpClaimMatch, Space: def.ID, Template: template, Predicate: condition,
		Limit: o.Limit, Lease: o.Lease, Wait: o.Wait, Flags: scanFlag(o.AllowScan),
	})
	if err != nil {
		return nil, err
	}
	claims := make([]*Claim, len(es))
	for i, e := range es {
		claims[i] = g.claimOf(def, e, o.Lease)
	}
	return claims, nil
}

func (g *Grid) claimOf(def *space.Definition, e space.Entry, lease time.Duration) *Claim {
	return &Claim{
		Space: def.Name, Entry: entryOf(e), Token: e.Token, Attempts: e.Attempts,
		Lease: cmp.Or(lease, def.ClaimLease, space.DefaultClaimLease), g: g, space: def.ID,
	}
}

// NackOptions say how a claimed entry is given back.
type NackOptions struct {
	Delay time.Duration // nobody sees it before that; 0 shows it at once
	// Uncounted does not count the claim as an attempt, of which the space may
	// allow so many: for a holder that did not try.
	Uncounted bool
}

// Ack ends a claim and removes the entry: the work is done. It is ErrFenced if
// there is no such claim any more, and then nothing has changed.
func (g *Grid) Ack(ctx context.Context, spaceName string, key []byte, t Token) error {
	return g.settleClaim(ctx, spaceName, key, space.Op{Code: space.OpAck, Token: t})
}

// Nack ends a claim and shows the entry again, in its old place, changed by
// mutations if there are any. An entry that has no attempt left moves to the
// space's dead letters instead. It is ErrFenced if there is no such claim any more,
// or an error of a mutation; then nothing has changed.
func (g *Grid) Nack(ctx context.Context, spaceName string, key []byte, t Token, o NackOptions, parts ...ChangePart) error {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return err
	}
	op := space.Op{Code: space.OpNack}
	if len(parts) > 0 {
		if op, err = changeOp(space.OpNack, &def, parts); err != nil {
			return err
		}
		if op.Match != 0 || op.Lease != 0 || op.Flags != space.FlagReturn || op.Template != nil || op.Predicate != nil {
			return &space.Error{Code: space.CodeInvalid, Detail: "a nack takes mutations only", Hint: "the token is its condition"}
		}
	}
	op.Flags, op.Kind, op.Token, op.Lease = 0, 0, t, o.Delay
	if o.Uncounted {
		op.Flags = space.FlagUncounted
	}
	return g.settleClaim(ctx, spaceName, key, op)
}

// Extend makes a claim last for lease from now on, 0 for the space's own lease. It
// is ErrFenced if there is no such claim any more.
func (g *Grid) Extend(ctx context.Context, spaceName string, key []byte, t Token, lease time.Duration) error {
	return g.settleClaim(ctx, spaceName, key, space.Op{Code: space.OpExtend, Token: t, Lease: lease})
}

// settleClaim carries out an operation of a claim's holder, which is judged by
// its token; the key says where.
func (g *Grid) settleClaim(ctx context.Context, spaceName string, key []byte, op space.Op) error {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return err
	}
	if len(key) == 0 {
		return &space.Error{Code: space.CodeInvalid, Detail: "a claim without a key", Hint: "give the key of the entry that was claimed"}
	}
	op.Space = def.ID
	_, err = g.handOutIn(ctx, space.PartitionOf(key, g.Partitions()), op)
	return err
}

// Ack removes the entry: see [Grid.Ack].
func (c *Claim) Ack(ctx context.Context) error { return c.g.Ack(ctx, c.Space, c.Entry.Key, c.Token) }

// Nack gives the entry back: see [Grid.Nack].
func (c *Claim) Nack(ctx context.Context, o NackOptions, parts ...ChangePart) error {
	return c.g.Nack(ctx, c.Space, c.Entry.Key, c.Token, o, parts...)
}

// Extend makes the claim last for lease from now on: see [Grid.Extend].
func (c *Claim) Extend(ctx context.Context, lease time.Duration) error {
	return c.g.Extend(ctx, c.Space, c.Entry.Key, c.Token, lease)
}
