package cluster

import (
	"cmp"
	"slices"
)

// layout is a placement in the making: which of the active members hold which
// group. Members and zones are small numbers in the order of their names, and
// every choice between equals takes the lowest, so that the result is the same
// everywhere.
type layout struct {
	ids          []MemberID
	incarnations []uint64
	zone         []int   // of each member
	load         []int   // replicas of each member
	groups       [][]int // members of each group, the preferred leader first
}

func newLayout(members []Member, groups int) *layout {
	active := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.State != Active })
	slices.SortFunc(active, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	l := &layout{groups: make([][]int, groups), load: make([]int, len(active))}
	names := map[string]int{}
	for _, m := range active {
		l.ids = append(l.ids, m.ID)
		l.incarnations = append(l.incarnations, m.Incarnation)
		z, ok := names[m.Zone]
		if !ok {
			z = len(names)
			names[m.Zone] = z
		}
		l.zone = append(l.zone, z)
	}
	return l
}

func (l *layout) find(id MemberID) (int, bool) { return slices.BinarySearch(l.ids, id) }

// add puts a group on a member, once.
func (l *layout) add(g, m int) {
	if !slices.Contains(l.groups[g], m) {
		l.groups[g] = append(l.groups[g], m)
		l.load[m]++
	}
}

func (l *layout) drop(g, m int) {
	l.groups[g] = slices.DeleteFunc(l.groups[g], func(o int) bool { return o == m })
	l.load[m]--
}

// swap puts to in the place of from.
func (l *layout) swap(g, from, to int) {
	l.groups[g][slices.Index(l.groups[g], from)] = to
	l.load[from]--
	l.load[to]++
}

func (l *layout) replicas(g int) []Replica {
	var rs []Replica
	for _, m := range l.groups[g] {
		rs = append(rs, Replica{Member: l.ids[m], Incarnation: l.incarnations[m], Role: Voter})
	}
	return rs
}

// inZone counts the replicas of a group in a zone.
func (l *layout) inZone(g, zone int) (n int) {
	for _, m := range l.groups[g] {
		if l.zone[m] == zone {
			n++
		}
	}
	return n
}

// arrange makes the layout what it should be, in the order of importance: enough
// replicas, zones apart, replicas even, leaders even.
func (l *layout) arrange(copies int) {
	want := min(copies, len(l.ids))
	if want == 0 {
		return
	}
	for g := range l.groups {
		l.shrink(g, want)
		l.fill(g, want)
		l.spreadZones(g)
	}
	l.balanceReplicas()
	l.balanceLeaders()
}

// shrink takes away replicas over want: from the zone with most of them, from
// the member with most to carry, the last in preference among equals.
func (l *layout) shrink(g, want int) {
	for len(l.groups[g]) > want {
		worst := slices.MaxFunc(l.groups[g], func(a, b int) int {
			return cmp.Or(
				cmp.Compare(l.inZone(g, l.zone[a]), l.inZone(g, l.zone[b])),
				cmp.Compare(l.load[a], l.load[b]),
				cmp.Compare(slices.Index(l.groups[g], a), slices.Index(l.groups[g], b)),
			)
		})
		l.drop(g, worst)
	}
}

// fill adds replicas up to want: in the zone with fewest of them, on the member
// with least to carry.
func (l *layout) fill(g, want int) {
	for len(l.groups[g]) < want {
		best := -1
		for m := range l.ids {
			if slices.Contains(l.groups[g], m) {
				continue
			}
			if best < 0 || cmp.Or(
				cmp.Compare(l.inZone(g, l.zone[m]), l.inZone(g, l.zone[best])),
				cmp.Compare(l.load[m], l.load[best])) < 0 {
				best = m
			}
		}
		l.add(g, best)
	}
}

// spreadZones moves replicas of a group out of crowded zones while another zone
// would have fewer even afterwards. Each move lowers the sum of the squares of
// the counts, so it ends.
func (l *layout) spreadZones(g int) {
	for {
		from, to := -1, -1
		for _, m := range l.groups[g] {
			if from < 0 || cmp.Or(
				cmp.Compare(l.inZone(g, l.zone[m]), l.inZone(g, l.zone[from])),
				cmp.Compare(l.load[m], l.load[from])) > 0 {
				from = m
			}
		}
		for m := range l.ids {
			if slices.Contains(l.groups[g], m) || l.inZone(g, l.zone[m])+1 >= l.inZone(g, l.zone[from]) {
				continue
			}
			if to < 0 || cmp.Or(
				cmp.Compare(l.inZone(g, l.zone[m]), l.inZone(g, l.zone[to])),
				cmp.Compare(l.load[m], l.load[to])) < 0 {
				to = m
			}
		}
		if to < 0 {
			return
		}
		l.swap(g, from, to)
	}
}

// balanceReplicas moves replicas from members that carry two or more above
// others, as long as a group can be found that stays as well spread over zones.
// Without zones in the way there always is one: the heavier member is in more
// groups than the lighter. Each move lowers the sum of the squares of the loads.
func (l *layout) balanceReplicas() {
	for l.balanceOnce() {
	}
}

func (l *layout) balanceOnce() bool {
	order := make([]int, len(l.ids))
	for m := range order {
		order[m] = m
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(l.load[a], l.load[b]) })
	for i := len(order) - 1; i > 0; i-- {
		heavy := order[i]
		for _, light := range order[:i] {
			if l.load[heavy]-l.load[light] < 2 {
				break // the others are heavier still
			}
			if g := l.movable(heavy, light); g >= 0 {
				l.swap(g, heavy, light)
				return true
			}
		}
	}
	return false
}

// movable finds a group that can go from one member to another: one that the
// first does not lead, if possible. It returns -1 when there is none.
func (l *layout) movable(from, to int) int {
	found := -1
	for g, ms := range l.groups {
		if !slices.Contains(ms, from) || slices.Contains(ms, to) {
			continue
		}
		if l.zone[from] != l.zone[to] && l.inZone(g, l.zone[to]) >= l.inZone(g, l.zone[from]) {
			continue
		}
		if ms[0] != from {
			return g
		}
		if found < 0 {
			found = g
		}
	}
	return found
}

// balanceLeaders spreads the preferred leaderships as evenly as the replicas
// allow. From a member that leads most, it looks for the shortest chain of
// groups along which each hands one leadership to the next, ending at a member
// that leads at least two fewer; shifting along the chain then takes one from
// the first and gives one to the last. No such chain means that no distribution
// is more even.
func (l *layout) balanceLeaders() {
	leads := make([]int, len(l.ids))
	for _, ms := range l.groups {
		leads[ms[0]]++
	}
	order := make([]int, len(l.ids))
	for m := range order {
		order[m] = m
	}
	for again := true; again; {
		again = false
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(leads[b], leads[a]) })
		for _, m := range order {
			if last, ok := l.shiftLeader(m, leads); ok {
				leads[m]--
				leads[last]++
				again = true
				break
			}
		}
	}
}

// shiftLeader shifts leaderships along the shortest chain from a member and
// returns the member at its end.
func (l *layout) shiftLeader(first int, leads []int) (last int, ok bool) {
	type step struct{ group, from int }
	came := make(map[int]step) // how each member was reached
	queue := []int{first}
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		if leads[first]-leads[m] >= 2 {
			for at := m; at != first; at = came[at].from {
				ms := l.groups[came[at].group]
				i := slices.Index(ms, at)
				ms[0], ms[i] = ms[i], ms[0]
			}
			return m, true
		}
		for g, ms := range l.groups {
			if ms[0] != m {
				continue
			}
			for _, next := range ms[1:] {
				if _, seen := came[next]; !seen && next != first {
					came[next] = step{g, m}
					queue = append(queue, next)
				}
			}
		}
	}
	return 0, false
}
