package cluster

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// inspectTime bounds one look at a group.
const inspectTime = 5 * time.Second

// statusView is what Inspect("status") shows.
type statusView struct {
	Member      MemberID    `json:"member"`
	Incarnation uint64      `json:"incarnation"`
	Boot        uint64      `json:"boot"`
	Cluster     ClusterID   `json:"cluster"`
	Version     uint64      `json:"version"`
	Formed      bool        `json:"formed"`
	Ready       bool        `json:"ready"`
	Addr        string      `json:"addr,omitempty"`
	Groups      []groupView `json:"groups"`
	Entries     int         `json:"entries"`
	Bytes       int64       `json:"bytes"`
	LogBytes    int64       `json:"log_bytes"`
}

type groupView struct {
	Group      GroupID `json:"group"`
	Role       string  `json:"role"`
	Serving    bool    `json:"serving"`
	Term       uint64  `json:"term"`
	Leader     string  `json:"leader"`
	Applied    uint64  `json:"applied"`
	Last       uint64  `json:"last"`
	Partitions int     `json:"partitions"`
}

type memberView struct {
	Member      MemberID `json:"member"`
	Incarnation uint64   `json:"incarnation"`
	Boot        uint64   `json:"boot"`
	State       string   `json:"state"`
	Voter       bool     `json:"voter"`
	Gossip      string   `json:"gossip"` // what gossip thinks, empty if it has not heard of it
	Peer        string   `json:"peer"`
	RESP        string   `json:"resp,omitempty"`
	HTTP        string   `json:"http,omitempty"`
	Zone        string   `json:"zone,omitempty"`
}

type partitionView struct {
	Partition space.PartitionID `json:"partition"`
	Group     GroupID           `json:"group"`
	History   string            `json:"history"`
	Epoch     space.Epoch       `json:"epoch"`
	Seq       space.Seq         `json:"seq"`
	Floor     space.Seq         `json:"floor"`
	Entries   int               `json:"entries"`
	Bytes     int64             `json:"bytes"`
	LogBytes  int64             `json:"log_bytes"`
	Answers   int               `json:"answers"`
	Waiting   int               `json:"waiting"` // commands that wait for an entry
	Durable   space.Seq         `json:"durable"` // of the embedded store, on a majority
}

type digestView struct {
	Partition space.PartitionID `json:"partition"`
	History   string            `json:"history"`
	Seq       space.Seq         `json:"seq"`
	Content   string            `json:"content"`
	State     string            `json:"state"`
}

// Inspect implements Service. It knows "status", "members", "partitions",
// "table", "digest", "pump", "sinks" and "spaces".
func (n *Node) Inspect(ctx context.Context, what string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	var view any
	var err error
	switch what {
	case "status":
		view, err = n.statusView(ctx)
	case "members":
		view = n.memberViews()
	case "partitions":
		view, err = n.partitionViews(ctx)
	case "table":
		view = NewTable(n.control.State())
	case "digest":
		view, err = n.digestViews(ctx)
	case "pump":
		view = n.pumpView()
	case "sinks":
		view = []any{}
		if s, ok := n.cfg.Sinks.(StoreInspector); ok {
			view = s.Inspect()
		}
	case "spaces":
		view = n.spaceViews()
	default:
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("nothing is known as %q", what),
			Hint: "ask for status, members, partitions, table, digest, pump, sinks or spaces"}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(view)
}

func (n *Node) statusView(ctx context.Context) (*statusView, error) {
	s := n.control.State()
	v := &statusView{
		Member: n.name, Incarnation: n.incarnation, Boot: n.boot, Cluster: s.Cluster, Version: s.Version,
		Formed: s.Formed(), Ready: s.Formed(), Addr: n.Addr(), Groups: []groupView{},
	}
	cs := n.cgroup.Status()
	v.Groups = append(v.Groups, groupView{
		Group: ControlGroup, Role: cs.Role.String(), Serving: cs.Serving, Term: cs.Term, Leader: cs.Leader.Member,
		Applied: cs.Applied, Last: cs.Last,
	})
	for i := range s.Groups {
		g := &s.Groups[i]
		h := n.held(g.ID)
		if h == nil {
			if _, mine := g.Replica(n.name); mine {
				v.Ready = false
			}
			continue
		}
		st := h.group.Status()
		v.Ready = v.Ready && st.Leader.Member != ""
		v.Groups = append(v.Groups, groupView{
			Group: g.ID, Role: st.Role.String(), Serving: h.serving() != nil, Term: st.Term, Leader: st.Leader.Member,
			Applied: st.Applied, Last: st.Last, Partitions: len(h.host.all()),
		})
		err := h.group.Inspect(ctx, func() {
			for _, p := range h.host.all() {
				ps := p.Status()
				v.Entries += ps.Entries
				v.Bytes += ps.Bytes
				v.LogBytes += ps.LogBytes
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (n *Node) memberViews() []memberView {
	seems := map[MemberID]string{}
	if n.gossip != nil {
		for _, p := range n.gossip.Members() {
			seems[p.Member] = p.Status.String()
		}
	}
	views := []memberView{}
	s := n.control.State()
	for i := range s.Members {
		m := &s.Members[i]
		views = append(views, memberView{
			Member: m.ID, Incarnation: m.Incarnation, Boot: m.Boot, State: m.State.String(), Voter: m.Voter,
			Gossip: seems[m.ID], Peer: m.Peer, RESP: m.RESP, HTTP: m.HTTP, Zone: m.Zone,
		})
	}
	return views
}

// eachHeld runs fn for the partitions of every group held, where they stand still.
func (n *Node) eachHeld(ctx context.Context, fn func(GroupID, *carried)) error {
	for i := range n.groups {
		h := n.groups[i].Load()
		if h == nil {
			continue
		}
		err := h.group.Inspect(ctx, func() {
			for _, p := range sortedPartitions(h.host.all()) {
				fn(h.id, p)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) partitionViews(ctx context.Context) ([]partitionView, error) {
	views := []partitionView{}
	err := n.eachHeld(ctx, func(g GroupID, p *carried) {
		st := p.Status()
		v := partitionView{
			Partition: st.ID, Group: g, History: st.History.String(), Epoch: st.Epoch, Seq: st.Seq, Floor: st.Floor,
			Entries: st.Entries, Bytes: st.Bytes, LogBytes: st.LogBytes, Answers: st.Answers, Waiting: st.Waiting,
		}
		for _, w := range st.Watermarks {
			if w.Sink == space.StoreSink {
				v.Durable = w.Seq
			}
		}
		views = append(views, v)
	})
	return views, err
}

// digestViews cuts an image of every partition held and computes its digest
// beside the writers.
func (n *Node) digestViews(ctx context.Context) ([]digestView, error) {
	type cut struct {
		id      space.PartitionID
		history space.History
		image   *space.Image
	}
	var cuts []cut
	err := n.eachHeld(ctx, func(_ GroupID, p *carried) { cuts = append(cuts, cut{p.ID(), p.History(), p.Image()}) })
	if err != nil {
		return nil, err
	}
	views := []digestView{}
	for _, c := range cuts {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d := c.image.Digest()
		views = append(views, digestView{
			Partition: c.id, History: c.history.String(), Seq: d.Seq,
			Content: hex.EncodeToString(d.Content[:]), State: hex.EncodeToString(d.State[:]),
		})
	}
	return views, nil
}

// pumpView shows how far this member's own store has come.
func (n *Node) pumpView() any {
	if s, ok := n.cfg.Store.(StoreInspector); ok {
		return s.Inspect()
	}
	views := []map[string]any{}
	if n.cfg.Store == nil {
		return views
	}
	marks := n.cfg.Store.Watermarks()
	for i := range n.groups {
		h := n.groups[i].Load()
		if h == nil {
			continue
		}
		for _, p := range sortedPartitions(h.host.all()) {
			last := p.Changelog().Last()
			views = append(views, map[string]any{
				"partition": p.ID(), "seq": last, "durable": marks[p.ID()], "backlog": last - min(last, marks[p.ID()]),
			})
		}
	}
	return views
}
