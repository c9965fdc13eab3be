package web

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spacegrid/spacegrid/grid"
)

// resultOK is the result of what succeeded. Other results are the names of
// codes, in lower case.
const resultOK = "ok"

// scrapeTimeout bounds what a scrape waits for the member. What it has not said
// by then is left out.
const scrapeTimeout = 2 * time.Second

// maxSpaceSeries bounds the spaces that are shown one by one: a grid may have
// thousands, a monitoring system should not get them all.
const maxSpaceSeries = 500

// Metrics is what /metrics publishes. Labels have few values: operations, doors,
// results, groups, sinks and spaces, never keys or clients. All methods may be
// called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	ops      *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	resets   *prometheus.CounterVec
	refused  prometheus.Counter
	// source is the server whose member and sockets are shown; nil: none.
	source atomic.Pointer[Server]
}

// Descriptions of what is computed when it is asked for.
var (
	descSockets = prometheus.NewDesc("spacegrid_ws_connections", "Open WebSocket connections.", nil, nil)
	descSubs    = prometheus.NewDesc("spacegrid_ws_subscriptions", "Open subscriptions.", nil, nil)
	descQueue   = prometheus.NewDesc("spacegrid_ws_queue_bytes", "Bytes waiting for subscribers.", nil, nil)

	descReady   = prometheus.NewDesc("spacegrid_member_ready", "1 if the member serves what it holds.", nil, nil)
	descBytes   = prometheus.NewDesc("spacegrid_member_bytes", "Bytes of records on this member.", nil, nil)
	descHeld    = prometheus.NewDesc("spacegrid_member_entries", "Entries on this member, all replicas.", nil, nil)
	descEntries = prometheus.NewDesc("spacegrid_space_entries", "Entries of a space on this member, all replicas.", []string{"space"}, nil)
	descLeads   = prometheus.NewDesc("spacegrid_groups_led", "Groups that this member leads.", nil, nil)
	descTerm    = prometheus.NewDesc("spacegrid_raft_term", "Term of a group as this member knows it.", []string{"group"}, nil)
	descApplied = prometheus.NewDesc("spacegrid_raft_applied_index", "Last log entry applied by this member.", []string{"group"}, nil)
	descLeader  = prometheus.NewDesc("spacegrid_raft_is_leader", "1 if this member leads the group.", []string{"group"}, nil)

	descBacklog      = prometheus.NewDesc("spacegrid_pump_backlog_changes", "Changes not yet durable in a sink.", []string{"sink"}, nil)
	descBacklogBytes = prometheus.NewDesc("spacegrid_pump_backlog_bytes", "Bytes of changes not yet durable in a sink, estimated.", []string{"sink"}, nil)
	descDead         = prometheus.NewDesc("spacegrid_pump_dead_letters", "Changes that a sink has refused for good.", []string{"sink"}, nil)
	descWritten      = prometheus.NewDesc("spacegrid_pump_written_total", "Changes handed to a sink, after folding.", []string{"sink"}, nil)
	descFailures     = prometheus.NewDesc("spacegrid_pump_failures_total", "Failed calls of a sink.", []string{"sink"}, nil)
	descParked       = prometheus.NewDesc("spacegrid_pump_parked_changes", "Changes that wait for dead letters of a sink.", []string{"sink"}, nil)
	descBroken       = prometheus.NewDesc("spacegrid_pump_breaker_open", "1 if a sink has failed repeatedly and is tried now and then only.", []string{"sink"}, nil)
	descResyncs      = prometheus.NewDesc("spacegrid_pump_resyncs_total", "Partitions of a sink that were brought up again from an image.", []string{"sink"}, nil)
	descLag          = prometheus.NewDesc("spacegrid_pump_lag_seconds", "Age of the oldest change not yet durable in a sink.", []string{"sink"}, nil)
)

// NewMetrics returns metrics with a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		ops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spacegrid_ops_total", Help: "Requests by operation, door and result.",
		}, []string{"op", "door", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spacegrid_op_seconds", Help: "Time that requests took at the door.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // 50 µs to 6.5 s
		}, []string{"op", "door"}),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spacegrid_ws_resets_total", Help: "Subscriptions that had to begin again, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "spacegrid_ws_refused_total", Help: "WebSocket connections closed for breaking the protocol or a limit.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spacegrid_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": buildVersion(), "go": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(m.ops, m.seconds, m.resets, m.refused, info, (*memberCollector)(m),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry returns the registry, for further collectors of the process.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Observation is one request that a door has answered.
type Observation struct {
	Door   string // http, resp, …
	Op     string // what was asked for: read, write, take, …
	Result string // ok, or the lower-case name of a code
	Took   time.Duration
}

// Observe counts a request.
func (m *Metrics) Observe(o Observation) {
	m.ops.WithLabelValues(o.Op, o.Door, o.Result).Inc()
	m.seconds.WithLabelValues(o.Op, o.Door).Observe(o.Took.Seconds())
}

// watch makes s the source of what is computed at a scrape.
func (m *Metrics) watch(s *Server) { m.source.Store(s) }

func (m *Metrics) unwatch(s *Server) { m.source.CompareAndSwap(s, nil) }

func (s *Server) publishMetrics(w http.ResponseWriter, r *http.Request) error {
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	return nil
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// memberCollector asks the member and the sockets when it is scraped.
type memberCollector Metrics

// Describe sends nothing: which of the metrics there are depends on the member.
func (c *memberCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *memberCollector) Collect(out chan<- prometheus.Metric) {
	s := c.source.Load()
	if s == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := s.sockets.totals()
	gauge(descSockets, float64(n.connections))
	gauge(descSubs, float64(n.subscriptions))
	gauge(descQueue, float64(n.bytes))
	if s.config.Self == "" {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, scrapeTimeout)
	defer cancel()
	var st memberStatus
	if s.ask(ctx, "status", &st) == nil {
		st.collect(gauge)
	}
	var spaces []spaceStatus
	if s.ask(ctx, "spaces", &spaces) == nil {
		for _, x := range spaces[:min(len(spaces), maxSpaceSeries)] {
			gauge(descEntries, x.Entries, x.Name)
		}
	}
	var sinks []grid.SinkStatus
	if s.ask(ctx, "sinks", &sinks) != nil {
		return
	}
	for i := range sinks {
		pump := &sinks[i]
		gauge(descBacklog, float64(pump.BacklogChanges), pump.Sink)
		gauge(descBacklogBytes, float64(pump.BacklogBytes), pump.Sink)
		gauge(descLag, (time.Duration(pump.LagMillis) * time.Millisecond).Seconds(), pump.Sink)
		gauge(descDead, float64(pump.DeadLetters), pump.Sink)
		gauge(descParked, float64(pump.Parked), pump.Sink)
		gauge(descBroken, broken(pump.Breaker), pump.Sink)
		count := func(d *prometheus.Desc, v uint64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), pump.Sink)
		}
		count(descWritten, pump.Written)
		count(descFailures, pump.Failures)
		count(descResyncs, pump.Resyncs)
	}
}

// broken is 1 for a breaker that does not let everything through.
func broken(breaker string) float64 {
	if breaker == "closed" {
		return 0
	}
	return 1
}

// ask decodes what this member says of itself.
func (s *Server) ask(ctx context.Context, what string, v any) error {
	b, err := s.grid.Inspect(ctx, s.config.Self, what)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// memberStatus is the part of a member's status that is published.
type memberStatus struct {
	Ready   bool    `json:"ready"`
	Entries float64 `json:"entries"`
	Bytes   float64 `json:"bytes"`
	Groups  []struct {
		Group   uint32  `json:"group"`
		Role    string  `json:"role"`
		Term    float64 `json:"term"`
		Applied float64 `json:"applied"`
	} `json:"groups"`
}

func (st *memberStatus) collect(gauge func(*prometheus.Desc, float64, ...string)) {
	gauge(descReady, oneIf(st.Ready))
	gauge(descHeld, st.Entries)
	gauge(descBytes, st.Bytes)
	led := 0.0
	for _, g := range st.Groups {
		label := strconv.FormatUint(uint64(g.Group), 10)
		leads := oneIf(g.Role == "leader")
		led += leads
		gauge(descTerm, g.Term, label)
		gauge(descApplied, g.Applied, label)
		gauge(descLeader, leads, label)
	}
	gauge(descLeads, led)
}

// spaceStatus is what a member says of a space.
type spaceStatus struct {
	Name    string  `json:"name"`
	Entries float64 `json:"entries"`
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
