package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// dismissTime is how long holders may take to end what they have begun.
	dismissTime = 2 * requestTime
	// atWorkTime is how long a holder may take until it works.
	atWorkTime = 10 * time.Second
)

// crew is the holder processes of a run, those that were killed too.
type crew struct {
	work   *work
	flags  *claimsFlags
	active []*lab.Process
	all    []*lab.Process
	struck int
}

// hire starts one more holder, with a history of its own.
func (c *crew) hire() error {
	name := fmt.Sprintf("holder-%03d", len(c.all)+1)
	h, err := c.work.client(name, "trial", "claims", "holder", "--name", name, "--hands", strconv.Itoa(c.flags.hands), "--history", c.work.path(name))
	if err != nil {
		return err
	}
	c.all, c.active = append(c.all, h), append(c.active, h)
	return nil
}

// strikes kills the holder that has been there longest, and hires another one,
// until ctx ends.
func (c *crew) strikes(ctx context.Context) error {
	for sleep(ctx, c.flags.strikeOnce) {
		victim := c.active[0]
		if err := c.awaitWork(ctx, victim); err != nil {
			return err
		}
		victim.Kill()
		if !victim.Killed() {
			return fmt.Errorf("%s ended by itself: %w: %s", victim.Name(), errors.Join(lab.ErrEnded, victim.Err()), victim.Tail())
		}
		c.struck++
		c.active = c.active[1:]
		if err := c.hire(); err != nil {
			return err
		}
	}
	return nil
}

// awaitWork waits until a holder has claimed something, or ctx ends.
func (c *crew) awaitWork(ctx context.Context, h *lab.Process) error {
	select {
	case <-h.Lines(): // it says so once
		return nil
	case <-h.Ended():
		return fmt.Errorf("%s ended by itself: %w: %s", h.Name(), lab.ErrEnded, h.Tail())
	case <-ctx.Done():
		return nil
	case <-time.After(atWorkTime):
		return fmt.Errorf("%s has claimed nothing in %s: %s", h.Name(), atWorkTime, h.Tail())
	}
}

// dismiss lets the holders end what they have begun, and waits for them.
func (c *crew) dismiss(ctx context.Context) error {
	for _, h := range c.active {
		if err := h.Dismiss(); err != nil {
			return fmt.Errorf("%s ended by itself: %w: %s", h.Name(), err, h.Tail())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dismissTime)
	defer cancel()
	for _, h := range c.active {
		if _, err := h.Output(ctx); err != nil {
			return err
		}
	}
	return nil
}

// claimsTally is what a history shows beside what is checked.
type claimsTally struct {
	killed, abandoned             int
	refusedLate, nacked, extended int
	groups                        int
}

// history puts together what all processes have recorded, and what is left.
func (c *crew) history(left workload.Content) (h *check.ClaimHistory, t claimsTally, err error) {
	h = &check.ClaimHistory{}
	if h.Writes, err = readWorkLog[check.JobWrite](c.work.path("writes")); err != nil {
		return nil, t, err
	}
	groups := map[string]bool{}
	for i := range h.Writes {
		groups[h.Writes[i].Group] = true
	}
	t.groups = len(groups)
	for _, x := range c.all {
		lines, err := readWorkLog[holderLine](c.work.path(x.Name()))
		if err != nil {
			return nil, t, err
		}
		grants, open, err := grantsOf(x.Name(), lines, &t)
		if err != nil {
			return nil, t, err
		}
		h.Grants = append(h.Grants, grants...)
		if x.Killed() && open > 0 {
			t.killed++
			t.abandoned += open
		}
	}
	if h.Left, err = jobsOf(left[errandSpace]); err != nil {
		return nil, t, err
	}
	h.Dead, err = jobsOf(left[deadSpace])
	return h, t, err
}

// grantsOf turns the lines of one holder into grants, and counts the claims whose
// work had begun and not ended.
func grantsOf(holder string, lines []holderLine, t *claimsTally) (grants []check.Grant, open int, err error) {
	// A holder may have a job twice, under two tokens, and tokens of two groups may
	// be equal.
	type held struct {
		check.Job
		check.Token
	}
	at, working := map[held]int{}, map[held]bool{}
	for i := range lines {
		l := &lines[i]
		c := held{l.Job, l.Token}
		if l.Do == doClaim {
			at[c] = len(grants)
			working[c] = true
			grants = append(grants, check.Grant{Job: l.Job, Token: l.Token, Holder: holder, Asked: l.Asked, Got: l.Got})
			continue
		}
		n, ok := at[c]
		if !ok {
			return nil, 0, fmt.Errorf("%s: line %d is about a claim that it did not have", holder, i+1)
		}
		g := &grants[n]
		switch {
		case l.Do == doWork:
			delete(working, c)
		case l.Do == doAck:
			g.Acked, g.Ack, g.AckAsked, g.AckGot = true, l.Outcome, l.Asked, l.Got
			if l.Late && l.Outcome == check.Refused {
				t.refusedLate++
			}
		case l.Outcome != check.Done:
		case l.Do == doNack:
			t.nacked++
		case l.Do == doExtend:
			t.extended++
		}
	}
	return grants, len(working), nil
}

// jobsOf reads which jobs entries are.
func jobsOf(rows map[string]workload.StoredEntry) ([]check.Job, error) {
	var jobs []check.Job
	for key, row := range rows {
		var e errand
		if err := grid.Unmarshal(row.Value, &e); err != nil {
			return nil, fmt.Errorf("entry %q: %w", key, err)
		}
		jobs = append(jobs, e.job())
	}
	return jobs, nil
}
