package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Service is what a member does for those who use its partitions: the gateways
// and applications in its own process, other members, and remote clients. The
// member itself implements it; [Remote] implements it over a connection. All
// methods may be called concurrently and block until they have an answer or ctx
// ends.
//
// Errors tell whether something may have happened: a [*NotLeaderError],
// [ErrUnavailable] and [ErrOverloaded] prove that the request had no effect,
// [ErrIndeterminate] says that it may have had one.
//
//nolint:interfacebloat // one method for each question that crosses the wire
type Service interface {
	// State returns the control group's state as this member knows it.
	State(ctx context.Context) (*State, error)
	// AgreedState returns a control state that is not older than what the control
	// group had agreed on when it was called, or fails with ErrUnavailable.
	AgreedState(ctx context.Context) (*State, error)
	// Hello returns the history and clock of every partition of a group. Only
	// the group's leader answers.
	Hello(ctx context.Context, g GroupID) ([]Greeting, error)
	// Await returns when this member serves a group as its leader, or ctx has ended.
	Await(ctx context.Context, g GroupID) error
	// Submit proposes commands to partitions of one group, in order, and returns
	// one outcome for each. Only the group's leader accepts. A command that waits
	// holds nobody up: beside others its outcome says that it waits. A request whose
	// commands all wait is kept for a while, to be answered as soon as the first of
	// them has what it waits for.
	Submit(ctx context.Context, g GroupID, subs []Submission) []Outcome
	// Read looks up entries by key in partitions of one group. It answers the
	// first of the gets, at least one, as many as one answer takes: the rest is
	// asked for again.
	Read(ctx context.Context, g GroupID, level Level, gets []Get) ([]Found, error)
	// Match finds entries of some partitions of one group by template and predicate.
	Match(ctx context.Context, g GroupID, level Level, q Match) (Matched, error)
	// Aggregate computes over the entries of some partitions of one group. It
	// answers for the first of them, at least one, as many as one turn of work
	// takes.
	Aggregate(ctx context.Context, g GroupID, level Level, q Aggregate) (Aggregated, error)
	// Explain tells how some partitions of one group find what matches, and what
	// that costs. Only the group's leader answers.
	Explain(ctx context.Context, g GroupID, q Match) (Explained, error)
	// Invoke runs a unit's handler beside a partition, on the group's leader.
	Invoke(ctx context.Context, g GroupID, call Invocation) ([]byte, error)
	// Follow sends what partitions held by this member contain and then how they
	// change, until ctx ends or send fails, whose error it returns. Any replica
	// answers.
	Follow(ctx context.Context, req FollowRequest, send func(FollowItem) error) error
	// Control proposes a command to the control group; any member passes it on.
	Control(ctx context.Context, c Command) (Reply, error)
	// HandOver makes another member lead a group, once. Only the group's leader
	// does; it waits for one that is up to date, for a bounded time.
	HandOver(ctx context.Context, g GroupID) error
	// Operate passes a request about sinks on to whoever feeds them on this member.
	Operate(ctx context.Context, request []byte) ([]byte, error)
	// Inspect returns what this member knows of itself, as JSON.
	Inspect(ctx context.Context, what string) ([]byte, error)
}

// Level says how fresh a read is.
type Level uint8

// The levels of a read.
const (
	// Linearizable reads see everything that was answered before they began. The
	// leader confirms with a majority that it still leads.
	Linearizable Level = 0
	// Local reads see what the asked member has applied, which may be old.
	Local Level = 1
)

// Greeting is what a client must know of a partition before it sends commands.
type Greeting struct {
	Partition space.PartitionID
	History   space.History
	Clock     space.Time // now, on the partition's clock
}

// Submission is one encoded space.Command for one partition.
type Submission struct {
	Partition space.PartitionID
	Command   []byte
}

// Outcome is what became of a submission: an encoded space.Reply, or an error.
type Outcome struct {
	Reply []byte
	Err   error
}

// Get names one entry.
type Get struct {
	Partition space.PartitionID
	Space     space.ID
	Key       []byte
}

// Found is the answer to a Get: Code is space.OK, space.CodeNotFound or
// space.CodeNoSpace.
type Found struct {
	Code  space.Code
	Entry space.Entry
}

// Match asks partitions of one group, one after the other, for the entries that
// match a template and a predicate, by order within each partition.
type Match struct {
	Space      space.ID
	Template   []byte // canonical msgpack map; nil matches every entry
	Predicate  []byte // binary form of a predicate.Predicate; nil matches every entry
	Partitions []space.PartitionID
	From       uint64 // lowest order number wanted of the first partition
	Limit      int    // entries wanted; an answer may have fewer though there are more
	AllowScan  bool
}

// Matched is the answer to a Match. Which partition an entry is of follows from
// its key.
type Matched struct {
	Code    space.Code
	Entries []space.Entry
	// Done is how many of the partitions were searched to their end, and Next
	// the lowest order number not yet searched in the one after them.
	Done int
	Next uint64
	// Seqs has, for each partition that was searched at all, the last change that
	// the search saw; of several searches of one partition, the first one's.
	Seqs []space.Seq
}

// Invocation is one call of a handler. Its identity is that of the command that
// the handler's transaction becomes, so that a repeated call takes effect once
// and has its first answer again.
type Invocation struct {
	Partition space.PartitionID
	Unit      string
	Handler   string
	Key       []byte
	Body      []byte // the encoded request
	History   space.History
	Session   space.SessionID
	Sequence  uint64
	Acked     uint64
	Deadline  space.Time
	// Repeat says that an earlier sending of this call may have arrived. Its
	// outcome is then decided by the log alone, refusals included.
	Repeat bool
}

// Refused is the Count of the result that carries a handler's refusal instead of
// its response: the last one of the reply.
const Refused = 1

// FollowRequest asks for the content and the changes of a space, or of all
// spaces, in some partitions.
type FollowRequest struct {
	Space space.ID // 0: all spaces
	From  []FollowFrom
}

// FollowFrom is where to begin in one partition.
type FollowFrom struct {
	Partition space.PartitionID
	// After is the last change that the caller has. A zero History asks for a
	// snapshot first.
	After space.Position
	// Now skips the snapshot: only changes from here on.
	Now bool
}

// FollowKind says what a FollowItem is.
type FollowKind uint8

// The kinds of items.
const (
	// FollowChanges: Changes in order, those of other spaces left out. Position
	// is behind the last one considered; a command is never split over items.
	FollowChanges FollowKind = 1
	// FollowEntries: a part of a snapshot.
	FollowEntries FollowKind = 2
	// FollowReady: the snapshot is complete (or was not asked for); changes
	// follow from Position.
	FollowReady FollowKind = 3
	// FollowReset: the caller's position cannot be continued, for Reason. A
	// snapshot follows, which replaces all that the caller has of the partition.
	FollowReset FollowKind = 4
	// FollowMoved: this member no longer holds the partition; ask another one.
	FollowMoved FollowKind = 5
)

// FollowItem is one item of a Follow, for one partition.
type FollowItem struct {
	Kind      FollowKind
	Partition space.PartitionID
	Space     space.ID // FollowEntries: whose entries they are
	Position  space.Position
	Wall      int64  // FollowChanges: estimated wall clock of the last change, ns since 1970; 0 unknown
	Reason    string // FollowReset: "history" or "trimmed"
	Entries   []space.Entry
	Changes   []space.Change
}

// ErrUnavailable is returned when nobody could take a request up in time. It had
// no effect and may be repeated.
var ErrUnavailable = errors.New("cluster: no member could take the request up (wait for a leader, or check that a majority of the members is running)")

// ErrIndeterminate is returned when a request may or may not have taken effect:
// the answer was lost and could not be had again in time. Reading tells; a
// repeat with the same identity within its deadline is safe.
var ErrIndeterminate = errors.New("cluster: outcome unknown, the request may have taken effect (read to find out)")

// ErrOverloaded is returned when a member has too many requests waiting. The
// request had no effect; repeat it after a pause.
var ErrOverloaded = errors.New("cluster: too many requests are waiting on the member (slow down and repeat)")

// ErrUnknownHandler is returned when no unit of that name has such a handler on
// the leading member.
var ErrUnknownHandler = errors.New("cluster: no such unit or handler on the leading member (deploy the unit on every member)")

// NotLeaderError is returned by a member that does not lead the group asked
// for. The request had no effect.
type NotLeaderError struct {
	Group  GroupID
	Leader MemberID // who leads as far as this member knows; empty if unknown
}

// Error names the group and the leader.
func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("cluster: this member does not lead group %d and knows no leader (repeat shortly)", e.Group)
	}
	return fmt.Sprintf("cluster: this member does not lead group %d, %s does (ask it)", e.Group, e.Leader)
}

// HandlerError is a refusal by a unit's handler: the transaction it ran in had no
// effect.
type HandlerError struct {
	Message string
}

// Error returns the handler's message.
func (e *HandlerError) Error() string { return e.Message }
