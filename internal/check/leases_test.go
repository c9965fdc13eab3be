package check

import (
	"reflect"
	"testing"
)

// An entry lives as long as it was lent, is gone for good afterwards, and goes.
func TestLeases(t *testing.T) {
	lend := LeaseOp{Line: 1, Key: "e", Verb: Lend, Lease: 100, Call: 10, Return: 12, Outcome: Done}
	look := func(call int64, there bool) LeaseOp {
		return LeaseOp{Line: int(call), Key: "e", Verb: Look, Call: call, Return: call + 2, There: there, Outcome: Done}
	}
	renew := func(call, lease int64, outcome Outcome) LeaseOp {
		return LeaseOp{Line: int(call), Key: "e", Verb: Renew, Lease: lease, Call: call, Return: call + 2, Outcome: outcome}
	}
	final := func(there bool) LeaseOp {
		o := look(1000, there)
		o.Final = true
		return o
	}
	for name, c := range map[string]struct {
		ops  []LeaseOp
		want LeaseVerdict
	}{
		"good":                        {[]LeaseOp{lend, look(20, true), look(109, false), final(false)}, LeaseVerdict{Expired: 1}},
		"good: a little early":        {[]LeaseOp{lend, look(104, false), final(false)}, LeaseVerdict{Expired: 1}},
		"good: nobody saw the end":    {[]LeaseOp{lend, look(20, true)}, LeaseVerdict{Unread: 1}},
		"good: renewed for less time": {[]LeaseOp{lend, renew(20, 10, Done), look(40, false), final(false)}, LeaseVerdict{Expired: 1}},
		"good: perhaps renewed for less time": {
			[]LeaseOp{lend, renew(20, 10, Unknown), look(40, false), final(false)}, LeaseVerdict{Expired: 1},
		},
		"good: looked for while it was written": {[]LeaseOp{lend, look(11, false), final(false)}, LeaseVerdict{Expired: 1}},
		"gone early":                            {[]LeaseOp{lend, look(50, false), final(false)}, LeaseVerdict{Expired: 1, Early: 1}},
		"gone early after a renewal":            {[]LeaseOp{lend, renew(90, 100, Done), look(150, false), final(false)}, LeaseVerdict{Expired: 1, Early: 1}},
		"it comes back":                         {[]LeaseOp{lend, look(120, false), look(130, true), final(false)}, LeaseVerdict{Expired: 1, Returned: 1}},
		"renewed when it was gone":              {[]LeaseOp{lend, look(120, false), renew(130, 10, Done), final(false)}, LeaseVerdict{Expired: 1, Returned: 1}},
		"it never goes":                         {[]LeaseOp{lend, final(true)}, LeaseVerdict{Immortal: 1}},
		"nobody wrote it":                       {[]LeaseOp{look(5, true), lend, final(false)}, LeaseVerdict{Expired: 1, Phantom: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Leases(c.ops, 10)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			c.want.Lent = 1
			if got.Complaints = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}
