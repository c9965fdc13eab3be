package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
)

// told is what one member says of itself, or why it does not.
type told[T any] struct {
	Member string `json:"member"`
	Error  string `json:"error,omitempty"`
	Answer T      `json:"answer,omitzero"`
}

// askAll asks every member of the cluster about itself.
func askAll[T any](ctx context.Context, g *grid.Grid, what string) []told[T] {
	members := g.Router().State().Members
	all := make([]told[T], len(members))
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() {
			id := members[i].ID
			all[i].Member = string(id)
			if err := ask(ctx, g, id, what, &all[i].Answer); err != nil {
				all[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	return all
}

func ask(ctx context.Context, g *grid.Grid, id cluster.MemberID, what string, answer any) error {
	svc, err := g.Router().Member(ctx, id)
	if err != nil {
		return err
	}
	b, err := svc.Inspect(ctx, what)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, answer)
}

// statusView is what a member answers about itself.
type statusView struct {
	Member  string `json:"member"`
	Cluster string `json:"cluster"`
	Formed  bool   `json:"formed"`
	Ready   bool   `json:"ready"`
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Groups  []struct {
		Group      uint32 `json:"group"`
		Role       string `json:"role"`
		Serving    bool   `json:"serving"`
		Term       uint64 `json:"term"`
		Leader     string `json:"leader"`
		Applied    uint64 `json:"applied"`
		Partitions int    `json:"partitions"`
	} `json:"groups"`
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the grid is: members, groups, leaders, entries",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				all := askAll[statusView](ctx, g, "status")
				t := &table{header: []string{"MEMBER", "GROUP", "ROLE", "LEADER", "TERM", "APPLIED", "PARTITIONS"}}
				for i := range all {
					m := &all[i]
					if m.Error != "" {
						t.add(m.Member, "-", "unreachable", "-", "-", "-", "-")
						continue
					}
					for _, x := range m.Answer.Groups {
						t.add(m.Member, x.Group, x.Role, x.Leader, x.Term, x.Applied, x.Partitions)
					}
				}
				return errors.Join(a.show(all, t), silent(a, all))
			})
		},
	}
}

// silent says which members did not answer, and makes the command end with the
// status for that.
func silent[T any](a *app, all []told[T]) error {
	n := 0
	for i := range all {
		if all[i].Error != "" {
			n++
			a.notef("%s does not answer: %s", all[i].Member, all[i].Error)
		}
	}
	if n == 0 {
		return nil
	}
	a.notef("%d of %d members do not answer: start them again, or look at their logs", n, len(all))
	return &quietError{exitUnavailable}
}

func (a *app) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the members of the cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				type view struct {
					Name  string `json:"name"`
					State string `json:"state"`
					Voter bool   `json:"voter"`
					Peer  string `json:"peer"`
					RESP  string `json:"resp,omitempty"`
					HTTP  string `json:"http,omitempty"`
					Zone  string `json:"zone,omitempty"`
				}
				var views []view
				t := &table{header: []string{"NAME", "STATE", "VOTER", "MEMBERS", "REDIS", "HTTP", "ZONE"}}
				for _, m := range g.Router().State().Members {
					views = append(views, view{string(m.ID), m.State.String(), m.Voter, m.Peer, m.RESP, m.HTTP, m.Zone})
					t.add(m.ID, m.State, m.Voter, m.Peer, m.RESP, m.HTTP, m.Zone)
				}
				return a.show(views, t)
			})
		},
	}
}
