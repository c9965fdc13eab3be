package cluster

import (
	"fmt"
	"slices"
)

// CheckMemberID reports what is wrong with a name, or nil.
func CheckMemberID(id MemberID) error {
	if id == "" || len(id) > MaxMemberIDBytes {
		return fmt.Errorf("cluster: member %q: a name has 1 to %d bytes", id, MaxMemberIDBytes)
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("cluster: member %q: a name has letters, digits, '-', '_' and '.' only", id)
		}
	}
	return nil
}

// check reports what is wrong with a member, or nil.
func (m *Member) check() error {
	if err := CheckMemberID(m.ID); err != nil {
		return err
	}
	switch {
	case m.Incarnation == 0:
		return fmt.Errorf("member %q: incarnations count from 1", m.ID)
	case m.Peer == "":
		return fmt.Errorf("member %q: needs an address for other members", m.ID)
	case max(len(m.Peer), len(m.RESP), len(m.HTTP)) > MaxAddressBytes:
		return fmt.Errorf("member %q: an address has at most %d bytes", m.ID, MaxAddressBytes)
	case len(m.Zone) > MaxZoneBytes:
		return fmt.Errorf("member %q: a zone has at most %d bytes", m.ID, MaxZoneBytes)
	case m.State < Active || m.State > Lost:
		return fmt.Errorf("member %q: unknown %s", m.ID, m.State)
	}
	return nil
}

func (c *AdmitMember) apply(d *draft) Reply {
	m := c.Member
	m.Voter, m.State = false, Active
	if err := m.check(); err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	i, known := d.memberAt(m.ID)
	if !known {
		if len(d.Members) == MaxMembers {
			return refuse(CodeLimit, "%d members", MaxMembers)
		}
		d.Members = slices.Insert(slices.Clone(d.Members), i, m)
		d.changed, d.routed = true, true
		return Reply{}
	}
	old := d.Members[i]
	switch {
	case m.Incarnation < old.Incarnation:
		return refuse(CodeStaleIncarnation, "member %q is at incarnation %d, not %d", m.ID, old.Incarnation, m.Incarnation)
	case m.Incarnation > old.Incarnation:
	case old.State == Lost:
		return refuse(CodeStaleIncarnation, "incarnation %d of member %q was declared lost", m.Incarnation, m.ID)
	case m.Boot < old.Boot:
		return refuse(CodeStaleIncarnation, "member %q has started %d times, not %d: its disk was rolled back", m.ID, old.Boot, m.Boot)
	default:
		m.State = old.State
	}
	m.Voter = old.Voter
	if m == old {
		return Reply{}
	}
	d.routed = m.Peer != old.Peer || m.RESP != old.RESP || m.HTTP != old.HTTP
	d.setMember(i, m)
	return Reply{}
}

func (c *DrainMember) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return refuse(CodeNoMember, "%q", c.Member)
	}
	m := d.Members[i]
	if m.State == Lost {
		return refuse(CodeInvalid, "member %q is declared lost", c.Member)
	}
	want := Active
	if c.Drain {
		want = Leaving
	}
	if m.State != want {
		m.State = want
		d.setMember(i, m)
	}
	return Reply{}
}

func (c *RemoveMember) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return Reply{}
	}
	if d.Members[i].Voter {
		return refuse(CodeInUse, "member %q votes in the control group", c.Member)
	}
	for g := range d.Groups {
		if _, holds := d.Groups[g].Replica(c.Member); holds {
			return refuse(CodeInUse, "member %q holds a replica of group %d", c.Member, d.Groups[g].ID)
		}
	}
	d.Members = slices.Delete(slices.Clone(d.Members), i, i+1)
	d.changed = true
	for g := range d.Groups {
		// If it ever comes back it does with another incarnation, and counts anew.
		if at, ok := d.Groups[g].mendedAt(c.Member); ok {
			next := d.Groups[g]
			next.Mended = slices.Delete(slices.Clone(next.Mended), at, at+1)
			d.setGroup(next)
		}
	}
	return Reply{}
}

func (c *DeclareLost) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return refuse(CodeNoMember, "%q", c.Member)
	}
	m := d.Members[i]
	if m.Incarnation != c.Incarnation {
		return refuse(CodeStaleIncarnation, "member %q is at incarnation %d, not %d", m.ID, m.Incarnation, c.Incarnation)
	}
	if m.State != Lost {
		m.State = Lost
		d.setMember(i, m)
	}
	return Reply{}
}

func (c *SetVoters) apply(d *draft) Reply {
	if len(c.Members) == 0 || len(c.Members) > MaxVoters {
		return refuse(CodeInvalid, "%d voters: want 1 to %d", len(c.Members), MaxVoters)
	}
	for _, id := range c.Members {
		if _, ok := d.memberAt(id); !ok {
			return refuse(CodeNoMember, "%q", id)
		}
	}
	for i := range d.Members {
		m := d.Members[i]
		if votes := slices.Contains(c.Members, m.ID); votes != m.Voter {
			m.Voter = votes
			d.setMember(i, m)
		}
	}
	return Reply{}
}
