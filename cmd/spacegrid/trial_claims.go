package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/internal/check"
)

// claimsReport is the last line of a run of claims. Its names are part of the
// interface.
type claimsReport struct {
	Written         int     `json:"written"`
	Claimed         int     `json:"claimed"`
	Acked           int     `json:"acked"`
	Resolved        int     `json:"resolved"` // acknowledged without an answer, as a look shows
	Lost            int     `json:"lost"`
	DoublyAcked     int     `json:"doubly_acked"`
	OutOfOrder      int     `json:"out_of_order"`
	StaleAcks       int     `json:"stale_acks"`
	TokensBack      int     `json:"tokens_back"`
	Regranted       int     `json:"regranted"`
	Phantom         int     `json:"phantom"`
	RefusedLateAcks int     `json:"refused_late_acks"`
	Nacked          int     `json:"nacked"`
	Extended        int     `json:"extended"`
	DeadLettered    int     `json:"dead_lettered"`
	Left            int     `json:"left"`
	Groups          int     `json:"groups"`
	StoresDiffer    int     `json:"store_differences"`
	HoldersKilled   int     `json:"holders_killed"` // in the middle of their work
	Abandoned       int     `json:"abandoned"`      // claims that they held
	LeadersKilled   int     `json:"leaders_killed"`
	TakeoverMS      int64   `json:"longest_takeover_ms"`
	ClaimsPerS      float64 `json:"claims_per_s"`
	Seconds         float64 `json:"seconds"` // of the load
	Verdict         string  `json:"verdict"`
}

type claimsFlags struct {
	workFlags
	holders    int
	hands      int
	groups     int
	rate       int
	strikeOnce time.Duration
}

func (a *app) trialClaimsCommand() *cobra.Command {
	var f claimsFlags
	c := &cobra.Command{
		Use:   "claims",
		Short: "Claim entries of ordered groups while leaders and holders are killed",
		Long: `Start three member processes with their stores, a process that writes into the
groups of a queue, and processes that claim, work and acknowledge. Some give
back, some extend, and some acknowledge too late, which must be refused. Holders
are killed in the middle of their work and replaced, leaders are killed and
started again all the while. When the queue is empty, what each process has
recorded is compared with the others, with the grid and with the stores.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.runWork(c.Context(), f.workFlags, func(ctx context.Context, w *work) error { return w.claims(ctx, &f) })
		},
	}
	f.register(c)
	p := c.Flags()
	p.IntVar(&f.holders, "holders", 6, "holder processes")
	p.IntVar(&f.hands, "hands", 8, "claims that a holder has at once")
	p.IntVar(&f.groups, "groups", 500, "groups of the queue")
	p.IntVar(&f.rate, "rate", 300, "entries written a second")
	p.DurationVar(&f.strikeOnce, "kill-holder-every", 2*time.Second, "pause between the kills of holders")
	c.AddCommand(a.claimsHolderCommand(), a.claimsWriterCommand())
	return c
}

// claims runs the load, judges it and reports.
func (w *work) claims(ctx context.Context, f *claimsFlags) error {
	var r claimsReport
	c := &crew{work: w, flags: f}
	v, err := w.claimsJudged(ctx, c, &r)
	r.LeadersKilled, r.TakeoverMS = w.killer.killed, w.killer.longest().Milliseconds()
	r.Verdict = w.verdict(err, v.OK())
	return w.conclude(&r, r.Verdict, v.Complaints, err)
}

func (w *work) claimsJudged(ctx context.Context, c *crew, r *claimsReport) (check.ClaimVerdict, error) {
	if err := w.claimsLoad(ctx, c); err != nil {
		return check.ClaimVerdict{}, err
	}
	if err := w.settled(ctx); err != nil {
		return check.ClaimVerdict{}, err
	}
	left, partitions, err := w.contents(ctx, errandSpace, deadSpace)
	if err != nil {
		return check.ClaimVerdict{}, err
	}
	h, tally, err := c.history(left)
	if err != nil {
		return check.ClaimVerdict{}, err
	}
	v := check.Claims(h)
	r.Written, r.Claimed, r.Acked, r.Resolved = v.Written, v.Claimed, v.Acked, v.Resolved
	r.Lost, r.DoublyAcked, r.OutOfOrder = v.Lost, v.DoublyAcked, v.OutOfOrder
	r.StaleAcks, r.TokensBack, r.Regranted, r.Phantom = v.StaleAcks, v.TokensBack, v.Regranted, v.Phantom
	r.DeadLettered, r.Left, r.Groups = v.Dead, v.Left, tally.groups
	r.RefusedLateAcks, r.Nacked, r.Extended = tally.refusedLate, tally.nacked, tally.extended
	r.HoldersKilled, r.Abandoned = tally.killed, tally.abandoned
	r.Seconds = c.flags.duration.Seconds()
	r.ClaimsPerS = float64(v.Claimed) / r.Seconds
	c.demand(r)
	r.StoresDiffer, err = w.storesDiffer(ctx, left, partitions)
	return v, err
}

// demand adds a defect for everything that should have happened and did not: a run
// in which nobody came too late proves nothing about those who do.
func (c *crew) demand(r *claimsReport) {
	c.work.enough("claims", r.ClaimsPerS)
	if r.Left > 0 {
		c.work.defectf("%d entries are left, though holders went on until they found none", r.Left)
	}
	if least := c.flags.minKills(); r.HoldersKilled < least {
		c.work.defectf("%d holders were killed in the middle of their work, and %d is the least", r.HoldersKilled, least)
	}
	for what, n := range map[string]int{
		"late acknowledgements refused": r.RefusedLateAcks,
		"claims given back":             r.Nacked, "claims extended": r.Extended, "dead letters": r.DeadLettered,
	} {
		if n == 0 {
			c.work.defectf("no %s", what)
		}
	}
}

// claimsLoad runs writer and holders, with kills of both kinds, until the queue is
// empty.
func (w *work) claimsLoad(ctx context.Context, c *crew) error {
	f := c.flags
	if err := w.makeErrands(ctx); err != nil {
		return err
	}
	writer, err := w.client("writer", "trial", "claims", "writer", "--duration", f.duration.String(),
		"--rate", strconv.Itoa(f.rate), "--groups", strconv.Itoa(f.groups), "--writes", w.path("writes"))
	if err != nil {
		return err
	}
	for range f.holders {
		if err := c.hire(); err != nil {
			return err
		}
	}
	w.sayf("%d holder processes with %d claims each, and one that writes, for %s", f.holders, f.hands, f.duration)
	load, cancel := context.WithTimeout(ctx, f.duration)
	defer cancel()
	var killing sync.WaitGroup
	var holdersErr error
	killing.Go(func() { holdersErr = c.strikes(load) })
	err = w.killer.run(load, ctx)
	cancel()
	killing.Wait()
	if err != nil {
		return err
	}
	if holdersErr != nil {
		return holdersErr
	}
	if _, err := writer.Output(ctx); err != nil {
		return fmt.Errorf("the writer: %w", err)
	}
	w.sayf("%d holders were killed; the load has ended; the others empty the queue", c.struck)
	if err := w.onlyVisible(ctx, deadSpace); err != nil {
		w.defectf("the queue is not empty: %v", err)
	}
	return c.dismiss(ctx)
}
