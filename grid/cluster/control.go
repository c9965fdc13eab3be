package cluster

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Control is the state machine of the control group: admission, incarnations,
// definitions, groups and the partition table. It starts no goroutine and reads
// no clock; the state after a command depends on the state before and on the
// command alone.
//
// Apply and Restore have one caller at a time. State may be called beside them
// from anywhere.
type Control struct {
	state atomic.Pointer[State]
}

// NewControl returns the state machine of a cluster that is not formed yet.
func NewControl() *Control {
	c := &Control{}
	c.state.Store(&State{})
	return c
}

// State returns the newest state. It never blocks and the result never changes.
func (c *Control) State() *State { return c.state.Load() }

// Apply carries out one encoded command and returns the encoded [Reply]. It
// keeps no reference to cmd. Bytes that are no command, or one of a newer
// format, are refused with [CodeInvalid] and change nothing.
func (c *Control) Apply(cmd []byte) []byte {
	old := c.state.Load()
	command, err := DecodeCommand(cmd)
	if err != nil {
		return EncodeReply(Reply{Code: CodeInvalid, Version: old.Version, Detail: err.Error()})
	}
	next, reply := old.after(command)
	if next != nil {
		c.state.Store(next)
	}
	return EncodeReply(reply)
}

// after returns the state that follows a command, or nil when the command
// changes nothing, and the reply to it. It leaves s as it is.
func (s *State) after(command Command) (*State, Reply) {
	if _, forming := command.(*Form); !forming && !s.Formed() {
		return nil, Reply{Code: CodeNotFormed, Version: s.Version}
	}
	d := &draft{State: *s}
	reply := command.apply(d)
	if reply.Code != OK || !d.changed {
		reply.Version = s.Version
		return nil, reply
	}
	d.Version++
	if d.routed {
		d.TableVersion = d.Version
	}
	reply.Version = d.Version
	return &d.State, reply
}

// draft is a state in the making. Its slices still belong to the state before;
// whoever changes one replaces it first.
type draft struct {
	State
	changed bool
	routed  bool // the change concerns the routing table
}

func (d *draft) setMember(i int, m Member) {
	d.Members = slices.Clone(d.Members)
	d.Members[i] = m
	d.changed = true
}

func (d *draft) setGroup(g Group) {
	g.Version++
	d.Groups = slices.Clone(d.Groups)
	d.Groups[g.ID-1] = g
	d.changed, d.routed = true, true
}

func refuse(code Code, format string, args ...any) Reply {
	return Reply{Code: code, Detail: fmt.Sprintf(format, args...)}
}
