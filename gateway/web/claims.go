package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// claimEntries hides entries for a while, one if nothing is said, and answers with
// them and their tokens; none is an error.
func (s *Server) claimEntries(w http.ResponseWriter, r *http.Request) error {
	q := struct {
		matchRequest
		Key   json.RawMessage `json:"key"`   // of the entry, instead of a filter
		Lease string          `json:"lease"` // how long the claim lasts
	}{matchRequest: matchRequest{Limit: 1}}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	f, err := q.filter()
	switch {
	case err != nil:
		return err
	case len(q.Key) > 0 && f != nil:
		return invalid("a claim is of a key or of what matches, not of both", "")
	case q.Local:
		return invalid("a claim is never local", "")
	case q.Limit < 1 || q.Limit > maxTake:
		return invalid(fmt.Sprintf("a claim is of 1 to %d entries", maxTake), "repeat it for more")
	}
	o := grid.ClaimOptions{Limit: q.Limit, AllowScan: q.AllowScan}
	if o.Lease, err = claimLease(q.Lease); err != nil {
		return err
	}
	wait, ctx, end, err := s.patience(w, r, q.WaitMS)
	if err != nil {
		return err
	}
	o.Wait = wait
	var claims []*grid.Claim
	if len(q.Key) > 0 {
		var key []byte
		if key, err = parseKey(q.Key); err == nil {
			claims = make([]*grid.Claim, 1)
			claims[0], err = s.grid.Claim(ctx, r.PathValue("space"), key, o)
		}
	} else {
		claims, err = s.grid.ClaimMatch(ctx, r.PathValue("space"), f, o)
	}
	if err = end(err); err != nil {
		return err
	}
	body := []byte(`{"entries":[`)
	for i, c := range claims {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = appendEntry(body, &c.Entry); err != nil {
			return err
		}
		body = append(body[:len(body)-1], `,"token":"`...)
		body = append(append(body, c.Token.String()...), `","attempts":`...)
		body = strconv.AppendInt(body, int64(c.Attempts), 10)
		body = append(body, `,"claim_ms":`...)
		body = append(strconv.AppendInt(body, int64(c.Lease/time.Millisecond), 10), '}')
	}
	return writeBody(w, http.StatusOK, typeJSON, append(body, "]}\n"...))
}

// heldRequest is what the holder of a claim says.
type heldRequest struct {
	Key   json.RawMessage `json:"key"`
	Token string          `json:"token"`
}

func (q *heldRequest) parse() (key []byte, t grid.Token, err error) {
	if key, err = parseKey(q.Key); err != nil {
		return nil, t, err
	}
	t, err = grid.ParseToken(q.Token)
	return key, t, err
}

// parseKey reads a key: a string, a number, or the object that stands for bytes.
func parseKey(text json.RawMessage) ([]byte, error) {
	if len(text) == 0 {
		return nil, invalid("the key is missing", "")
	}
	value, err := msgp.FromJSON(nil, text)
	if err != nil {
		return nil, err
	}
	return grid.KeyOf(value)
}

// claimLease reads how long a claim lasts; none is the space's own.
func claimLease(text string) (time.Duration, error) {
	d, err := parseLease(text)
	if err == nil && d < 0 {
		err = invalid("a claim does not last forever", "extend it")
	}
	return d, err
}

// settle carries out what the holder of a claim asks for.
func settle(w http.ResponseWriter, r *http.Request, q any, held *heldRequest, do func(key []byte, t grid.Token) error) error {
	if err := readJSON(r, q); err != nil {
		return err
	}
	key, t, err := held.parse()
	if err != nil {
		return err
	}
	if err := do(key, t); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ack removes an entry that was claimed.
func (s *Server) ack(w http.ResponseWriter, r *http.Request) error {
	var q heldRequest
	return settle(w, r, &q, &q, func(key []byte, t grid.Token) error {
		return s.grid.Ack(r.Context(), r.PathValue("space"), key, t)
	})
}

// nack shows an entry that was claimed again, changed if there are mutations.
func (s *Server) nack(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		heldRequest
		DelayMS   int             `json:"delay_ms"`
		Uncounted bool            `json:"uncounted"`
		Mutations json.RawMessage `json:"mutations"`
	}
	return settle(w, r, &q, &q.heldRequest, func(key []byte, t grid.Token) error {
		if q.DelayMS < 0 {
			return invalid("delay_ms is negative", "")
		}
		var parts []grid.ChangePart
		if len(q.Mutations) > 0 {
			ms, err := form.ParseMutations(q.Mutations)
			if err != nil {
				return err
			}
			parts = form.Changes(ms)
		}
		o := grid.NackOptions{Delay: time.Duration(q.DelayMS) * time.Millisecond, Uncounted: q.Uncounted}
		return s.grid.Nack(r.Context(), r.PathValue("space"), key, t, o, parts...)
	})
}

// extend makes a claim last from now on.
func (s *Server) extend(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		heldRequest
		Lease string `json:"lease"`
	}
	return settle(w, r, &q, &q.heldRequest, func(key []byte, t grid.Token) error {
		lease, err := claimLease(q.Lease)
		if err != nil {
			return err
		}
		return s.grid.Extend(r.Context(), r.PathValue("space"), key, t, lease)
	})
}
