// Package processingunit hosts application code beside the data that it works
// on. A [Unit] is a named set of handlers; it is deployed on every member of a
// grid, and each request runs on the member that leads the partition of its key,
// as one transaction.
//
//	tickets := processingunit.New("tickets")
//	processingunit.Handle(tickets, "sell", func(ctx context.Context, tx *grid.Txn, r Sell) (Sold, error) {
//		seat, err := grid.ReadIn[Seat](tx, "seats", r.Seat)
//		if err != nil {
//			return Sold{}, err
//		}
//		if seat.Buyer != "" {
//			return Sold{}, processingunit.Refuse("seat %s is sold", r.Seat)
//		}
//		seat.Buyer = r.Buyer
//		return Sold{Seat: r.Seat}, grid.WriteIn(tx, "seats", seat)
//	})
//	if err := tickets.Deploy(ctx, g); err != nil { … }
//
//	sold, err := processingunit.Call[Sold](ctx, g, "tickets", "sell", seatID, Sell{Seat: seatID, Buyer: "ann"})
//
// # Promises
//
// What a handler reads is validated when its transaction commits; what it writes
// takes effect together with its response, in one log record, exactly once for
// each request. A handler may be run several times and must therefore have no
// effect but through its transaction. Requests with one key are never interleaved
// in their effects.
//
// # What it does not do
//
// A transaction has one partition: the keys it uses share a {tag} or are the
// routing key itself.
package processingunit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/grid"
)

// State says what a unit does.
type State int

// The states of a unit, in their order.
const (
	Loading  State = iota // not deployed, or the grid is not ready
	Ready                 // serves requests
	Draining              // takes no new requests
)

// String returns the word used in listings.
func (s State) String() string {
	switch s {
	case Loading:
		return "loading"
	case Ready:
		return "ready"
	case Draining:
		return "draining"
	}
	return fmt.Sprintf("state(%d)", int(s))
}

// ErrDraining is returned to callers of a unit that is being taken down.
var ErrDraining = errors.New("processingunit: the unit is draining (call again: another member takes over)")

// Unit is a named set of handlers. Handlers are added before it is deployed.
type Unit struct {
	name string

	mu struct {
		sync.Mutex
		state    State
		handlers map[string]grid.Handler
		g        *grid.Grid
		running  sync.WaitGroup
	}
}

// New returns a unit without handlers.
func New(name string) *Unit {
	u := &Unit{name: name}
	u.mu.handlers = map[string]grid.Handler{}
	return u
}

// Name returns the unit's name.
func (u *Unit) Name() string { return u.name }

// State returns what the unit does.
func (u *Unit) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.state
}

// Handle adds a handler. Request and response are structs or plain values, sent
// as msgpack under the names in their grid tags. It panics if the unit is
// deployed or has a handler of that name: both are mistakes of the program.
func Handle[Request, Response any](u *Unit, name string, serve func(context.Context, *grid.Txn, Request) (Response, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.g != nil || u.mu.handlers[name] != nil {
		panic(fmt.Sprintf("processingunit: handler %q of unit %q is added twice or too late", name, u.name))
	}
	u.mu.handlers[name] = typed[Request, Response]{unit: u, serve: serve}
}

// Deploy makes the unit's handlers available on the member in this process and
// returns when the grid can serve.
func (u *Unit) Deploy(ctx context.Context, g *grid.Grid) error {
	if err := g.Router().Ready(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.g != nil {
		return fmt.Errorf("processingunit: unit %q is deployed already", u.name)
	}
	for name, h := range u.mu.handlers {
		if err := g.Handle(u.name, name, h); err != nil {
			return err
		}
	}
	u.mu.g, u.mu.state = g, Ready
	return nil
}

// Drain takes the unit's handlers away and waits for the requests in progress.
func (u *Unit) Drain() {
	u.mu.Lock()
	g := u.mu.g
	u.mu.state = Draining
	u.mu.Unlock()
	if g == nil {
		return
	}
	for name := range u.mu.handlers {
		g.Unhandle(u.name, name)
	}
	u.mu.running.Wait()
}

// begin admits one request.
func (u *Unit) begin() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.state == Draining {
		return ErrDraining
	}
	u.mu.running.Add(1)
	return nil
}

// typed is a handler whose request and response have Go types.
type typed[Request, Response any] struct {
	unit  *Unit
	serve func(context.Context, *grid.Txn, Request) (Response, error)
}

// Serve implements grid.Handler.
func (h typed[Request, Response]) Serve(ctx context.Context, tx *grid.Txn, body []byte) ([]byte, error) {
	if err := h.unit.begin(); err != nil {
		return nil, err
	}
	defer h.unit.mu.running.Done()
	var request Request
	if err := grid.Unmarshal(body, &request); err != nil {
		return nil, Refuse("malformed request: %v", err)
	}
	response, err := h.serve(ctx, tx, request)
	if err != nil {
		return nil, err
	}
	return grid.Marshal(response)
}

// Refuse returns the error by which a handler refuses a request: the caller gets
// it as a *grid.HandlerError, and nothing has changed.
func Refuse(format string, args ...any) error {
	return &grid.HandlerError{Message: fmt.Sprintf(format, args...)}
}

// Call sends a request to a unit's handler, routed by key (a string, []byte or an
// integer), and returns its response. It blocks until the outcome is known or ctx
// ends. Errors are those of grid.Grid.Call.
func Call[Response any](ctx context.Context, g *grid.Grid, unit, handler string, key, request any) (Response, error) {
	var response Response
	k, err := grid.Key(key)
	if err != nil {
		return response, err
	}
	body, err := grid.Marshal(request)
	if err != nil {
		return response, err
	}
	b, err := g.Call(ctx, unit, handler, k, body)
	if err != nil {
		return response, err
	}
	err = grid.Unmarshal(b, &response)
	return response, err
}
