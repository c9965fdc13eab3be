package replica

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrNotLeader is matched by every NotLeaderError.
	ErrNotLeader = errors.New("replica: not the leader")

	// ErrIndeterminate is returned when a command may or may not take effect,
	// now or later. Only a command that can be recognised as the same one may
	// be repeated. From Confirm it means that nothing is confirmed.
	ErrIndeterminate = errors.New("replica: outcome unknown")

	// ErrOverloaded is returned when the commands that wait for a group have
	// reached their bound, or its log in memory has. The command was not taken
	// up; repeat it after a pause.
	ErrOverloaded = errors.New("replica: too many commands wait for the group; retry after a pause")

	// ErrCommandTooLarge is returned for a command of more than MaxCommandBytes.
	ErrCommandTooLarge = fmt.Errorf("replica: command exceeds %d bytes", MaxCommandBytes)

	// ErrGroupClosed is returned by calls on a closed Group. A command that got
	// it was not taken up.
	ErrGroupClosed = errors.New("replica: group is closed")

	// ErrNotEmpty is returned by Found when the replica holds a log or a
	// snapshot already.
	ErrNotEmpty = errors.New("replica: storage is not empty; a group is founded once, on empty storage")

	// ErrStateLost is returned by OpenGroup for a replica that has kept its
	// vote and lost its log. It must come back under another incarnation.
	ErrStateLost = errors.New("replica: the log of this incarnation is lost; come back under the next one")

	// ErrOtherIncarnation is returned by OpenGroup for storage that was written
	// under another server id. Drop the group from the storage and let the
	// leader bring the new one up to date.
	ErrOtherIncarnation = errors.New("replica: storage belongs to another incarnation; drop it first")
)

// NotLeaderError is returned when this replica does not lead the group, or does
// not at the moment. The command was not taken up; repeat it at the leader.
// errors.Is(err, ErrNotLeader) holds for it.
type NotLeaderError struct {
	// Leader is a hint where to go. It is zero while no leader is known, and
	// this replica itself when it is about to hand over or to start leading.
	Leader ServerID
}

func (e *NotLeaderError) Error() string {
	if e.Leader == (ServerID{}) {
		return "replica: not the leader, and none is known; retry after a pause"
	}
	return fmt.Sprintf("replica: not the leader; try %v", e.Leader)
}

// Is makes every NotLeaderError match ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// indeterminate wraps the reason for which an outcome is unknown.
func indeterminate(reason error) error { return fmt.Errorf("%w: %w", ErrIndeterminate, reason) }

// refusals are raft's errors for what it has not appended to its log.
var refusals = []error{raft.ErrNotLeader, raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress}

// outcome tells what raft's answer to a proposal proves.
func (in *instance) outcome(err error) error {
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return in.notLeader()
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRingFull): // Stored nowhere, and raft sends only what is stored.
		return ErrOverloaded
	}
	return indeterminate(err)
}
