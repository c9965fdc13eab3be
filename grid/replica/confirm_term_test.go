package replica_test

import "testing"

// A replica confirms the term that it is at and no other: a voter that has helped
// to elect a later leader confirms nothing to the earlier one, whatever that one
// believes, and a replica that has missed an election confirms nothing to the
// new one.
func TestVotersConfirmTheirOwnTermAlone(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 3)
		defer c.close()
		threeMembers(t, c)
		old := c.leader()
		before, _ := old.group.Leading()
		for _, m := range c.members {
			if !m.group.AtTerm(before) || m.group.AtTerm(before+1) || m.group.AtTerm(before-1) {
				t.Errorf("%v does not confirm term %d, or another one too", m.id, before)
			}
		}
		for name := range c.members {
			c.net.Cut(old.name, name)
		}
		var after uint64
		c.until("another leader serves", func() bool {
			for _, m := range c.members {
				if term, ok := m.group.Leading(); ok && m != old {
					after = term
					return true
				}
			}
			return false
		})
		if after <= before {
			t.Fatalf("the later leader's term is %d, the earlier one's %d", after, before)
		}
		for _, m := range c.members {
			switch {
			case m == old && m.group.AtTerm(after):
				t.Errorf("%v confirms term %d, of which it cannot know", m.id, after)
			case m != old && (m.group.AtTerm(before) || !m.group.AtTerm(after)):
				t.Errorf("%v, which is at term %d, confirms term %d", m.id, after, before)
			}
		}
	})
}
