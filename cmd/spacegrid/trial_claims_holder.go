package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// claimWait is how long a holder waits for something to claim.
	claimWait = 500 * time.Millisecond
	// workMax bounds the work on one claim, and nackDelay how long what is given
	// back rests.
	workMax   = 20 * time.Millisecond
	nackDelay = 50 * time.Millisecond
	// tooLate is how long after the end of its claim a late acknowledgement comes.
	tooLate = 500 * time.Millisecond
)

// What holders do otherwise than to work and acknowledge, each in so many of a
// hundred claims.
const (
	nackPercent   = 5
	extendPercent = 5
	latePercent   = 1
)

// What a line of a holder's history is about.
const (
	doClaim  = "claim"
	doWork   = "work" // it has ended
	doAck    = "ack"  // twice: before it is sent, and with the answer
	doNack   = "nack"
	doExtend = "extend"
)

// holderLine is one line of a holder's history.
type holderLine struct {
	Do string `json:"do"`
	check.Job
	Token   check.Token   `json:"token"`
	Asked   int64         `json:"asked"`
	Got     int64         `json:"got,omitempty"`
	Outcome check.Outcome `json:"outcome"`
	Late    bool          `json:"late,omitempty"`
}

func (a *app) claimsHolderCommand() *cobra.Command {
	var name, history string
	var hands int
	c := &cobra.Command{
		Use:    "holder",
		Short:  "Claim and work for a run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return a.holdClaims(c.Context(), history, hands) },
	}
	p := c.Flags()
	p.StringVar(&name, "name", "", "what it is called")
	p.IntVar(&hands, "hands", 1, "claims at once")
	p.StringVar(&history, "history", "", "file for its history")
	return c
}

// holdClaims claims until standard input ends, and ends what it has begun.
func (a *app) holdClaims(ctx context.Context, history string, hands int) (err error) {
	log, err := openWorkLog(history)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	s, err := grid.OpenSpace[errand](ctx, g, errandSpace)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		// Whatever ends the input means the same.
		_, _ = io.Copy(io.Discard, a.in)
	}()
	h := &holder{space: s, log: log, begun: sync.OnceFunc(func() { fmt.Fprintln(a.out, "working") })}
	var all sync.WaitGroup
	for i := range hands {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := h.one(ctx, n); err != nil {
					fail(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// holder is the state of a holder process.
type holder struct {
	space *grid.Space[errand]
	log   *workLog
	begun func()
}

// heldErrand is a claim with the line of its history.
type heldErrand struct {
	claim *grid.Held[errand]
	line  holderLine
}

// one claims an errand if there is one, works on it and ends the claim somehow.
func (h *holder) one(ctx context.Context, n int) error {
	c, err := h.claim(ctx, n)
	if err != nil || c == nil {
		return err
	}
	h.begun()
	dice := rand.IntN(100)
	if dice < extendPercent {
		if err := h.ask(ctx, c, doExtend, func(ctx context.Context) error { return c.claim.Extend(ctx, claimLease) }); err != nil {
			return err
		}
	}
	time.Sleep(rand.N(workMax))
	late := dice >= 100-latePercent
	if late {
		time.Sleep(claimLease + tooLate)
	}
	c.line.Do, c.line.Late = doWork, late
	if err := h.log.note(&c.line); err != nil {
		return err
	}
	if c.claim.Value.Poison || !late && dice >= 100-latePercent-nackPercent {
		o := grid.NackOptions{Delay: nackDelay}
		if c.claim.Value.Poison {
			o.Delay = 0
		}
		return h.ask(ctx, c, doNack, func(ctx context.Context) error { return c.claim.Nack(ctx, o) })
	}
	return h.acknowledge(ctx, c)
}

// claim claims the next errand of a lane; nil if there is none.
func (h *holder) claim(ctx context.Context, n int) (*heldErrand, error) {
	request, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	line := holderLine{Do: doClaim, Asked: time.Now().UnixNano(), Outcome: check.Done}
	held, err := h.space.ClaimMatch(request, grid.Template{"lane": errandLane(n)}, grid.ClaimOptions{Wait: claimWait})
	if err != nil {
		// A claim without an answer lapses by itself: nobody can end it.
		_, err = outcomeOf(err)
		return nil, err
	}
	line.Got = time.Now().UnixNano()
	line.Job, line.Token = held.Value.job(), check.Token{Epoch: uint64(held.Token.Epoch), Number: uint64(held.Token.Number)}
	return &heldErrand{claim: held, line: line}, h.log.note(&line)
}

// ask makes a request about a claim and notes it before and after.
func (h *holder) ask(ctx context.Context, c *heldErrand, do string, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	c.line.Do, c.line.Outcome, c.line.Asked, c.line.Got = do, check.Unknown, time.Now().UnixNano(), 0
	if err := h.log.note(&c.line); err != nil {
		return err
	}
	err := request(ctx)
	c.line.Got = time.Now().UnixNano()
	if errors.Is(err, grid.ErrFenced) {
		c.line.Outcome = check.Refused
	} else if c.line.Outcome, err = outcomeOf(err); err != nil {
		return fmt.Errorf("%s of %+v: %w", do, c.line.Job, err)
	}
	return h.log.note(&c.line)
}
