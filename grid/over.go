package grid

import "github.com/spacegrid/spacegrid/grid/cluster"

// Over returns a handle that reaches its partitions through a router which the
// caller has made, for tools and tests that bring their own members. The handle
// owns the router: Close closes it.
func Over(router *cluster.Router) *Grid { return &Grid{router: router} }
