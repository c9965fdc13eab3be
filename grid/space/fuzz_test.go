package space_test

import (
	"bytes"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
)

// FuzzCommand: whatever bytes arrive, they are decoded or refused, what is
// decoded encodes to a form that decodes to the same, and Apply survives it.
func FuzzCommand(f *testing.F) {
	full := session(7, 3, 99, put("a", "1"), space.Op{
		Code: space.OpChange, Space: 2, Key: []byte("k"), Kind: space.KindFields, Flags: space.FlagCreate, Match: 4, Lease: 5,
		Mutations: []space.Mutation{{Code: space.MutAdd, Field: "a", Arg: encode(int64(1))}, {Code: space.MutSet, Field: "b", Arg: encode("x")}, bounded(at(space.MutAdd, "c.d.0", int64(1)), int64(0), 9.5)},
	}, space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": int64(1)}), Limit: 3})
	f.Add(full.Append(nil))
	for _, o := range []space.Op{
		{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": int64(1)}), Limit: 3, Wait: 9},
		{Code: space.OpClaim, Space: 1, Key: []byte("k"), Wait: 9, Lease: 3},
		{Code: space.OpCancel, Target: 2},
	} {
		c := session(3, 1, 99, o)
		f.Add(c.Append(nil))
	}
	token := space.Token{Number: 4}
	claims := command(put("c", "1"), space.Op{Code: space.OpClaim, Space: 1, Key: []byte("c"), Lease: 7},
		space.Op{Code: space.OpClaimMatch, Space: 1, Limit: 2, Flags: space.FlagAllowScan},
		space.Op{Code: space.OpExtend, Token: token, Lease: 9},
		space.Op{Code: space.OpNack, Token: token, Lease: 3, Flags: space.FlagUncounted, Mutations: []space.Mutation{{Code: space.MutAppend, Arg: []byte("x")}}},
		space.Op{Code: space.OpAck, Token: token})
	f.Add(claims.Append(nil))
	for _, c := range []space.Command{
		prepareOps(1, put("a", "2"), space.Op{Code: space.OpCheckMatch, Space: 2, Template: encode(map[string]any{"a": int64(1)}), Match: 1}),
		decideTxn(1, true, 90), finishTxn(txn(1), true), settleTxn(txn(1), 5),
	} {
		f.Add(c.Append(nil))
	}
	for _, c := range []space.Command{
		space.TickCommand(), space.EpochCommand(5), space.TrimCommand(space.Trim{Floor: 3}), space.DropCommand(1),
		space.DefineCommand(&space.Definition{ID: 5, Name: "x"}), space.SinkCommand(space.Sink{ID: 2, Name: "s"}),
	} {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again space.Command
		if space.DecodeCommand(&c, b) == nil {
			canonical := c.Append(nil)
			if err := space.DecodeCommand(&again, canonical); err != nil || !bytes.Equal(again.Append(nil), canonical) {
				t.Fatalf("%v: %x becomes %x", err, b, canonical)
			}
		}
		p := newPartition(t)
		apply(t, p, 0, command(put("a", "1")))
		// Seq 4 claims an entry, for commands that name the token.
		apply(t, p, 0, command(space.Op{Code: space.OpClaim, Space: 1, Key: []byte("a"), Lease: 50}))
		waits := session(2, 1, 99, space.Op{Code: space.OpTakeMatch, Space: 2, Wait: 9})
		apply(t, p, 0, waits)
		if _, err := space.DecodeReply(p.ApplyBytes(1, b)); err != nil {
			t.Fatal(err)
		}
		// The state is still whole.
		var out bytes.Buffer
		if err := p.Image().Export(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := space.Restore(&out); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRestore: a damaged export is refused, never believed and never fatal.
func FuzzRestore(f *testing.F) {
	p := newPartition(f)
	apply(f, p, 1, session(1, 1, 99, put("a", "1")))
	apply(f, p, 1, command(put("b", "2"), put("c", "3")))
	apply(f, p, 1, command(space.Op{Code: space.OpClaimMatch, Space: 1, Limit: 2}))
	apply(f, p, 1, command(space.Op{Code: space.OpNack, Token: space.Token{Number: p.Status().Seq}, Lease: 50, Mutations: []space.Mutation{{Code: space.MutSet, Arg: []byte("later")}}}))
	apply(f, p, 1, session(2, 1, 99, space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": int64(1)}), Wait: 9}))
	var out bytes.Buffer
	if err := p.Image().Export(&out); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := space.Restore(bytes.NewReader(b))
		if err == nil && bytes.Equal(b, out.Bytes()) && q.Image().Digest() != p.Image().Digest() {
			t.Fatal("an undamaged export restores to another state")
		}
	})
}

// FuzzReply and the decoders of entries and changes refuse what they cannot read.
func FuzzReply(f *testing.F) {
	p := newPartition(f)
	c := command(put("a", "1"), space.Op{Code: space.OpTake, Space: 1, Key: []byte("a"), Flags: space.FlagReturn})
	f.Add(p.ApplyBytes(0, c.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := space.DecodeReply(b); err == nil {
			if _, err := space.DecodeReply(r.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if e, _, err := space.DecodeEntry(b); err == nil {
			if again, _, err := space.DecodeEntry(space.AppendEntry(nil, &e)); err != nil || spacetest.FormatEntry(again) != spacetest.FormatEntry(e) {
				t.Fatalf("%v: %s becomes %s", err, spacetest.FormatEntry(e), spacetest.FormatEntry(again))
			}
		}
		if c, _, err := space.DecodeChange(b); err == nil {
			if _, _, err := space.DecodeChange(c.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := space.DecodeDefinition(b); err == nil && len(b) == 0 {
			t.Fatal("nothing is no definition")
		}
	})
}
