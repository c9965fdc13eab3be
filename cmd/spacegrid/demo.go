package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// The times of the demo.
const (
	quietTime    = 2 * time.Second
	lateTime     = 20 * time.Second // for the crowd to be served after the last arrival
	deadTime     = 3 * time.Second  // between the kill and the restart
	gapTime      = 5 * time.Second  // after the kill, in which the gap is looked for
	pumpTime     = 20 * time.Second
	demoTime     = 85 * time.Second // for all of it, with the default burst
	windows      = 4                // connections that the buyers share
	bulkBatch    = 2000             // seats put on sale at once
	minHouse     = 100
	killAfter    = 0.4 // part of the burst that is over when the leader is killed
	maxDemoSeats = 1_000_000
	// noDisks leaves the members' folders on the file system that there is.
	noDisks = -1
)

type demoFlags struct {
	seats   int
	buyers  int
	members int
	seconds int
	seed    uint64
	keep    bool
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a ticket on-sale over three processes, one of them killed",
		Long: `Put the seats of a venue on sale in a grid of three member processes, let a
crowd of buyers in, kill the process that leads most of the sales, start it
again, and prove from the buyers' receipts and from the stores on disk that no
seat was sold twice and no sale was lost. Everything runs on loopback, with its
data in a temporary folder that is removed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c.Flags().Changed("seed")); err != nil {
				return err
			}
			return a.demo(c.Context(), f)
		},
	}
	p := c.Flags()
	p.IntVar(&f.seats, "seats", 30000, "seats of the venue")
	p.IntVar(&f.buyers, "buyers", 9000, "buyers in the burst")
	p.IntVar(&f.members, "members", 3, "member processes, 3 to 5")
	p.IntVar(&f.seconds, "seconds", 12, "length of the burst")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the buyers' arrivals and choices (default: drawn)")
	p.BoolVar(&f.keep, "keep", false, "leave the data folder, with the members' logs")
	c.AddCommand(a.demoMemberCommand())
	return c
}

func (f *demoFlags) check(seeded bool) error {
	switch {
	case f.seats < minHouse || f.seats > maxDemoSeats:
		return usagef("--seats %d: %d to %d", f.seats, minHouse, maxDemoSeats)
	case f.buyers < 1 || f.buyers > maxDemoSeats:
		return usagef("--buyers %d: 1 to %d", f.buyers, maxDemoSeats)
	case f.members < 3 || f.members > 5:
		return usagef("--members %d: 3 to 5, or there is no majority when one is killed", f.members)
	case f.seconds < 1 || f.seconds > 600:
		return usagef("--seconds %d: 1 to 600", f.seconds)
	}
	if !seeded {
		f.seed = rand.Uint64N(1 << 32)
	}
	return nil
}

// demo runs the on-sale and reports on it.
func (a *app) demo(ctx context.Context, f demoFlags) (err error) {
	burst := time.Duration(f.seconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, demoTime+max(0, 3*(burst-12*time.Second)))
	defer cancel()
	folder, err := os.MkdirTemp("", "spacegrid-demo-")
	if err != nil {
		return err
	}
	lc, err := lab.Open(ctx, lab.Config{Folder: folder, Members: f.members, Command: []string{"demo", "member"}, Flags: []string{"--durability", "disk"}, DiskBytes: noDisks})
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	d := &demo{flags: f, burst: burst, cluster: lc, ledger: newLedger(), start: time.Now()}
	for _, s := range venue(f.seats) {
		d.house = append(d.house, s.ID)
	}
	d.crowd = &crowd{seats: newSeatMap(d.house), ledger: d.ledger, seed: f.seed}
	d.screen = newScreen(a.err, d.sample)
	defer func() {
		err = errors.Join(err, lc.End())
		if f.keep {
			a.notef("the data is in %s", folder)
			return
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	err = d.run(ctx)
	d.screen.close()
	d.hangUp()
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		return err
	}
	return a.reportDemo(d)
}

func (a *app) reportDemo(d *demo) error {
	r := d.report()
	if err := a.show(r, r.summary()); err != nil {
		return err
	}
	for _, c := range d.verdict.complaints {
		a.notef("violation: %s", c)
	}
	if d.ledger.firstFail != nil {
		a.notef("first request without an answer: %v", d.ledger.firstFail)
	}
	if r.OK {
		return nil
	}
	a.notef("the demo failed, seed %d", r.Seed)
	return &quietError{exitError}
}

// demo is one on-sale.
type demo struct {
	flags   demoFlags
	burst   time.Duration
	cluster *lab.Lab
	house   []string // keys of all seats
	crowd   *crowd
	ledger  *ledger
	screen  *screen
	start   time.Time

	opened    time.Time // the burst began
	victim    *lab.Member
	led       map[space.PartitionID]bool // what the victim led when it was killed
	ledGroups int
	killedAt  time.Time
	backlog   uint64
	verdict   verdict
}

func (d *demo) run(ctx context.Context) error {
	d.screen.sayf("starting %d member processes", d.flags.members)
	if err := d.cluster.StartAll(); err != nil {
		return err
	}
	for _, m := range d.cluster.All() {
		if err := m.Process().AwaitLine(ctx, deployedLine); err != nil {
			return err
		}
	}
	if _, err := d.cluster.AwaitSpread(ctx, 2); err != nil {
		return err
	}
	for range windows {
		g, err := grid.Dial(ctx, d.cluster.Addrs()...)
		if err != nil {
			return err
		}
		d.crowd.windows = append(d.crowd.windows, g)
	}
	d.screen.sayf("putting %d seats on sale", len(d.house))
	if err := d.putOnSale(ctx); err != nil {
		return err
	}
	if err := d.sale(ctx); err != nil {
		return err
	}
	return d.prove(ctx)
}

// putOnSale creates the space and writes every seat.
func (d *demo) putOnSale(ctx context.Context) error {
	g := d.crowd.windows[0]
	s, err := grid.OpenSpace[seat](ctx, g, seatSpace)
	if err != nil {
		return err
	}
	def := s.Definition()
	for seats := range slices.Chunk(venue(d.flags.seats), bulkBatch) {
		b := g.NewBatch()
		for i := range seats {
			value, err := grid.Marshal(seats[i])
			if err != nil {
				return err
			}
			b.Do(space.Op{Code: space.OpWrite, Mode: space.ModeInsert, Space: def.ID, Kind: grid.Fields, Key: []byte(seats[i].ID), Value: value})
		}
		if err := g.Run(ctx, b); err != nil {
			return err
		}
		for i := range seats {
			if _, err := b.Result(i); err != nil {
				return fmt.Errorf("put seat %s on sale: %w", seats[i].ID, err)
			}
		}
	}
	return nil
}

// sale lets the crowd in, kills a leader and starts it again, and returns when the
// last buyer has left.
func (d *demo) sale(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	refreshing := make(chan struct{})
	go func() {
		defer close(refreshing)
		for ctx.Err() == nil {
			d.crowd.seats.refresh()
			time.Sleep(mapEvery)
		}
	}()
	defer func() { <-refreshing }()
	defer cancel()

	quiet := int(quietBuyers * quietTime.Seconds())
	d.screen.sayf("the friends of the house buy first: %d a second", quietBuyers)
	d.crowd.arrive(ctx, 0, quiet, quietTime)
	d.screen.sayf("the doors open: %d buyers in %s", d.flags.buyers, d.burst)
	d.opened = time.Now()
	trouble := make(chan error, 1)
	go func() { trouble <- d.trouble(ctx) }()
	d.crowd.arrive(ctx, quiet, d.flags.buyers, d.burst)
	left := make(chan struct{})
	go func() { d.crowd.wg.Wait(); close(left) }()
	select {
	case <-left:
	case <-time.After(lateTime):
		d.screen.sayf("time is up, the doors close")
	}
	err := <-trouble // first the dead member has to be back
	cancel()
	<-left
	return err
}

// trouble kills the leader of the most groups and starts it again.
func (d *demo) trouble(ctx context.Context) error {
	if !sleep(ctx, time.Duration(killAfter*float64(d.burst))) {
		return ctx.Err()
	}
	// On a busy machine a group may just be changing its leader.
	led, err := d.cluster.AwaitSpread(ctx, 1)
	if err != nil {
		return fmt.Errorf("before the kill: %w", err)
	}
	d.victim = d.cluster.Busiest(led)
	d.led = map[space.PartitionID]bool{}
	state := d.crowd.windows[0].Router().State()
	for p, g := range state.Table {
		if slices.Contains(led[d.victim.Name()], int(g)) {
			d.led[space.PartitionID(p)] = true
		}
	}
	d.ledGroups = len(led[d.victim.Name()])
	d.screen.sayf("kill -9 %d: member %s, which leads %d of %d groups", d.victim.PID(), d.victim.Name(), d.ledGroups, groupCount(state))
	d.killedAt = time.Now()
	d.victim.Kill()
	if !sleep(ctx, deadTime) {
		return ctx.Err()
	}
	d.screen.sayf("starting member %s again", d.victim.Name())
	if err := d.victim.Start(); err != nil {
		return err
	}
	return d.victim.Process().AwaitLine(ctx, deployedLine)
}

func groupCount(s *cluster.State) int { return len(s.Groups) }

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// prove waits until the pump has nothing to do, reads everything back and judges.
func (d *demo) prove(ctx context.Context) error {
	d.screen.sayf("the sale is over: waiting for the member that came back, and for the pump")
	if err := d.cluster.AwaitReady(ctx); err != nil {
		return err
	}
	if err := d.cluster.AwaitAligned(ctx, pumpTime); err != nil {
		return err
	}
	var err error
	if d.backlog, err = d.cluster.AwaitPump(ctx, pumpTime); err != nil {
		return err
	}
	d.screen.sayf("reading every seat from the grid")
	e := evidence{seats: d.house, stores: map[string]soldRows{}, errors: map[string]error{}}
	rows, err := gridSpace(ctx, d.crowd.windows[0], seatSpace)
	if err != nil {
		return err
	}
	if e.grid, err = seatRows(rows); err != nil {
		return err
	}
	d.screen.sayf("stopping the members, to read their stores from disk")
	if err := d.cluster.StopAll(); err != nil {
		return err
	}
	for _, m := range d.cluster.All() {
		seats, err := readStore(ctx, m.StoreDir(), d.crowd.windows[0].Partitions())
		if err != nil {
			e.errors[m.Name()] = err
			continue
		}
		e.stores[m.Name()] = seats
	}
	for i := range d.ledger.receipts {
		e.receipts = append(e.receipts, d.ledger.receipts[i].claim)
	}
	e.unclear = d.ledger.unclear
	d.verdict = judge(&e)
	return nil
}

func readStore(ctx context.Context, dir string, partitions int) (soldRows, error) {
	rows, err := scanStore(ctx, dir, seatSpace, partitions)
	if err != nil {
		return nil, err
	}
	return seatRows(rows)
}

func (d *demo) hangUp() {
	for _, g := range d.crowd.windows {
		// Everything that it was asked for has been answered.
		_ = g.Close()
	}
}

// sample is what the screen shows.
func (d *demo) sample() sample {
	s := sample{
		arrived: d.crowd.arrived.Load(), inside: d.crowd.inside.Load(),
		free: len(*d.crowd.seats.free.Load()), tally: d.ledger.tally(),
	}
	s.members = d.cluster.States()
	return s
}

// report puts the results together.
func (d *demo) report() *demoReport {
	t, v := d.ledger.tally(), &d.verdict
	partitions := d.crowd.windows[0].Partitions()
	gap := longestGap(d.ledger.receipts, func(r *receipt) bool {
		return d.led[space.PartitionOf([]byte(r.seat), partitions)]
	}, d.killedAt, d.killedAt.Add(gapTime))
	r := &demoReport{
		Members: d.flags.members, Seats: d.flags.seats, Buyers: int(d.crowd.arrived.Load()),
		Sold: v.sold, Acknowledged: t.sold, DoubleSold: v.doubleSold, AcknowledgedLost: v.lost, Phantom: v.phantom,
		MissingSeats: v.missing, Refused: t.refused, Failed: t.failed, Indeterminate: t.unclear, IndeterminateWon: v.resolved,
		Killed: d.cluster.Killed(), GroupsLed: d.ledGroups, WriteGapMS: gap.Milliseconds(), PumpBacklog: d.backlog,
		StoreMatches: v.storeMatches() && v.storesRead == d.flags.members, StoresRead: v.storesRead, StoreDifferences: v.storeDifferences,
		QuietPerSecond: quietBuyers, BurstPerSecond: d.flags.buyers / d.flags.seconds,
		P50MS: milliseconds(t.p50), P99MS: milliseconds(t.p99), Seconds: time.Since(d.start).Round(time.Millisecond).Seconds(), Seed: d.flags.seed,
	}
	if n := len(d.ledger.receipts); n > 0 {
		if took := d.ledger.receipts[n-1].at.Sub(d.opened); took > 0 {
			r.SalesPerSecond = int(float64(n) / took.Seconds())
		}
	}
	r.OK = v.ok() && r.StoreMatches && r.PumpBacklog == 0 && r.Killed == 1
	return r
}
