package resp

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

const (
	// Databases is the number of databases that SELECT takes. Database 0 is the
	// space "default", database n the space "dbN", made by its first write.
	Databases = 16
	// DefaultUser is the user of AUTH with a password alone.
	DefaultUser = "default"
)

// CommandsConfig of a Commands. A zero optional field means its default.
type CommandsConfig struct {
	// Grid is where the entries are. Required.
	Grid *grid.Grid
	// Self is the name of the member in this process. Default: none, a door that
	// stands beside a remote grid.
	Self string
	// Version is the version of the program, for HELLO and INFO. Default "dev".
	Version string
	// Port is what INFO says of the listener. Default 7379.
	Port int
	// ClusterMode tells clients to route by slots to the member that should lead
	// them. Default false: every member answers for every key, so that clients
	// need not know of the cluster.
	ClusterMode bool
	// Authenticate reports whether a password is that of a user. Default: there
	// are no users and no passwords.
	Authenticate func(user, password string) bool
	// Logger takes one line per state change and none per command. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Commands answers Redis commands from a grid. It is the Handler of one Server.
//
// Commands of a pipeline that each consist of operations known from their
// arguments are gathered and sent as one batch; replies come in order. A command
// that needs several steps, such as RENAME, waits for those before it and runs
// by itself. Operations on one key take effect in the order in which they were
// sent; operations on different keys of one pipeline may take effect in any
// order.
//
// A transaction takes effect as a whole in one partition, so its keys have to be
// in one slot; MSET, DEL and other commands on several keys do not, and are not
// one moment. What may have taken effect without an answer is reported as
// INDETERMINATE, never as a failure.
type Commands struct {
	config   CommandsConfig
	grid     *grid.Grid
	table    *Table
	actions  map[*Spec]action
	server   atomic.Pointer[Server]
	started  time.Time
	runID    string
	errors   errorCounts
	setting  settings
	keyspace keyspace
}

var (
	_ Handler = (*Commands)(nil)
	_ Binder  = (*Commands)(nil)
)

// action says how a command is carried out.
type action struct {
	// stage adds the operations of the command to the batch under way. It knows
	// from the arguments what to do, and so may be queued by MULTI.
	stage func(d *dialog, c Command)
	// local replies from what session and member know, and may be queued.
	local func(d *dialog, c Command)
	// alone carries the command out in several steps and replies. It runs when
	// everything before it is answered, and cannot be queued.
	alone func(d *dialog, c Command)
	// stepwise tells the form of a command that takes alone from the one that
	// takes stage, if there are both.
	stepwise func(c Command) bool
	// direct is a local command that takes effect within MULTI at once.
	direct bool
}

// NewCommands returns the handler. It panics without a Grid.
func NewCommands(config CommandsConfig) *Commands {
	if config.Grid == nil {
		panic("resp: CommandsConfig.Grid is required")
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Version == "" {
		config.Version = "dev"
	}
	orDefault(&config.Port, 7379)
	h := &Commands{config: config, grid: config.Grid, table: NewTable(), started: time.Now(), runID: newRunID()}
	h.actions = map[*Spec]action{}
	for _, actions := range []map[string]action{
		stringActions(), keyActions(), expiryActions(), hashActions(), scanActions(),
		transactionActions(), connectionActions(), serverActions(), clusterActions(), spaceActions(),
	} {
		for name, a := range actions {
			spec := h.table.byName[name]
			if spec == nil {
				panic("resp: " + name + " is not in the table")
			}
			h.actions[spec] = a
		}
	}
	return h
}

// newRunID returns the 40 hexadecimal digits by which tools tell one run of a
// server from the next.
func newRunID() string {
	const digits = "0123456789abcdef"
	id := make([]byte, 40)
	for i := range id {
		id[i] = digits[rand.IntN(len(digits))]
	}
	return string(id)
}

// Bind implements Binder.
func (h *Commands) Bind(server *Server) { h.server.Store(server) }

// Table returns the table of the commands.
func (h *Commands) Table() *Table { return h.table }

// Serve implements Handler.
func (h *Commands) Serve(ctx context.Context, s *Session, commands []Command) {
	d, ok := s.State.(*dialog)
	if !ok {
		d = newDialog(h, s)
		s.State = d
	}
	d.ctx = ctx
	for _, c := range commands {
		if d.take(c); s.Closing() {
			return
		}
	}
	d.flush()
}

// Closed implements Handler. A dialog holds nothing elsewhere.
func (h *Commands) Closed(s *Session) { s.State = nil }
