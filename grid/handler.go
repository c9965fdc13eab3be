package grid

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Handler is application code that runs on the member that leads a partition,
// beside its data, as one transaction. processingunit registers handlers; a
// Handler must be safe for concurrent use.
//
// What Serve reads through tx is validated when the transaction commits, and
// what it writes takes effect in the same log record as its response. If
// something it read has changed meanwhile, it is run again; it must therefore
// have no effect but through tx. An error refuses the request without effect.
type Handler interface {
	Serve(ctx context.Context, tx *Txn, request []byte) (response []byte, err error)
}

// Txn is one transaction of a handler, on one partition. It is used by one
// goroutine and ends with the handler.
type Txn struct {
	partition space.PartitionID
	count     int // partitions of the grid
	key       []byte
	state     func(name string) *space.Definition
	get       func(space.ID, []byte) (space.Entry, space.Code)
	ops       []space.Op
	seen      map[txnKey]*txnEntry
}

type txnKey struct {
	space space.ID
	key   string
}

// txnEntry is an entry as the transaction sees it.
type txnEntry struct {
	entry   space.Entry
	present bool
}

// Key returns the key that the request was routed by.
func (tx *Txn) Key() []byte { return tx.key }

// Read returns the entry under a key of a space, as the transaction left it, or
// ErrNotFound. The key must lie in the transaction's partition.
func (tx *Txn) Read(spaceName string, key []byte) (Entry, error) {
	def, err := tx.space(spaceName, key)
	if err != nil {
		return Entry{}, err
	}
	e := tx.look(def.ID, key)
	if !e.present {
		return Entry{}, ErrNotFound
	}
	return entryOf(e.entry), nil
}

// Write writes an entry; its Key, Value and Kind count.
func (tx *Txn) Write(spaceName string, e Entry) error {
	def, err := tx.space(spaceName, e.Key)
	if err != nil {
		return err
	}
	op := space.Op{Code: space.OpWrite, Space: def.ID, Key: e.Key, Value: e.Value, Kind: e.Kind, Lease: e.Lease}
	// A blind write needs no look: nothing was read that could have changed.
	tx.seen[txnKey{def.ID, string(e.Key)}] = &txnEntry{
		entry: space.Entry{Key: e.Key, Value: e.Value, Kind: e.Kind}, present: true,
	}
	tx.ops = append(tx.ops, op)
	return nil
}

// Delete removes the entry under a key and reports whether there was one.
func (tx *Txn) Delete(spaceName string, key []byte) (bool, error) {
	def, err := tx.space(spaceName, key)
	if err != nil {
		return false, err
	}
	seen := tx.look(def.ID, key)
	if !seen.present {
		return false, nil
	}
	seen.entry, seen.present = space.Entry{}, false
	tx.ops = append(tx.ops, space.Op{Code: space.OpTake, Space: def.ID, Key: key})
	return true, nil
}

func (tx *Txn) space(name string, key []byte) (*space.Definition, error) {
	def := tx.state(name)
	if def == nil {
		return nil, noSpace(name)
	}
	if space.PartitionOf(key, tx.count) != tx.partition {
		return nil, ErrCrossPartition
	}
	return def, nil
}

// look returns the transaction's view of an entry. The first look at a stored
// entry, or at its absence, is validated at commit.
func (tx *Txn) look(id space.ID, key []byte) *txnEntry {
	k := txnKey{id, string(key)}
	if e, ok := tx.seen[k]; ok {
		return e
	}
	e := &txnEntry{}
	stored, code := tx.get(id, key)
	if code == space.OK {
		e.entry, e.present = stored, true
	}
	// Version 0 asks for absence.
	tx.ops = append(tx.ops, space.Op{Code: space.OpCheck, Space: id, Key: key, Match: e.entry.Version})
	tx.seen[k] = e
	return e
}

// handlers are the handlers that this process hosts, by unit and name. It is the
// cluster's Invoker.
type handlers struct {
	mu     sync.RWMutex
	byName map[string]Handler // "unit\x00handler"
}

var _ cluster.Invoker = (*handlers)(nil)

func handlerName(unit, name string) string { return unit + "\x00" + name }

// Handle makes a handler of a unit available on the member in this process. A
// handler has to be available on every member that may lead one of its
// partitions. It fails on a remote handle and if the name is taken.
func (g *Grid) Handle(unit, name string, h Handler) error {
	if g.node == nil {
		return &space.Error{Code: space.CodeInvalid, Detail: "a remote handle hosts no handlers", Hint: "open a member with grid.Open"}
	}
	g.handlers.mu.Lock()
	defer g.handlers.mu.Unlock()
	key := handlerName(unit, name)
	if _, taken := g.handlers.byName[key]; taken {
		return &space.Error{Code: space.CodeExists, Detail: fmt.Sprintf("unit %q already has a handler %q", unit, name)}
	}
	g.handlers.byName[key] = h
	return nil
}

// Unhandle takes a handler back. Calls in progress end normally.
func (g *Grid) Unhandle(unit, name string) {
	if g.handlers == nil {
		return
	}
	g.handlers.mu.Lock()
	defer g.handlers.mu.Unlock()
	delete(g.handlers.byName, handlerName(unit, name))
}

// Invoke implements cluster.Invoker.
func (h *handlers) Invoke(ctx context.Context, call *cluster.Invocation, v cluster.View) ([]space.Op, error) {
	h.mu.RLock()
	handler := h.byName[handlerName(call.Unit, call.Handler)]
	h.mu.RUnlock()
	if handler == nil {
		return nil, ErrUnknownHandler
	}
	tx := &Txn{
		partition: call.Partition, count: v.Partitions(), key: call.Key,
		state: v.Definition, get: v.Get, seen: map[txnKey]*txnEntry{},
	}
	response, err := handler.Serve(ctx, tx, call.Body)
	if err != nil {
		if refusal, ok := errors.AsType[*HandlerError](err); ok {
			return tx.ops, refusal
		}
		return tx.ops, &HandlerError{Message: err.Error()}
	}
	if response == nil {
		response = []byte{}
	}
	return append(tx.ops, space.Op{Code: space.OpRespond, Value: response}), nil
}

// Call sends a request to a unit's handler on the leader of the key's partition
// and returns the handler's response. The handler's transaction takes effect
// exactly once, however often the request has to be repeated; a refusal by the
// handler is a *HandlerError.
func (g *Grid) Call(ctx context.Context, unit, handler string, key, request []byte) ([]byte, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	if len(key) == 0 || len(key) > space.MaxKeyBytes {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("the routing key has %d bytes", len(key)), Hint: fmt.Sprintf("1 to %d", space.MaxKeyBytes)}
	}
	p := space.PartitionOf(key, g.Partitions())
	reply, err := g.router.Invoke(ctx, unit, handler, p, key, request)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return nil, err
	}
	last := reply.Results[len(reply.Results)-1]
	switch {
	case len(last.Entries) != 1:
		return nil, fmt.Errorf("%w: the answer has no response", ErrIndeterminate)
	case last.Count == cluster.Refused:
		return nil, &HandlerError{Message: string(last.Entries[0].Value)}
	}
	return last.Entries[0].Value, nil
}
