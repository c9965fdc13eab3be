// Package gridtest runs a whole grid inside a test: members in this process, a
// network in memory whose links can be cut, and time that costs nothing.
//
//	func TestOrdersSurviveALeader(t *testing.T) {
//		gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
//			g := c.Dial()
//			orders, err := grid.OpenSpace[Order](t.Context(), g, "orders")
//			...
//			c.Kill(c.Leader("o-1"))
//			...
//		})
//	}
//
// [Run] puts the test into a bubble of testing/synctest: its clock stands still
// while anything is to be done and jumps when everybody waits, so that leases end
// and leaders are elected in no time, and every run sees the same timers. [New]
// makes the same cluster under the real clock, for tests that talk to something
// outside.
//
// Members are those that processes run, all of it: agreement, gossip, routing.
// Only sockets are replaced, and nothing is kept on disk: a member that is killed
// and started again is a new one, which takes its data from the others, so a
// majority has to stay.
package gridtest
