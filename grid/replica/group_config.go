package replica

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// maxAppendEntries bounds the entries in one request. Raft allocates for
	// this many at every append, and our entries carry up to 512 commands.
	maxAppendEntries = 64

	// trailingEntries stay in the log behind a snapshot, so that a follower
	// that is a little behind needs no snapshot.
	trailingEntries = 2048

	// DefaultSnapshotLogBytes is how much log is applied between snapshots: it
	// bounds what is replayed at a start and what the log takes on disk.
	DefaultSnapshotLogBytes = 64 << 20
)

// Timing are a group's timers. All replicas should have the same; zero fields
// take their defaults.
type Timing struct {
	// Heartbeat is how long a follower hears nothing from its leader before its
	// timer makes it ask for votes, up to three times as long at worst. When a
	// majority has lost the leader they do not wait for that: at once if its
	// process is gone, after one and a half Heartbeats if it is silent. Default
	// 500 ms.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes. Default 500 ms.
	Election time.Duration
	// Lease is how long a leader goes on without hearing from a majority, at most
	// Heartbeat. It ends useless leaderships early and makes nothing safe, so it
	// need not be short: three members on two cores beside sixteen processes that
	// only compute held, in twenty seconds, up to fifteen elections for nothing
	// with 125 ms and seventeen with 250 ms, and none with 500 ms. Default
	// Heartbeat.
	Lease time.Duration
	// CommitTimeout is how late followers learn about the last entry when
	// nothing follows, at most twice. Shorter costs messages when idle.
	// Default 50 ms; 250 ms where many groups are idle.
	CommitTimeout time.Duration
}

// GroupConfig describes one replica of a group.
type GroupConfig struct {
	// ID names the group, the same on every member.
	ID uint32
	// Self is this replica. Its Member is the Transport's Self.
	Self ServerID
	// Storage is where log, vote and snapshots rest: DiskStorage or
	// MemoryStorage. It serves one Group at a time and stays the caller's.
	Storage GroupStorage
	// Transport carries the group's messages. It stays the caller's, who closes
	// it after the Group. Its Confirm must lead to the Group's AtTerm.
	Transport *Transport
	// StateMachine is what the group agrees on. The Group is its only user
	// until Close, except for reads that the StateMachine itself allows.
	StateMachine StateMachine
	// Timing are the timers.
	Timing Timing
	// SnapshotLogBytes is how much log is applied between snapshots. Default
	// DefaultSnapshotLogBytes, or a quarter of a log in memory if that is less.
	SnapshotLogBytes int64
	// Observer is told who leads; nil if nobody needs to know.
	Observer Observer
	// OnRolledBack is called when a replica is found to be RolledBack. It must not
	// block; nil if nobody needs to know.
	OnRolledBack func()
	// Logger gets one line for each change of state; nil discards them.
	Logger *slog.Logger
}

// Observer is told about the leadership of a group as one replica sees it. Its
// methods are called one at a time from one goroutine of the Group, which does
// nothing else meanwhile, so they must not block long and must not call Close.
// Between two calls of Leading there is one of Following. After Close has
// returned there are no more calls.
type Observer interface {
	// Leading: this replica leads in term, and has applied every command that
	// any leader before it has answered. It may serve.
	Leading(term uint64)
	// Following: this replica does not lead. leader is zero while none is known.
	Following(leader ServerID, term uint64)
}

// nobody is the Observer of a group without one.
type nobody struct{}

func (nobody) Leading(uint64)             {}
func (nobody) Following(ServerID, uint64) {}

func (c GroupConfig) withDefaults() (GroupConfig, error) {
	if err := c.Self.validate(); err != nil {
		return c, err
	}
	if c.Storage.log == nil || c.Transport == nil || c.StateMachine == nil {
		return c, errors.New("replica: GroupConfig needs Storage, Transport and StateMachine")
	}
	setDefault(&c.Timing.Heartbeat, defaultHeartbeatTimeout)
	setDefault(&c.Timing.Election, defaultHeartbeatTimeout)
	setDefault(&c.Timing.Lease, c.Timing.Heartbeat)
	setDefault(&c.Timing.CommitTimeout, 50*time.Millisecond)
	setDefault(&c.SnapshotLogBytes, DefaultSnapshotLogBytes)
	if r := c.Storage.ring; r != nil {
		c.SnapshotLogBytes = min(c.SnapshotLogBytes, r.Limit()/4)
	}
	if c.SnapshotLogBytes < 0 {
		return c, errors.New("replica: GroupConfig.SnapshotLogBytes is negative")
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("self", c.Self.String())
	return c, nil
}

// raftConfig returns raft's settings.
func (c *GroupConfig) raftConfig(leads chan<- bool) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = c.Self.raftID()
	r.HeartbeatTimeout = c.Timing.Heartbeat
	r.ElectionTimeout = c.Timing.Election
	r.LeaderLeaseTimeout = c.Timing.Lease
	r.CommitTimeout = c.Timing.CommitTimeout
	r.MaxAppendEntries = maxAppendEntries
	r.TrailingLogs = c.trailing()
	// We decide by bytes when to take a snapshot; raft would by entries.
	r.SnapshotInterval = math.MaxInt64 / 4
	r.SnapshotThreshold = math.MaxUint64
	// A replica that is removed stays as it is; its owner closes it.
	r.ShutdownOnRemove = false
	r.RestoreCommittedLogs = true
	r.NoLegacyTelemetry = true
	r.NotifyCh = leads
	r.Logger = newRaftLogger(c.Logger)
	return r
}

// trailing returns how many entries stay behind a snapshot. A log in memory
// must have room for as many of the usual largest in half of its bound.
func (c *GroupConfig) trailing() uint64 {
	if c.Storage.ring == nil {
		return trailingEntries
	}
	return uint64(min(trailingEntries, c.Storage.ring.Limit()/4/maxEntryBytes))
}
