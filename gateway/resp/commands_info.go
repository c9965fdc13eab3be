package resp

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"
)

// redisVersion is the level of Redis whose commands and replies these are, for
// clients that look. What the program is itself is said beside it.
const redisVersion = "7.2.4"

// section is a part of INFO.
type section struct {
	name string
	// extra sections are told only if they are named, or all are asked for.
	extra bool
	write func(d *dialog, b *strings.Builder)
}

func infoSections() []section {
	return []section{
		{name: "Server", write: infoServer},
		{name: "Clients", write: infoClients},
		{name: "Memory", write: infoMemory},
		{name: "Persistence", write: infoPersistence},
		{name: "Stats", write: infoStats},
		{name: "Replication", write: infoReplication},
		{name: "CPU", write: infoCPU},
		{name: "Modules", write: func(*dialog, *strings.Builder) {}},
		{name: "Commandstats", extra: true, write: func(*dialog, *strings.Builder) {}},
		{name: "Errorstats", write: infoErrors},
		{name: "Cluster", write: infoCluster},
		{name: "Keyspace", write: infoKeyspace},
	}
}

func info(d *dialog, c Command) {
	wanted := func(s *section) bool { return !s.extra }
	if len(c.Args) > 1 {
		names := map[string]bool{}
		for _, arg := range c.Args[1:] {
			names[strings.ToLower(quotable(arg, refusalQuote))] = true
		}
		wanted = func(s *section) bool {
			return names["all"] || names["everything"] || names["default"] && !s.extra || names[strings.ToLower(s.name)]
		}
	}
	var b strings.Builder
	for _, s := range infoSections() {
		if !wanted(&s) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + s.name + "\r\n")
		s.write(d, &b)
	}
	d.out.Verbatim("txt", b.String())
}

// infoLine writes a line of INFO.
func infoLine(b *strings.Builder, name string, value any) { fmt.Fprintf(b, "%s:%v\r\n", name, value) }

func infoServer(d *dialog, b *strings.Builder) {
	h := d.commands
	up := time.Since(h.started)
	infoLine(b, "redis_version", redisVersion)
	infoLine(b, "redis_git_sha1", "00000000")
	infoLine(b, "redis_git_dirty", 0)
	infoLine(b, "redis_mode", h.mode())
	infoLine(b, "server_name", "spacegrid")
	infoLine(b, "spacegrid_version", h.config.Version)
	infoLine(b, "spacegrid_member", h.config.Self)
	infoLine(b, "os", runtime.GOOS+" "+runtime.GOARCH)
	infoLine(b, "arch_bits", strconv.IntSize)
	infoLine(b, "go_version", runtime.Version())
	infoLine(b, "process_id", os.Getpid())
	infoLine(b, "run_id", h.runID)
	infoLine(b, "tcp_port", h.config.Port)
	infoLine(b, "server_time_usec", h.grid.Wall().UnixMicro())
	infoLine(b, "uptime_in_seconds", int64(up/time.Second))
	infoLine(b, "uptime_in_days", int64(up/(24*time.Hour)))
	infoLine(b, "hz", 10)
	infoLine(b, "executable", "spacegrid")
	infoLine(b, "config_file", "")
}

func (h *Commands) stats() Stats {
	if server := h.server.Load(); server != nil {
		return server.Stats()
	}
	return Stats{}
}

func infoClients(d *dialog, b *strings.Builder) {
	s := d.commands.stats()
	infoLine(b, "connected_clients", s.Open)
	infoLine(b, "cluster_connections", 0)
	infoLine(b, "maxclients", d.commands.maxClients())
	infoLine(b, "blocked_clients", 0)
	infoLine(b, "tracking_clients", 0)
}

// heapMetrics are what the runtime tells of its memory without stopping for it.
var heapMetrics = [...]string{"/memory/classes/heap/objects:bytes", "/memory/classes/total:bytes"}

func infoMemory(_ *dialog, b *strings.Builder) {
	var samples [len(heapMetrics)]metrics.Sample
	for i, name := range heapMetrics {
		samples[i].Name = name
	}
	metrics.Read(samples[:])
	used, total := samples[0].Value.Uint64(), samples[1].Value.Uint64()
	infoLine(b, "used_memory", used)
	infoLine(b, "used_memory_human", megabytes(used))
	infoLine(b, "used_memory_rss", total)
	infoLine(b, "used_memory_rss_human", megabytes(total))
	infoLine(b, "maxmemory", 0)
	infoLine(b, "maxmemory_human", megabytes(0))
	infoLine(b, "maxmemory_policy", "noeviction")
	infoLine(b, "mem_allocator", "go")
	infoLine(b, "mem_fragmentation_ratio", fmt.Sprintf("%.2f", float64(total)/float64(max(used, 1))))
}

func megabytes(n uint64) string { return fmt.Sprintf("%.2fM", float64(n)/(1<<20)) }

func infoPersistence(_ *dialog, b *strings.Builder) {
	infoLine(b, "loading", 0)
	infoLine(b, "async_loading", 0)
	infoLine(b, "rdb_changes_since_last_save", 0)
	infoLine(b, "rdb_bgsave_in_progress", 0)
	infoLine(b, "rdb_last_save_time", 0)
	infoLine(b, "rdb_last_bgsave_status", "ok")
	infoLine(b, "aof_enabled", 0)
	infoLine(b, "aof_rewrite_in_progress", 0)
	infoLine(b, "aof_last_write_status", "ok")
}

func infoStats(d *dialog, b *strings.Builder) {
	s := d.commands.stats()
	failed := int64(0)
	for _, e := range d.commands.errors.list() {
		failed += e.times
	}
	infoLine(b, "total_connections_received", s.Accepted)
	infoLine(b, "total_commands_processed", s.Commands)
	infoLine(b, "total_net_input_bytes", s.BytesIn)
	infoLine(b, "total_net_output_bytes", s.BytesOut)
	infoLine(b, "rejected_connections", s.Refused)
	infoLine(b, "pubsub_channels", 0)
	infoLine(b, "pubsub_patterns", 0)
	infoLine(b, "total_error_replies", failed)
	infoLine(b, "total_reads_processed", s.Batches)
	infoLine(b, "acl_access_denied_auth", 0)
	infoLine(b, "spacegrid_protocol_errors", s.ProtocolErrors)
	infoLine(b, "spacegrid_slow_readers", s.SlowReaders)
	infoLine(b, "spacegrid_buffer_bytes", s.BufferBytes)
}

// infoReplication speaks as a master without slaves: replicas are the grid's own
// affair, and every member takes writes.
func infoReplication(d *dialog, b *strings.Builder) {
	infoLine(b, "role", "master")
	infoLine(b, "connected_slaves", 0)
	infoLine(b, "master_failover_state", "no-failover")
	infoLine(b, "master_replid", d.commands.runID)
	infoLine(b, "master_replid2", strings.Repeat("0", len(d.commands.runID)))
	infoLine(b, "master_repl_offset", 0)
	infoLine(b, "second_repl_offset", -1)
	infoLine(b, "repl_backlog_active", 0)
}

var cpuMetrics = [...]string{"/cpu/classes/user:cpu-seconds", "/cpu/classes/gc/total:cpu-seconds"}

func infoCPU(_ *dialog, b *strings.Builder) {
	var samples [len(cpuMetrics)]metrics.Sample
	for i, name := range cpuMetrics {
		samples[i].Name = name
	}
	metrics.Read(samples[:])
	infoLine(b, "used_cpu_user", fmt.Sprintf("%.6f", samples[0].Value.Float64()))
	infoLine(b, "spacegrid_cpu_collector", fmt.Sprintf("%.6f", samples[1].Value.Float64()))
}

func infoErrors(d *dialog, b *strings.Builder) {
	for _, e := range d.commands.errors.list() {
		infoLine(b, "errorstat_"+e.word, fmt.Sprintf("count=%d", e.times))
	}
}

func infoCluster(d *dialog, b *strings.Builder) {
	enabled := 0
	if d.commands.config.ClusterMode {
		enabled = 1
	}
	infoLine(b, "cluster_enabled", enabled)
}

// keyspaceShare bounds the part of the time that counting keys for INFO takes:
// counts are told again until this many times the duration of counting has passed.
const keyspaceShare = 20

// keyspace remembers how many keys the databases have. Counting asks every group
// once for each database, and INFO is asked for every few seconds by tools that
// watch a server.
type keyspace struct {
	mu     sync.Mutex // held while counting, so that one connection counts
	until  time.Time
	counts [Databases]int64
}

// count returns the keys of each database, as of the last time they were counted.
// Databases that cannot be counted now have none.
func (k *keyspace) count(d *dialog) [Databases]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	begun := time.Now()
	if begun.Before(k.until) {
		return k.counts
	}
	for db := range k.counts {
		n, err := d.size(db)
		if err != nil {
			n = 0
		}
		k.counts[db] = n
	}
	took := time.Since(begun)
	k.until = begun.Add(keyspaceShare * took)
	return k.counts
}

func infoKeyspace(d *dialog, b *strings.Builder) {
	for db, n := range d.commands.keyspace.count(d) {
		if n > 0 {
			infoLine(b, "db"+strconv.Itoa(db), fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n))
		}
	}
}
