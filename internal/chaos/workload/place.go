package workload

import (
	"context"
	"net"

	"github.com/spacegrid/spacegrid/grid"
)

// Kinds of doors, for Place.Door and in histories.
const (
	DoorGo   = "go"
	DoorRESP = "resp"
	DoorHTTP = "http"
)

// Place is a cluster as clients see it. Members are numbered from 0, clients too.
// Its methods may be called concurrently.
type Place interface {
	// Members is how many there are, running or not.
	Members() int
	// Dial connects a client, from its own address, to one member; the connection
	// knows the others' addresses too. If member is negative it picks one itself.
	// The caller closes the handle.
	Dial(ctx context.Context, client, member int) (*grid.Grid, error)
	// Door returns the address of a member's door, "" if it has none of the kind.
	Door(kind string, member int) string
	// Conn dials such an address from the client's own address.
	Conn(ctx context.Context, client int, addr string) (net.Conn, error)
}

// Workload is one kind of use of a cluster. A value serves one run: Prepare, Run,
// Finish, in this order. Judge may be called on any value, at any time.
type Workload interface {
	Name() string
	// Prepare makes the spaces that the clients need. It comes before clients and
	// faults.
	Prepare(ctx context.Context, p Place) error
	// Run drives clients until ctx ends. An error says that the workload could not
	// be driven, never that an operation failed.
	Run(ctx context.Context, p Place, h *History, o Options) error
	// Finish reads and drains what is left, after all faults are healed. It is
	// part of the history too.
	Finish(ctx context.Context, p Place, h *History) error
	// Judge says what the history shows, from the history alone.
	Judge(h *History) *Verdict
}

// DefaultClients is how many clients a run has: six that are bound to a member each,
// two that switch.
const DefaultClients = 8

// DefaultRate is how many operations a second all clients together begin at most.
const DefaultRate = 200

// Options of a run. A zero field means its default.
type Options struct {
	Seed    uint64  // what clients do follows from it, when they do it does not
	Clients int     // default DefaultClients; at least 4
	Rate    float64 // operations a second, of all clients; default DefaultRate
}

func (o Options) withDefaults() Options {
	if o.Clients == 0 {
		o.Clients = DefaultClients
	}
	o.Clients = max(o.Clients, 4)
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	return o
}

// All returns one of each workload, ready for a run.
func All() []Workload {
	return []Workload{&Register{}, &Set{}, &Queue{}, &Claims{}, &Bank{},
		&List{}, &Lease{}, &Watch{}}
}

// Named returns the workload of a name.
func Named(name string) (Workload, bool) {
	for _, w := range All() {
		if w.Name() == name {
			return w, true
		}
	}
	return nil, false
}
