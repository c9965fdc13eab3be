// Command olricd runs a member of an Olric cluster, with one synchronous backup of
// everything, to be measured beside a member of Spacegrid. It is a module of its
// own: nothing that Olric needs becomes a part of Spacegrid.
//
//	olricd HOST PORT MEMBERSHIP-PORT [HOST:MEMBERSHIP-PORT ...]
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/olric-data/olric"
	"github.com/olric-data/olric/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "olricd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: olricd HOST PORT MEMBERSHIP-PORT [HOST:MEMBERSHIP-PORT ...]")
	}
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	gossip, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c := config.New("local")
	c.BindAddr, c.BindPort = args[0], port
	c.MemberlistConfig.BindAddr, c.MemberlistConfig.BindPort = args[0], gossip
	c.MemberlistConfig.AdvertiseAddr, c.MemberlistConfig.AdvertisePort = args[0], gossip
	c.Peers = args[3:]
	c.ReplicaCount, c.ReplicationMode = 2, config.SyncReplicationMode
	c.WriteQuorum, c.ReadQuorum, c.MemberCountQuorum = 1, 1, 1
	c.Logger = log.New(io.Discard, "", 0)
	c.LogOutput = io.Discard
	db, err := olric.New(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- db.Start() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return db.Shutdown(ending)
}
