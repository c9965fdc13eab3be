package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/spacegrid/spacegrid/gateway/resp"
	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/grid"
)

// doors are the listeners through which clients reach a member. They listen
// before the member opens, so that a taken port is found at once, and are served
// when it is there.
type doors struct {
	respListener, webListener net.Listener
	resp                      *resp.Server
	web                       *web.Server
	serving                   sync.WaitGroup
	failed                    chan error // one slot for each door
}

func listenDoors(respAddr, httpAddr string) (*doors, error) {
	d := &doors{failed: make(chan error, 2)}
	var err error
	if respAddr != "" {
		if d.respListener, err = listen(respAddr, "redis"); err != nil {
			return nil, err
		}
	}
	if httpAddr != "" {
		if d.webListener, err = listen(httpAddr, "http"); err != nil {
			return nil, errors.Join(err, d.closeListeners())
		}
	}
	return d, nil
}

func (d *doors) closeListeners() error {
	var err error
	for _, l := range []net.Listener{d.respListener, d.webListener} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// serve opens the doors to g.
func (d *doors) serve(g *grid.Grid, log *slog.Logger) error {
	self := g.Node().Name()
	if d.webListener != nil {
		var err error
		if d.web, err = web.New(web.Config{Grid: g, Self: self, Logger: log}); err != nil {
			return err
		}
		d.run(func() error { return d.web.Serve(d.webListener) })
	}
	if d.respListener != nil {
		commands := resp.NewCommands(resp.CommandsConfig{
			Grid: g, Self: string(self), Version: version, Logger: log, Port: d.respListener.Addr().(*net.TCPAddr).Port,
		})
		d.resp = resp.New(resp.Config{Handler: commands, Logger: log})
		d.run(func() error { return d.resp.Serve(d.respListener) })
	}
	return nil
}

// run serves a door until it is closed; any other end is reported.
func (d *doors) run(serve func() error) {
	d.serving.Go(func() {
		if err := serve(); err != nil {
			d.failed <- err
		}
	})
}

// close lets the requests in progress finish, until ctx ends, and closes the
// doors.
func (d *doors) close(ctx context.Context) {
	// Whoever is still connected at the end of ctx is cut off; that is no error.
	if d.web != nil {
		_ = d.web.Drain(ctx)
	}
	if d.resp != nil {
		_ = d.resp.Drain(ctx)
	}
	d.serving.Wait()
}
