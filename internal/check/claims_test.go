package check

import (
	"reflect"
	"testing"
)

// A history of claims is good if every job ended once, in its group's order, and
// under the token that was given last; whatever breaks one of these is found.
func TestClaims(t *testing.T) {
	job := func(place int) Job { return Job{"g", place} }
	// granted makes a grant at a time: it is asked for, answered, and its
	// acknowledgement asked for and answered, at times one apart.
	granted := func(place int, token uint64, at int64, ack ...Outcome) Grant {
		g := Grant{Job: job(place), Token: Token{1, token}, Holder: "h", Asked: at, Got: at + 1}
		if len(ack) > 0 {
			g.Acked, g.Ack, g.AckAsked, g.AckGot = true, ack[0], at+2, at+3
		}
		return g
	}
	good := func() *ClaimHistory {
		return &ClaimHistory{
			Writes: []JobWrite{{job(1), Done}, {job(2), Done}, {job(3), Done}, {job(4), Done}, {job(5), Unknown}},
			Grants: []Grant{
				granted(1, 10, 100),          // its holder died
				granted(1, 11, 200, Done),    //
				granted(2, 12, 300, Refused), // acknowledged too late
				granted(2, 13, 303, Done),    // and by the next one
				granted(3, 14, 400),          // given back
				granted(3, 15, 500),          // given back for the last time
			},
			Left: []Job{job(4)},
			Dead: []Job{job(3)},
		}
	}
	want := func(change func(*ClaimVerdict)) ClaimVerdict {
		v := ClaimVerdict{Written: 4, Claimed: 6, Acked: 2, Dead: 1, Left: 1}
		change(&v)
		return v
	}
	for name, c := range map[string]struct {
		change func(*ClaimHistory)
		want   func(*ClaimVerdict)
	}{
		"good": {func(*ClaimHistory) {}, func(*ClaimVerdict) {}},
		"good: an acknowledgement without an answer of a job that is gone": {
			func(h *ClaimHistory) { h.Left = nil; h.Grants = append(h.Grants, granted(4, 16, 600, Unknown)) },
			func(v *ClaimVerdict) { v.Claimed, v.Left, v.Resolved = 7, 0, 1 },
		},
		"good: a write without an answer that happened": {
			func(h *ClaimHistory) { h.Left = append(h.Left, job(5)) }, func(v *ClaimVerdict) { v.Written, v.Left = 5, 2 },
		},
		"lost": {
			func(h *ClaimHistory) { h.Left = nil }, func(v *ClaimVerdict) { v.Left, v.Lost = 0, 1 },
		},
		"lost: the open acknowledgement is not of the last grant": {
			func(h *ClaimHistory) {
				h.Left = nil
				h.Grants = append(h.Grants, granted(4, 16, 600, Unknown), granted(4, 17, 700))
			},
			func(v *ClaimVerdict) { v.Claimed, v.Left, v.Lost = 8, 0, 1 },
		},
		"acknowledged twice": {
			func(h *ClaimHistory) { h.Grants[2].Ack = Done },
			func(v *ClaimVerdict) { v.DoublyAcked = 1 },
		},
		"acknowledged and there": {
			func(h *ClaimHistory) { h.Left = append(h.Left, job(2)) }, func(v *ClaimVerdict) { v.Left, v.DoublyAcked = 2, 1 },
		},
		"acknowledged and a dead letter": {
			func(h *ClaimHistory) { h.Dead = append(h.Dead, job(2)) }, func(v *ClaimVerdict) { v.Dead, v.DoublyAcked = 2, 1 },
		},
		"acknowledged by an old token": {
			func(h *ClaimHistory) {
				h.Grants[2].Ack, h.Grants[3].Ack = Done, Refused
				h.Grants[2].AckAsked, h.Grants[2].AckGot = 310, 311
			},
			func(v *ClaimVerdict) { v.StaleAcks = 1 },
		},
		"handed out after it was over": {
			func(h *ClaimHistory) { h.Grants = append(h.Grants, granted(2, 16, 600)) },
			func(v *ClaimVerdict) { v.Claimed, v.Regranted = 7, 1 },
		},
		"handed out twice under one token": {
			func(h *ClaimHistory) { h.Grants[1].Token = h.Grants[0].Token },
			func(v *ClaimVerdict) { v.Regranted = 1 },
		},
		"an inversion inside the group": {
			func(h *ClaimHistory) {
				h.Grants[0].Job, h.Grants[0].Acked, h.Grants[0].Ack = job(2), true, Refused
			},
			func(v *ClaimVerdict) { v.OutOfOrder = 1 },
		},
		"handed out past one that is left": {
			func(h *ClaimHistory) {
				h.Writes[4].Outcome = Done
				h.Grants = append(h.Grants, granted(5, 16, 600, Done))
			},
			func(v *ClaimVerdict) { v.Written, v.Claimed, v.Acked, v.OutOfOrder = 5, 7, 3, 1 },
		},
		"handed out while an earlier one was held": {
			func(h *ClaimHistory) { h.Grants[1].AckAsked, h.Grants[1].AckGot = 305, 306 },
			func(v *ClaimVerdict) { v.OutOfOrder = 2 },
		},
		"a token that goes back": {
			func(h *ClaimHistory) { h.Grants[0].Token.Number = 20; h.Grants[0].Job = job(4) },
			func(v *ClaimVerdict) { v.TokensBack = 5 },
		},
		"a claim on what nobody wrote": {
			func(h *ClaimHistory) { h.Writes[3].Outcome = Refused }, func(v *ClaimVerdict) { v.Written, v.Phantom = 3, 1 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(h)
			got := Claims(h)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			got.Complaints = nil
			if w := want(c.want); !reflect.DeepEqual(got, w) {
				t.Errorf("verdict %+v, want %+v", got, w)
			}
		})
	}
}
