package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// portBase is the first of a member's four default ports: RESP, HTTP, members,
// gossip.
const portBase = 7379

// serveFlags are those of serve, and of whatever else runs a member.
type serveFlags struct {
	config     grid.Config
	durability string
	clock      string
	portBase   int
	insecure   bool
	logLevel   string
}

func (f *serveFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.config.Name, "name", "", "the member's name, unique and stable; drawn once if empty")
	p.StringVar(&f.config.Dir, "dir", "", "data folder; without one nothing is kept")
	p.StringVar(&f.durability, "durability", "", "disk: acknowledge after a majority has synced; memory: after a majority has it (default: disk with --dir)")
	p.StringSliceVar(&f.config.Join, "join", nil, "gossip addresses of other members")
	p.IntVar(&f.config.Expect, "expect", 1, "how many members form the cluster together")
	p.StringVar(&f.config.Cluster, "cluster", "", "name that keeps clusters apart")
	p.StringVar(&f.config.Zone, "zone", "", "members of one zone may fail together")
	p.IntVar(&f.config.Partitions, "partitions", 0, "partitions of a new cluster (default 256)")
	p.IntVar(&f.config.Copies, "copies", 0, "replicas of every partition of a new cluster (default 3)")
	p.BoolVar(&f.config.AcceptLoss, "accept-loss", false, "start cold without members that do not report; what only they had is lost")
	p.IntVar(&f.portBase, "port-base", portBase, "first of four ports on loopback: RESP, HTTP, members, gossip")
	p.StringVar(&f.config.RESP, "resp", "", "address for Redis clients (default from --port-base; - for none)")
	p.StringVar(&f.config.HTTP, "http", "", "address for HTTP and WebSocket (default from --port-base; - for none)")
	p.StringVar(&f.config.Listen, "listen", "", "address for members and remote clients (default from --port-base)")
	p.StringVar(&f.config.Gossip, "gossip", "", "address for membership (default from --port-base)")
	p.StringVar(&f.config.Source, "source", "", "address that connections to other members are bound to (default: the system's choice)")
	p.StringVar(&f.clock, "clock", "", "file with an offset, such as -5s, that the wall clock is off by")
	p.BoolVar(&f.insecure, "insecure", false, "listen beyond loopback though there is no TLS and there are no users")
	p.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	if err := p.MarkHidden("clock"); err != nil {
		panic(err) // there is no such flag
	}
}

// complete fills in what follows from other flags, and refuses what cannot work.
func (f *serveFlags) complete() error {
	switch f.durability {
	case "":
	case "disk":
		if f.config.Dir == "" {
			return usagef("durability disk needs a data folder: --dir")
		}
	case "memory":
		f.config.InMemory = true
	default:
		return usagef("unknown durability %q: disk or memory", f.durability)
	}
	if f.config.Source != "" && net.ParseIP(f.config.Source) == nil {
		return usagef("--source %q is no IP address", f.config.Source)
	}
	if f.clock != "" {
		var err error
		if f.config.Wall, err = offClock(f.clock); err != nil {
			return usagef("--clock: %v", err)
		}
	}
	if f.portBase < 1 || f.portBase > 65535-3 {
		return usagef("--port-base %d is out of range", f.portBase)
	}
	for i, addr := range []*string{&f.config.RESP, &f.config.HTTP, &f.config.Listen, &f.config.Gossip} {
		switch *addr {
		case "":
			*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(f.portBase+i))
		case "-":
			if i > 1 {
				return usagef("a member needs addresses for members and gossip")
			}
			*addr = ""
			continue
		}
		if err := f.checkExposure(*addr); err != nil {
			return err
		}
	}
	return nil
}

// checkExposure refuses to listen where strangers are while there is neither TLS
// nor a user to be.
func (f *serveFlags) checkExposure(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("address %q is not host:port", addr)
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() || f.insecure {
		return nil
	}
	return usagef("%s is not a loopback address, and this member has no TLS and no users: repeat with --insecure if the network is yours alone", addr)
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run a member of a grid",
		Example: `  spacegrid serve --name m1 --dir data/m1 --expect 3 --port-base 7400 --join 127.0.0.1:7413,127.0.0.1:7423`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			return a.runMember(c.Context(), &f, nil)
		},
	}
	f.register(c)
	return c
}

// closeTimeout bounds the polite part of stopping: handing leaderships over and
// letting the doors finish.
const closeTimeout = 10 * time.Second

// runMember runs a member with its doors until ctx ends. deploy, if not nil, is
// called when the member is open and before its doors are.
func (a *app) runMember(ctx context.Context, f *serveFlags, deploy func(context.Context, *grid.Grid) error) (err error) {
	start := time.Now()
	log, err := a.logger(f.logLevel)
	if err != nil {
		return err
	}
	f.config.Logger = log
	f.config.Sinks = memberSinks()
	f.config.OnFatal = func(err error) {
		// The disk has failed: nothing more may be acknowledged, so nothing more
		// is done.
		a.notef("error: %v", err)
		a.notef("  free or replace the disk and start the member again: what was acknowledged is on the others")
		os.Exit(exitError)
	}
	doors, err := listenDoors(f.config.RESP, f.config.HTTP)
	if err != nil {
		return err
	}
	g, err := grid.Open(ctx, f.config)
	if err != nil {
		return errors.Join(err, doors.closeListeners())
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if deploy != nil {
		if err := deploy(ctx, g); err != nil {
			return errors.Join(err, doors.closeListeners())
		}
	}
	if err := doors.serve(g, log); err != nil {
		return errors.Join(err, doors.closeListeners())
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		doors.close(closing)
	}()
	a.notef("member %s  redis %s  http %s  members %s  gossip %s", g.Node().Name(), orNone(f.config.RESP), orNone(f.config.HTTP), f.config.Listen, f.config.Gossip)
	if err := g.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while waiting for the others
		}
		return err
	}
	a.notef("ready in %d ms", time.Since(start).Milliseconds())
	select {
	case <-ctx.Done():
		a.notef("stopping")
		return nil
	case err := <-doors.failed:
		return err
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (a *app) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("unknown log level %q", level)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: l})), nil
}

// listen opens a listener and explains the usual failure.
func listen(addr, door string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s door: %w (is another member running? choose other ports with --port-base)", door, err)
	}
	return l, nil
}
