package predicate

import "math/bits"

// Cost returns a bound on the work for one entry, in steps of roughly the same
// size: finding a field in its map, comparing, computing, halving a list.
// Searching a list of the entry (`contains`) counts a flat 64: a list
// may have as many elements as its entry has bytes. No step goes over
// more than the entry once: Cost times the size of the largest entry bounds what
// a hostile pair of predicate and entry can do.
func (p *Predicate) Cost() int { return p.cost }

// containsCost is what a search through a list in an entry counts.
const containsCost = 64

// measure counts what the limits are about.
type measure struct {
	nodes, depth, cost int
	paths              []string // with repetitions
}

// cond counts a condition that lies at the given level, 1 for the outermost.
func (m *measure) cond(c *cond, level int) {
	m.node(level)
	for i := range c.kids {
		m.cond(&c.kids[i], level+1)
	}
	m.term(&c.left, level+1)
	m.term(&c.right, level+1)
	m.cost += bits.Len(uint(len(c.list)))
	if c.op == opContains || c.op == opNotContains {
		m.cost += containsCost
	}
}

func (m *measure) term(t *term, level int) {
	switch t.op {
	case termNone:
		return
	case termField:
		m.paths = append(m.paths, t.path.name)
		m.cost += len(t.path.steps) - 1 // the node itself counts one
	case termConstant:
		m.cost-- // it is there already
	}
	m.node(level)
	for i := range t.kids {
		m.term(&t.kids[i], level+1)
	}
}

func (m *measure) node(level int) {
	m.nodes++
	m.cost++
	m.depth = max(m.depth, level)
}
