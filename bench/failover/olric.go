package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// olricMembers is how many members a cluster has.
const olricMembers = 3

// Olric is three members of Olric with one synchronous backup of every key, run
// by the program in the folder olricd.
type Olric struct {
	folder  string
	members []*olricMember
	turn    int
	client  *redis.Client // at the first member, which is never injured
}

type olricMember struct {
	addr    string
	command []string
	log     string
	process *lab.Process
}

func (m *olricMember) start() (err error) {
	m.process, err = lab.Start("olric "+m.addr, m.log, nil, m.command...)
	return err
}

// StartOlric starts a cluster of program, which is olricd. host gives the address
// of member i.
func StartOlric(ctx context.Context, program, folder string, host func(i int) string) (_ *Olric, err error) {
	o := &Olric{folder: folder}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close())
		}
	}()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("failover: %w", err)
	}
	gossip := func(i int) string { return strconv.Itoa(18100 + i) }
	for i := range olricMembers {
		port := strconv.Itoa(18000 + i)
		m := &olricMember{addr: host(i) + ":" + port, log: filepath.Join(folder, "olric-"+strconv.Itoa(i))}
		m.command = []string{program, host(i), port, gossip(i)}
		for j := range olricMembers {
			if j != i {
				m.command = append(m.command, host(j)+":"+gossip(j))
			}
		}
		o.members = append(o.members, m)
		if err := m.start(); err != nil {
			return nil, err
		}
	}
	o.client = redis.NewClient(&redis.Options{
		Addr: o.members[0].addr, MaxRetries: -1, Protocol: 2, DisableIdentity: true, DialTimeout: 250 * time.Millisecond,
		ReadTimeout: 500 * time.Millisecond,
	})
	return o, nil
}

// Name implements Target.
func (o *Olric) Name() string { return "olric 0.7.0, one synchronous backup" }

// Missing implements Target.
func (o *Olric) Missing(k Kind) string {
	if k == Cut {
		return "olric does not bind what it dials to its own address, so links cannot be told apart"
	}
	return ""
}

// Ready implements Target: all members know each other, and writes are answered.
func (o *Olric) Ready(ctx context.Context) error {
	for _, m := range o.members {
		one := redis.NewClient(&redis.Options{Addr: m.addr, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
		list, err := one.Do(ctx, "CLUSTER.MEMBERS").Slice()
		_ = one.Close() // it was only asked
		if err != nil {
			return fmt.Errorf("%s: %w", m.addr, err)
		}
		if len(list) != olricMembers {
			return fmt.Errorf("%s knows %d members", m.addr, len(list))
		}
	}
	return o.client.Do(ctx, "DM.PUT", "ready", "ready", "x").Err()
}

// Writer implements Target.
func (o *Olric) Writer(_ context.Context, key string) (Writer, error) {
	return &olricWriter{o.client, key}, nil
}

type olricWriter struct {
	client *redis.Client
	key    string
}

func (w *olricWriter) Write(ctx context.Context, value []byte) error {
	return w.client.Do(ctx, "DM.PUT", "gap", w.key, value).Err()
}

func (w *olricWriter) Close() error { return nil } // the client is the cluster's

// Injure implements Target. Every member owns a share of the keys; the two that no
// client is connected to take turns.
func (o *Olric) Injure(_ context.Context, k Kind, _ string) (func(context.Context) error, error) {
	victim := o.members[1+o.turn%(olricMembers-1)]
	o.turn++
	switch k {
	case Kill:
		victim.process.Kill()
		return func(context.Context) error { return victim.start() }, nil
	case Pause:
		return func(context.Context) error { return victim.process.Signal(syscall.SIGCONT) }, victim.process.Signal(syscall.SIGSTOP)
	}
	return nil, fmt.Errorf("failover: %q cannot be done to olric", k)
}

// Close implements Target.
func (o *Olric) Close() error {
	var err error
	if o.client != nil {
		err = o.client.Close()
	}
	for _, m := range o.members {
		if m.process != nil {
			m.process.Kill() // it keeps nothing
		}
	}
	return errors.Join(err, os.RemoveAll(o.folder))
}
