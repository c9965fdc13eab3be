package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/check"
)

// takesReport is the last line of a run of takes. Its names are part of the
// interface.
type takesReport struct {
	Written       int     `json:"written"`
	Taken         int     `json:"taken"`
	Left          int     `json:"left"`
	Duplicated    int     `json:"duplicated"`
	Lost          int     `json:"lost"`
	Indeterminate int     `json:"indeterminate"`
	Phantom       int     `json:"phantom"`
	Altered       int     `json:"altered"`
	Unanswered    int     `json:"unanswered"` // requests, before anybody looked
	Resolved      int     `json:"resolved"`   // of these, by looking
	StoresDiffer  int     `json:"store_differences"`
	Partitions    int     `json:"partitions"` // that entries lay in
	LeadersKilled int     `json:"leaders_killed"`
	TakeoverMS    int64   `json:"longest_takeover_ms"`
	TakesPerS     float64 `json:"takes_per_s"`
	Seconds       float64 `json:"seconds"` // of the load
	Verdict       string  `json:"verdict"`
}

type takesFlags struct {
	workFlags
	takers  int
	writers int
}

func (a *app) trialTakesCommand() *cobra.Command {
	var f takesFlags
	c := &cobra.Command{
		Use:   "takes",
		Short: "Take entries by template while leaders are killed, and look whether each was handed out once",
		Long: `Start three member processes with their stores, and one client process with
writers and takers. Writers write entries under keys of their own, all over the
partitions; takers ask for any entry of a kind, by an index and without saying
where. Leaders are killed and started again all the while. When the load has
ended the takers empty the space, and what each client has recorded is compared
with the others, with the grid and with the stores.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.runWork(c.Context(), f.workFlags, func(ctx context.Context, w *work) error { return w.takes(ctx, f) })
		},
	}
	f.register(c)
	c.Flags().IntVar(&f.takers, "takers", 64, "takers at once")
	c.Flags().IntVar(&f.writers, "writers", 64, "writers at once")
	c.AddCommand(a.takesClientCommand())
	return c
}

// takes runs the load, judges it and reports.
func (w *work) takes(ctx context.Context, f takesFlags) error {
	var r takesReport
	v, err := w.takesJudged(ctx, f, &r)
	r.LeadersKilled, r.TakeoverMS = w.killer.killed, w.killer.longest().Milliseconds()
	r.Verdict = w.verdict(err, v.OK())
	return w.conclude(&r, r.Verdict, v.Complaints, err)
}

func (w *work) takesJudged(ctx context.Context, f takesFlags, r *takesReport) (check.TakeVerdict, error) {
	if err := w.takesLoad(ctx, f); err != nil {
		return check.TakeVerdict{}, err
	}
	if err := w.onlyVisible(ctx, parcelSpace); err != nil {
		w.defectf("entries are held though nobody takes: %v", err)
	}
	if err := w.drainParcels(ctx); err != nil {
		return check.TakeVerdict{}, err
	}
	if err := w.settled(ctx); err != nil {
		return check.TakeVerdict{}, err
	}
	left, partitions, err := w.contents(ctx, parcelSpace)
	if err != nil {
		return check.TakeVerdict{}, err
	}
	h, keys, err := w.takeHistory(left[parcelSpace])
	if err != nil {
		return check.TakeVerdict{}, err
	}
	v := check.Takes(h)
	r.Written, r.Taken, r.Left, r.Resolved = v.Written, v.Taken, v.Left, v.Resolved
	r.Duplicated, r.Lost, r.Indeterminate, r.Phantom, r.Altered = v.Duplicated, v.Lost, v.Indeterminate, v.Phantom, v.Altered
	r.Unanswered = unanswered(h)
	r.Seconds = f.duration.Seconds()
	r.TakesPerS = float64(v.Taken) / r.Seconds
	r.Partitions = partitionsOf(keys, partitions)
	if r.Partitions < partitions/2 {
		w.defectf("entries lay in %d of %d partitions only", r.Partitions, partitions)
	}
	if v.Left > 0 {
		w.defectf("%d entries are left, though takers and this process went on until they found none", v.Left)
	}
	w.enough("takes", r.TakesPerS)
	r.StoresDiffer, err = w.storesDiffer(ctx, left, partitions)
	return v, err
}

// takesLoad runs the client, and kills leaders while its load lasts.
func (w *work) takesLoad(ctx context.Context, f takesFlags) error {
	g, err := grid.Dial(ctx, w.cluster.Addrs()...)
	if err != nil {
		return err
	}
	_, err = grid.OpenSpace[parcel](ctx, g, parcelSpace)
	if err = errors.Join(err, g.Close()); err != nil {
		return err
	}
	c, err := w.client("client", "trial", "takes", "client", "--duration", f.duration.String(),
		"--takers", strconv.Itoa(f.takers), "--writers", strconv.Itoa(f.writers), "--writes", w.path("writes"), "--takes", w.path("takes"))
	if err != nil {
		return err
	}
	w.sayf("%d takers and %d writers in one process beside this one, for %s", f.takers, f.writers, f.duration)
	load, cancel := context.WithTimeout(ctx, f.duration)
	defer cancel()
	if err := w.killer.run(load, ctx); err != nil {
		return err
	}
	w.sayf("the load has ended; the takers empty the space")
	draining, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if _, err := c.Output(draining); err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	return nil
}

// drainParcels takes what came back after the takers had gone: a take that is given
// up while it waits may have held an entry until then.
func (w *work) drainParcels(ctx context.Context) (err error) {
	log, err := openWorkLog(w.path("takes"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	g, err := grid.Dial(ctx, w.cluster.Addrs()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	s, err := grid.OpenSpace[parcel](ctx, g, parcelSpace)
	if err != nil {
		return err
	}
	for i := 0; i < parcelKinds; {
		p, err := s.TakeMatch(ctx, grid.Template{"kind": parcelKind(i)})
		if errors.Is(err, grid.ErrNotFound) {
			i++
			continue
		}
		if err == nil {
			err = log.note(&check.Take{Wanted: parcelKind(i), Outcome: check.Done, Entry: p.entry()})
		}
		if err != nil {
			return fmt.Errorf("empty the space: %w", err)
		}
	}
	return nil
}

// takeHistory reads what the client has recorded.
func (w *work) takeHistory(left map[string]workload.StoredEntry) (h *check.TakeHistory, keys []string, err error) {
	h = &check.TakeHistory{}
	if h.Writes, err = readWorkLog[check.Write](w.path("writes")); err != nil {
		return nil, nil, err
	}
	if h.Takes, err = readWorkLog[check.Take](w.path("takes")); err != nil {
		return nil, nil, err
	}
	for key, row := range left {
		var p parcel
		if err := grid.Unmarshal(row.Value, &p); err != nil {
			return nil, nil, fmt.Errorf("entry %q: %w", key, err)
		}
		h.Left = append(h.Left, p.entry())
	}
	for i := range h.Writes {
		keys = append(keys, h.Writes[i].Key)
	}
	return h, keys, nil
}

// unanswered counts the requests whose clients did not know what became of them.
func unanswered(h *check.TakeHistory) int {
	n := 0
	for i := range h.Writes {
		if h.Writes[i].Outcome == check.Unknown {
			n++
		}
	}
	for i := range h.Takes {
		if h.Takes[i].Outcome == check.Unknown {
			n++
		}
	}
	return n
}
