package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// patience gives a request that may wait for entries its time, which ends with the
// request's connection or when the server begins to drain. end must be called with
// what came of it, and returns the error to answer with.
func (s *Server) patience(w http.ResponseWriter, r *http.Request, waitMS int) (wait time.Duration, ctx context.Context, end func(error) error, err error) {
	most := int(s.limits.Wait / time.Millisecond)
	if waitMS < 0 || waitMS > most {
		return 0, nil, nil, invalid(fmt.Sprintf("wait_ms is 0 to %d", most), "ask again for more")
	}
	wait = time.Duration(waitMS) * time.Millisecond
	ctx, cancel := s.bounded(r.Context(), wait+s.limits.RequestTimeout)
	stop := context.AfterFunc(s.leaving, func() {
		if wait > 0 {
			cancel()
		}
	})
	// A recorder in a test has no deadlines; a connection always has. That for
	// reading is of the body, which is here, and of noticing that the client left.
	rc, by := http.NewResponseController(w), time.Now().Add(wait+s.limits.RequestTimeout+s.limits.BodyTimeout)
	_ = rc.SetWriteDeadline(by)
	_ = rc.SetReadDeadline(by)
	return wait, ctx, func(err error) error {
		left := wait > 0 && err != nil && s.leaving.Err() != nil && r.Context().Err() == nil && !errors.Is(err, grid.ErrIndeterminate)
		stop()
		cancel()
		if left {
			return problem(codeDraining, "")
		}
		return err
	}, nil
}
