package replica

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// maxConfirmItems bounds the groups in one Confirm. A member pair shares far
// fewer.
const maxConfirmItems = 4096

// ConfirmItem asks one replica whether it is still at a term.
type ConfirmItem struct {
	Group  uint32
	Target raft.ServerID
	Term   uint64
}

// Confirm asks a member about many groups at once: item i is true iff the
// member holds that group under that server id and its current term is that
// term. It blocks until the answer, ctx or RPCTimeout. Any error means that
// nothing is confirmed. With no items it only makes sure that the member can be
// reached.
func (t *Transport) Confirm(ctx context.Context, member raft.ServerAddress, items []ConfirmItem) ([]bool, error) {
	if len(items) > maxConfirmItems {
		return nil, fmt.Errorf("replica: confirm: %d items, at most %d", len(items), maxConfirmItems)
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.RPCTimeout)
	defer cancel()
	l, err := t.link(member, wire.PurposeControl)
	if err != nil {
		return nil, err
	}
	conn, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	pending, err := conn.Start(ctx, kindConfirm, func(dst []byte) []byte { return appendConfirm(dst, items) })
	if err != nil {
		return nil, err
	}
	body, err := pending.Wait(ctx)
	if err != nil {
		return nil, decodeError(err)
	}
	return parseConfirmed(body, len(items))
}

// confirm answers another member's Confirm.
func (a *asker) confirm(id uint64, p *wire.Parser) error {
	items := parseConfirm(p)
	if err := p.End(); err != nil {
		return fmt.Errorf("replica: confirm: %w", err)
	}
	return a.w.Reply(id, func(dst []byte) []byte {
		for _, item := range items {
			_, err := a.t.addressed(item.Group, item.Target)
			ok := err == nil && a.t.cfg.Confirm != nil && a.t.cfg.Confirm(item.Group, item.Term)
			dst = wire.AppendBool(dst, ok)
		}
		return dst
	})
}

func appendConfirm(dst []byte, items []ConfirmItem) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	for _, item := range items {
		dst = appendAddress(dst, item.Group, item.Target)
		dst = binary.AppendUvarint(dst, item.Term)
	}
	return dst
}

func parseConfirm(p *wire.Parser) []ConfirmItem {
	n := p.Uvarint()
	if n > maxConfirmItems {
		p.Fail(wire.ErrFieldTooLong)
		return nil
	}
	var items []ConfirmItem
	for range n {
		group, target := parseAddress(p)
		item := ConfirmItem{Group: group, Target: target, Term: p.Uvarint()}
		if p.Err() != nil {
			return nil
		}
		items = append(items, item)
	}
	return items
}

// parseConfirmed reads one answer per item asked.
func parseConfirmed(body []byte, n int) ([]bool, error) {
	p := wire.NewParser(body)
	if p.Len() != n {
		return nil, fmt.Errorf("replica: confirm: %d answers to %d questions", p.Len(), n)
	}
	confirmed := make([]bool, n)
	for i := range confirmed {
		confirmed[i] = p.Bool()
	}
	if err := p.End(); err != nil {
		return nil, fmt.Errorf("replica: confirm: %w", err)
	}
	return confirmed, nil
}
