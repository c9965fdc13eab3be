package cluster

import (
	"slices"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// opinion is what one voter says of the state of a partition at a mark.
type opinion struct {
	voter replica.ServerID
	known bool // it has said something that can be compared
	state [16]byte
}

// verdict is what the opinions of all voters of a group come to.
type verdict struct {
	// odd are the replicas against which a majority of the voters agrees.
	odd []replica.ServerID
	// torn says that there are two states at least and no majority for any.
	torn bool
	// compared is how many replicas said something.
	compared int
}

// judge compares the states of replicas at one place of the log. opinions has one
// element for every voter: who says nothing counts as a vote for no state, so that
// a minority that can be reached never decides.
func judge(opinions []opinion) verdict {
	var v verdict
	votes := map[[16]byte]int{}
	for _, o := range opinions {
		if o.known {
			votes[o.state]++
			v.compared++
		}
	}
	if len(votes) < 2 {
		return v
	}
	for state, n := range votes {
		if n > len(opinions)/2 {
			for _, o := range opinions {
				if o.known && o.state != state {
					v.odd = append(v.odd, o.voter)
				}
			}
			slices.SortFunc(v.odd, compareServers)
			return v
		}
	}
	v.torn = true
	return v
}
