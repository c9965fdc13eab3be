package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// RedisCluster is three masters with a replica each, everything in memory.
type RedisCluster struct {
	folder      string
	nodeTimeout time.Duration
	version     string
	members     []*redisMember
	net         Network
	client      *redis.ClusterClient
}

type redisMember struct {
	host, port string
	command    []string
	log        string
	process    *lab.Process
}

func (m *redisMember) addr() string { return m.host + ":" + m.port }

func (m *redisMember) start() (err error) {
	m.process, err = lab.Start("redis "+m.addr(), m.log, nil, m.command...)
	return err
}

// Network gives addresses to members and cuts them off. Nil is loopback without
// cuts.
type Network interface {
	// Cut lets nothing pass between an address and others until healed.
	Cut(ctx context.Context, from string, others []string) (heal func(context.Context) error, err error)
}

// redisMembers is how many servers a cluster has: the least that Redis calls one,
// and a replica for each.
const redisMembers = 6

// StartRedisCluster starts a cluster. nodeTimeout is Redis's own setting of the
// name; its default is 15 s. host gives the address of member i, for a network in
// which each has its own.
func StartRedisCluster(ctx context.Context, folder string, nodeTimeout time.Duration, host func(i int) string, net Network) (_ *RedisCluster, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("failover: %w (on Debian: apt-get install redis-server)", err)
	}
	c := &RedisCluster{folder: folder, nodeTimeout: nodeTimeout, net: net}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for i := range redisMembers {
		dir := filepath.Join(folder, "redis-"+strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("failover: %w", err)
		}
		m := &redisMember{host: host(i), port: strconv.Itoa(17000 + i), log: filepath.Join(dir, "log")}
		m.command = []string{
			server, "--bind", m.host, "--bind-source-addr", m.host, "--port", m.port, "--dir", dir, "--cluster-enabled", "yes",
			"--cluster-config-file", "nodes.conf", "--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
			"--save", "", "--appendonly", "no", "--protected-mode", "no", "--repl-diskless-sync-delay", "0",
		}
		c.members = append(c.members, m)
		if err := m.start(); err != nil {
			return nil, err
		}
	}
	err = c.form(ctx)
	return c, err
}

// form makes the servers a cluster.
func (c *RedisCluster) form(ctx context.Context) error {
	var addrs []string
	for _, m := range c.members {
		addrs = append(addrs, m.addr())
		if err := m.answers(ctx); err != nil {
			return err
		}
	}
	args := append([]string{"--cluster", "create"}, addrs...)
	//nolint:gosec // the arguments are addresses of our own
	out, err := exec.CommandContext(ctx, "redis-cli", append(args, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("failover: redis-cli --cluster create: %w: %s", err, out)
	}
	c.client = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, DialTimeout: 250 * time.Millisecond, ReadTimeout: 250 * time.Millisecond, WriteTimeout: 250 * time.Millisecond,
		MaxRedirects: 8, MinRetryBackoff: 2 * time.Millisecond, MaxRetryBackoff: 20 * time.Millisecond,
	})
	info, err := c.client.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("failover: redis: %w", err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			c.version = v
		}
	}
	return nil
}

// answers waits until the server does.
func (m *redisMember) answers(ctx context.Context) error {
	one := redis.NewClient(&redis.Options{Addr: m.addr(), MaxRetries: -1})
	defer func() { _ = one.Close() }() // it was only asked
	for end := time.Now().Add(readyTime); ; {
		err := one.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("failover: redis %s does not answer: %w: %s", m.addr(), err, m.process.Tail())
		}
		if err := sleep(ctx, readyPoll); err != nil {
			return err
		}
	}
}

// Name implements Target.
func (c *RedisCluster) Name() string {
	return fmt.Sprintf("redis cluster %s, node timeout %s", c.version, c.nodeTimeout)
}

// Missing implements Target.
func (c *RedisCluster) Missing(k Kind) string {
	if k == Cut && c.net == nil {
		return "there is no network to cut"
	}
	return ""
}

// Ready implements Target: every server is up, and every master has a replica that
// follows it.
func (c *RedisCluster) Ready(ctx context.Context) error {
	masters := 0
	for _, m := range c.members {
		one := redis.NewClient(&redis.Options{Addr: m.addr(), MaxRetries: -1})
		cluster, err := one.ClusterInfo(ctx).Result()
		info, err2 := one.Info(ctx, "replication").Result()
		_ = one.Close() // it was only asked
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		switch {
		case !strings.Contains(cluster, "cluster_state:ok"):
			return fmt.Errorf("%s: the cluster is not ok", m.addr())
		case strings.Contains(info, "role:master"):
			masters++
			if !strings.Contains(info, "state=online") {
				return fmt.Errorf("%s has no replica that follows it", m.addr())
			}
		case !strings.Contains(info, "master_link_status:up"):
			return fmt.Errorf("%s does not follow its master", m.addr())
		}
	}
	if masters != redisMembers/2 {
		return fmt.Errorf("there are %d masters", masters)
	}
	c.client.ReloadState(ctx)
	return nil
}

// Writer implements Target. All writers share one client, as go-redis is meant to
// be used.
func (c *RedisCluster) Writer(_ context.Context, key string) (Writer, error) {
	return &redisWriter{c.client, key}, nil
}

type redisWriter struct {
	client *redis.ClusterClient
	key    string
}

func (w *redisWriter) Write(ctx context.Context, value []byte) error {
	return w.client.Set(ctx, w.key, value, 0).Err()
}

func (w *redisWriter) Close() error { return nil } // the client is the cluster's

// Injure implements Target.
func (c *RedisCluster) Injure(ctx context.Context, k Kind, key string) (func(context.Context) error, error) {
	master, err := c.client.MasterForKey(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("failover: redis: %w", err)
	}
	var victim *redisMember
	var others []string
	for _, m := range c.members {
		if m.addr() == master.Options().Addr {
			victim = m
		} else {
			others = append(others, m.host)
		}
	}
	if victim == nil {
		return nil, fmt.Errorf("failover: redis: no server at %s", master.Options().Addr)
	}
	switch k {
	case Kill:
		victim.process.Kill()
		return func(ctx context.Context) error {
			if err := victim.start(); err != nil {
				return err
			}
			return victim.answers(ctx)
		}, nil
	case Pause:
		return func(context.Context) error { return victim.process.Signal(syscall.SIGCONT) }, victim.process.Signal(syscall.SIGSTOP)
	case Cut:
		return c.net.Cut(ctx, victim.host, others)
	}
	return nil, fmt.Errorf("failover: unknown injury %q", k)
}

// Close implements Target.
func (c *RedisCluster) Close() error {
	var err error
	if c.client != nil {
		err = c.client.Close()
	}
	for _, m := range c.members {
		if m.process != nil {
			m.process.Kill() // it keeps nothing
		}
	}
	return errors.Join(err, os.RemoveAll(c.folder))
}
