package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/spacegrid/spacegrid/gateway/resp"
	"github.com/spacegrid/spacegrid/grid"
)

// startInside opens the members in this process, each with its door for Redis
// clients.
func (m *members) startInside(ctx context.Context) error {
	grids := make([]*grid.Grid, len(m.plans))
	errs := make([]error, len(m.plans))
	var wg sync.WaitGroup
	for i, plan := range m.plans {
		wg.Go(func() { // they wait for each other
			grids[i], errs[i] = grid.Open(ctx, grid.Config{
				Name: plan.Name, Listen: plan.Listen, Gossip: plan.Gossip, Join: plan.Seeds, Expect: plan.Expect,
				RESP: plan.RESP, HTTP: plan.HTTP,
			})
			if errs[i] == nil {
				errs[i] = grids[i].Ready(ctx)
			}
		})
	}
	wg.Wait()
	for _, g := range grids {
		if g != nil {
			m.grids = append(m.grids, g)
			m.inside = append(m.inside, g.Close)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bench: open members: %w", err)
	}
	for i, g := range grids {
		if err := m.openDoor(ctx, m.plans[i], g); err != nil {
			return err
		}
	}
	return nil
}

// openDoor serves Redis clients from a member in this process.
func (m *members) openDoor(ctx context.Context, plan Member, g *grid.Grid) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", plan.RESP)
	if err != nil {
		return fmt.Errorf("bench: open a door for Redis clients: %w", err)
	}
	_, port, err := net.SplitHostPort(plan.RESP)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	commands := resp.NewCommands(resp.CommandsConfig{Grid: g, Self: plan.Name, Port: number, Logger: logger})
	server := resp.New(resp.Config{Handler: commands, Logger: logger})
	commands.Bind(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	closeDoor := func() error {
		err := server.Close()
		return errors.Join(err, <-served)
	}
	m.inside = append([]func() error{sync.OnceValue(closeDoor)}, m.inside...)
	return nil
}
