package grid

import (
	"log/slog"

	"github.com/spacegrid/spacegrid/grid/cluster"
)

// Config says what kind of member [Open] starts. The zero value is a grid of one
// member, in memory, without listeners.
type Config struct {
	// Name of the member, unique in the cluster and stable over restarts: letters,
	// digits, '-', '_', '.'. Empty: drawn at random, and kept in Dir.
	Name string
	// Dir is the member's data folder: logs in Dir/raft, the store in Dir/store.
	// Empty: nothing is kept.
	Dir string
	// InMemory acknowledges writes that a majority holds in memory, without
	// waiting for disks, though there is a Dir. Without a Dir it is implied.
	InMemory bool
	// Listen is the address (host:port) for other members and remote clients.
	// Empty: no listener; the grid has this member alone.
	Listen string
	// Gossip is the address (IP:port) for membership. It is needed with Listen.
	Gossip string
	// Join lists gossip addresses of other members.
	Join []string
	// Expect is how many members form the cluster together, this one included;
	// default 1. It does not matter once the cluster is formed. A cluster that
	// starts from its stores waits for all members that the stores know.
	Expect int
	// Cluster keeps clusters apart that could hear each other; default "spacegrid".
	Cluster string
	// Zone groups members that may fail together; replicas are spread over zones.
	Zone string
	// RESP and HTTP are the addresses of this member's doors, told to clients.
	RESP, HTTP string
	// Partitions of the grid, fixed when it is formed; default 256.
	Partitions int
	// Copies of every partition, members permitting; default 3.
	Copies int
	// AcceptLoss lets a cold start go on without members that do not report, if
	// more than half do. What only they had is lost.
	AcceptLoss bool
	// Sinks are the kinds of external sinks that this program knows, by name. Sinks
	// are defined for the whole grid: see [Grid.AddSink].
	Sinks map[string]SinkKind
	// Logger gets one line for each change of state; nil discards them.
	Logger *slog.Logger
	// OnFatal is called, once, when a disk fails in a way that the member cannot
	// go on from: nothing is acknowledged any more. It should end the process, and
	// must not call the Grid. Nil panics.
	OnFatal func(error)
	// Tune changes settings of the member that have no field here, just before
	// it starts: for simulations, such as gridtest, and for measurements.
	Tune func(*cluster.NodeConfig)
}

// Folders of a member inside of Config.Dir.
const (
	logDir   = "raft"  // logs, votes, snapshots: gone with them is what the store has not got
	storeDir = "store" // the member's record of its partitions
)
