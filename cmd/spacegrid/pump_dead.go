package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

func (a *app) pumpDeadCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "List, show, replay or drop the changes that a sink has refused",
		Long: `A sink may refuse a change for good: a constraint, a value that a column cannot
hold. The change is then kept as a dead letter, and so are later changes of its
key; everything else flows. Put right what the reason says and replay the letter,
or drop it: then the changes that wait for it go on without it. A letter is named
PARTITION:SEQ.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.deadListCommand(), a.deadShowCommand(),
		a.deadSettleCommand("replay", "Have the sink take a dead letter after all, and what waits for it", (*grid.Grid).ReplayDeadLetter),
		a.deadSettleCommand("drop", "Give a dead letter up; what waits for it goes on", (*grid.Grid).DropDeadLetter))
	return c
}

// letterView is a dead letter as JSON shows it.
type letterView struct {
	ID     string    `json:"id"`
	State  string    `json:"state"` // refused, or parked behind one that was
	Space  string    `json:"space"`
	Key    string    `json:"key"`
	Op     string    `json:"op"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Value  string    `json:"value,omitempty"`
}

func viewLetter(l *grid.DeadLetter) letterView {
	state := "refused"
	if l.Parked {
		state = "parked"
	}
	return letterView{
		ID: fmt.Sprintf("%d:%d", l.Partition, l.Seq), State: state, Space: l.Space, Key: readable(l.Key), Op: l.Op,
		At: l.At.UTC(), Reason: l.Reason,
	}
}

// readable returns bytes as text, quoted in the way of Go if they are none.
func readable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strconv.Quote(string(b))
}

func (a *app) deadListCommand() *cobra.Command {
	var after string
	var limit int
	c := &cobra.Command{
		Use:   "list SINK",
		Short: "List the dead letters of a sink, by partition and number",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := letterID(after)
			if err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				letters, err := g.DeadLetters(ctx, args[0], id, limit)
				if err != nil {
					return err
				}
				views := make([]letterView, len(letters))
				t := &table{header: []string{"LETTER", "STATE", "SPACE", "KEY", "CHANGE", "SINCE", "REASON"}}
				for i := range letters {
					v := viewLetter(&letters[i])
					views[i] = v
					t.add(v.ID, v.State, v.Space, v.Key, v.Op, v.At.Format(time.RFC3339), v.Reason)
				}
				if err := a.show(views, t); err != nil {
					return err
				}
				if len(letters) == limit {
					a.notef("there may be more: --after %s", views[len(views)-1].ID)
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&after, "after", "0:0", "letters behind this one")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 1000")
	return c
}

func (a *app) deadShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show SINK LETTER",
		Short: "Show a dead letter with its value",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := letterID(args[1])
			if err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				before := id
				before.Seq--
				letters, err := g.DeadLetters(ctx, args[0], before, 1)
				if err != nil {
					return err
				}
				if len(letters) == 0 || letters[0].DeadLetterID != id {
					return &space.Error{Code: space.CodeNotFound, Detail: fmt.Sprintf("there is no dead letter %s", args[1]), Hint: "spacegrid pump dead list " + args[0]}
				}
				v := viewLetter(&letters[0])
				v.Value = letterText(letters[0].Value)
				t := &table{header: []string{"FIELD", "IS"}}
				for _, row := range [][2]string{
					{"letter", v.ID}, {"state", v.State}, {"reason", v.Reason}, {"since", v.At.Format(time.RFC3339)},
					{"space", v.Space}, {"key", v.Key}, {"change", v.Op}, {"value", v.Value},
				} {
					t.add(row[0], row[1])
				}
				return a.show(v, t)
			})
		},
	}
}

// letterText returns a value for people: JSON if it holds fields.
func letterText(value []byte) string {
	if b, err := msgp.AppendJSON(nil, value); err == nil && len(value) > 0 && value[0] >= 0x80 {
		return string(b)
	}
	return readable(value)
}

func (a *app) deadSettleCommand(verb, short string, do func(*grid.Grid, context.Context, string, grid.DeadLetterID) error) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   verb + " SINK [LETTER...]",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 1) {
				return usagef("name letters, or say --all")
			}
			var ids []grid.DeadLetterID
			for _, s := range args[1:] {
				id, err := letterID(s)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				if all {
					return a.settleAll(ctx, g, args[0], do)
				}
				var failed error
				for _, id := range ids {
					failed = errors.Join(failed, do(g, ctx, args[0], id))
				}
				return failed
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all letters that were refused")
	return c
}

// settleAll settles every letter that is at fault, and goes on after one that is
// refused again.
func (a *app) settleAll(ctx context.Context, g *grid.Grid, sink string, do func(*grid.Grid, context.Context, string, grid.DeadLetterID) error) error {
	settled, kept := 0, 0
	for after := (grid.DeadLetterID{}); ; {
		letters, err := g.DeadLetters(ctx, sink, after, 100)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			break
		}
		for i := range letters {
			after = letters[i].DeadLetterID
			if letters[i].Parked {
				continue
			}
			switch err := do(g, ctx, sink, after); {
			case err == nil:
				settled++
			case errors.Is(err, grid.ErrConflict), errors.Is(err, grid.ErrNotFound):
				kept++
				a.notef("%d:%d: %v", after.Partition, after.Seq, err)
			default:
				return err
			}
		}
	}
	a.notef("%d settled, %d not", settled, kept)
	if kept > 0 {
		return &quietError{exitConflict}
	}
	return nil
}

// letterID reads PARTITION:SEQ.
func letterID(s string) (grid.DeadLetterID, error) {
	left, right, ok := strings.Cut(s, ":")
	p, err := strconv.ParseUint(left, 10, 16)
	seq, err2 := strconv.ParseUint(right, 10, 64)
	if !ok || err != nil || err2 != nil {
		return grid.DeadLetterID{}, usagef("a letter is named PARTITION:SEQ, such as 17:4711, not %q", s)
	}
	return grid.DeadLetterID{Partition: space.PartitionID(p), Seq: space.Seq(seq)}, nil
}
