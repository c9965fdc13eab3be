package replica

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
)

// ServerID names one replica of a group: a member, and how often that member has
// come back without what it had. A replica that has lost its state returns
// under the next incarnation, so that nobody counts on what the last one held.
type ServerID struct {
	Member      string
	Incarnation uint64
}

// String returns the id as "m1#3", or "" for the zero ServerID.
func (id ServerID) String() string {
	if id == (ServerID{}) {
		return ""
	}
	return id.Member + "#" + strconv.FormatUint(id.Incarnation, 10)
}

// ParseServerID is the inverse of String.
func ParseServerID(s string) (ServerID, error) {
	if s == "" {
		return ServerID{}, nil
	}
	i := strings.LastIndexByte(s, '#')
	if i <= 0 {
		return ServerID{}, fmt.Errorf("replica: server id %.64q: want member#incarnation", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if id := (ServerID{s[:i], n}); err == nil && id.String() == s {
		return id, nil
	}
	return ServerID{}, fmt.Errorf("replica: server id %.64q: want member#incarnation", s)
}

// validate refuses what could not be sent.
func (id ServerID) validate() error {
	if id.Member == "" || len(id.String()) > maxName {
		return fmt.Errorf("replica: server id %.64q: a member of 1 to %d bytes is needed", id.String(), maxName-21)
	}
	return nil
}

// Raft wants addresses that are unique within a group, yet a member takes part
// under two incarnations while one replaces the other. So to raft the server id
// is the address too, and its member part is the transport's.

func (id ServerID) raftID() raft.ServerID           { return raft.ServerID(id.String()) }
func (id ServerID) raftAddress() raft.ServerAddress { return raft.ServerAddress(id.String()) }

// serverID turns raft's id back. Raft only holds ids that came from raftID.
func serverID(id raft.ServerID) ServerID {
	parsed, err := ParseServerID(string(id))
	if err != nil {
		panic(err)
	}
	return parsed
}
