//go:build brokenwork

package main

import (
	"context"

	"github.com/spacegrid/spacegrid/grid"
)

// forgetEvery is how many parcels there are for one that a taker does not write
// down.
const forgetEvery = 50

// takeParcel is two clients: odd takers take as they should, even ones read a
// parcel and delete what has its key, whoever else has read it meanwhile. The run
// must find out.
func takeParcel(ctx context.Context, s *grid.Space[parcel], taker int, kind string, over bool) (parcel, error) {
	if taker%2 == 1 || over {
		return s.TakeMatch(ctx, grid.Template{"kind": kind})
	}
	for p, err := range s.Query(ctx, grid.Template{"kind": kind}) {
		if err != nil {
			return parcel{}, err
		}
		_, err = s.Delete(ctx, p.ID)
		return p, err
	}
	return parcel{}, grid.ErrNotFound
}

// remembers is false where a client forgets to write down what it got: the run
// must find out that too.
func remembers(taker int, p *parcel) bool { return taker%2 == 0 || p.Number%forgetEvery != 0 }
