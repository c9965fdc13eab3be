package resp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// CLUSTER: the partition table in the words of Redis Cluster. A group's slots
// belong to the replica that should lead it, the others are its replicas. Any
// member takes any key, so a client whose table is old loses a hop and no reply.

func clusterActions() map[string]action {
	return map[string]action{
		"cluster|countkeysinslot": {alone: countKeysInSlot},
		"cluster|help":            {local: help},
		"cluster|info":            {local: clusterInfo},
		"cluster|keyslot":         {local: func(d *dialog, c Command) { d.out.Int(int64(space.Slot(c.Args[2]))) }},
		"cluster|myid":            {local: func(d *dialog, _ Command) { d.out.BulkString(nodeID(d.commands.config.Self)) }},
		"cluster|nodes":           {local: clusterNodes},
		"cluster|shards":          {local: clusterShards},
		"cluster|slots":           {local: clusterSlots},
	}
}

func (h *Commands) mode() string {
	if h.config.ClusterMode {
		return "cluster"
	}
	return "standalone"
}

// nodeID returns the 40 hexadecimal digits that stand for a member's name.
func nodeID(member string) string {
	sum := sha256.Sum256([]byte(member))
	return hex.EncodeToString(sum[:20])
}

// holder is a member as clients of a cluster see it.
type holder struct {
	name string
	host string
	port int
}

// owned is a run of slots and who holds them, the preferred leader first.
type owned struct {
	first, last uint16
	holders     []holder
}

// ownership returns the slots in order, as runs of one group each. Holders
// without an address for Redis clients are left out.
func (h *Commands) ownership() []owned {
	state := h.grid.Router().State()
	members := map[string]holder{}
	for _, m := range state.Members {
		host, port, err := net.SplitHostPort(m.RESP)
		n, errPort := strconv.Atoi(port)
		if err == nil && errPort == nil {
			members[string(m.ID)] = holder{name: string(m.ID), host: host, port: n}
		}
	}
	var runs []owned
	last := 0
	for p, g := range state.Table {
		lo, hi := space.SlotRange(space.PartitionID(p), len(state.Table))
		if n := len(runs); n > 0 && int(g) == last {
			runs[n-1].last = hi
			continue
		}
		last = int(g)
		run := owned{first: lo, last: hi}
		if group, ok := state.Group(g); ok {
			for _, r := range group.Replicas {
				if m, ok := members[string(r.Member)]; ok {
					run.holders = append(run.holders, m)
				}
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// byLeader returns the runs of slots by the member that should lead them, in
// order of the first slot.
func byLeader(runs []owned) [][]owned {
	var led [][]owned
	for _, run := range runs {
		if len(run.holders) == 0 {
			continue
		}
		i := slices.IndexFunc(led, func(l []owned) bool { return l[0].holders[0] == run.holders[0] })
		if i < 0 {
			led = append(led, []owned{run})
		} else {
			led[i] = append(led[i], run)
		}
	}
	return led
}

func clusterSlots(d *dialog, _ Command) {
	runs := slices.DeleteFunc(d.commands.ownership(), func(o owned) bool { return len(o.holders) == 0 })
	d.out.Array(len(runs))
	for _, run := range runs {
		d.out.Array(2 + len(run.holders))
		d.out.Int(int64(run.first))
		d.out.Int(int64(run.last))
		for _, m := range run.holders {
			d.out.Array(4)
			d.out.BulkString(m.host)
			d.out.Int(int64(m.port))
			d.out.BulkString(nodeID(m.name))
			d.out.Array(0)
		}
	}
}

func clusterShards(d *dialog, _ Command) {
	led := byLeader(d.commands.ownership())
	d.out.Array(len(led))
	for _, runs := range led {
		d.out.Map(2)
		d.out.BulkString("slots")
		d.out.Array(2 * len(runs))
		for _, run := range runs {
			d.out.Int(int64(run.first))
			d.out.Int(int64(run.last))
		}
		d.out.BulkString("nodes")
		holders := runs[0].holders
		d.out.Array(len(holders))
		for i, m := range holders {
			role := "replica"
			if i == 0 {
				role = "master"
			}
			d.out.Map(7)
			d.pair("id", nodeID(m.name))
			d.out.BulkString("port")
			d.out.Int(int64(m.port))
			d.pair("ip", m.host)
			d.pair("endpoint", m.host)
			d.pair("role", role)
			d.out.BulkString("replication-offset")
			d.out.Int(0)
			d.pair("health", "online")
		}
	}
}

func clusterNodes(d *dialog, _ Command) {
	led := byLeader(d.commands.ownership())
	var b strings.Builder
	told := map[string]bool{}
	describe := func(m holder, role, master string, runs []owned) {
		if told[m.name] {
			return
		}
		told[m.name] = true
		if m.name == d.commands.config.Self {
			role = "myself," + role
		}
		fmt.Fprintf(&b, "%s %s:%d@0 %s %s 0 0 1 connected", nodeID(m.name), m.host, m.port, role, master)
		for _, run := range runs {
			fmt.Fprintf(&b, " %d-%d", run.first, run.last)
		}
		b.WriteByte('\n')
	}
	for _, runs := range led {
		describe(runs[0].holders[0], "master", "-", runs)
	}
	for _, runs := range led {
		for _, m := range runs[0].holders[1:] {
			describe(m, "slave", nodeID(runs[0].holders[0].name), nil)
		}
	}
	d.out.Verbatim("txt", b.String())
}

func clusterInfo(d *dialog, _ Command) {
	state := d.commands.grid.Router().State()
	assigned := 0
	for p, g := range state.Table {
		if g != 0 {
			first, last := space.SlotRange(space.PartitionID(p), len(state.Table))
			assigned += int(last) - int(first) + 1
		}
	}
	word := "ok"
	if assigned < space.Slots {
		word = "fail"
	}
	enabled := 0
	if d.commands.config.ClusterMode {
		enabled = 1
	}
	var b strings.Builder
	infoLine(&b, "cluster_enabled", enabled)
	infoLine(&b, "cluster_state", word)
	infoLine(&b, "cluster_slots_assigned", assigned)
	infoLine(&b, "cluster_slots_ok", assigned)
	infoLine(&b, "cluster_slots_pfail", 0)
	infoLine(&b, "cluster_slots_fail", 0)
	infoLine(&b, "cluster_known_nodes", len(state.Members))
	infoLine(&b, "cluster_size", len(state.Groups))
	infoLine(&b, "cluster_current_epoch", state.TableVersion)
	infoLine(&b, "cluster_my_epoch", state.TableVersion)
	d.out.Verbatim("txt", b.String())
}

// countKeysInSlot counts the keys of database 0, as clusters have no other.
func countKeysInSlot(d *dialog, c Command) {
	slot, ok := integer(c.Args[2])
	if !ok || slot < 0 || slot >= space.Slots {
		d.error("ERR Invalid slot")
		return
	}
	id, err := d.spaceOf(0)
	if err != nil {
		d.absent(err, func() { d.out.Int(0) })
		return
	}
	home := space.PartitionOfSlot(uint16(slot), d.commands.grid.Partitions())
	n := int64(0)
	from := grid.Bookmark{Partition: home}
	for done := false; !done && from.Partition == home; {
		var entries []grid.Entry
		var err error
		entries, from, done, err = d.commands.grid.Page(d.ctx, id, from, wholePage)
		if err != nil {
			d.fail(err)
			return
		}
		for _, e := range entries {
			if space.Slot(e.Key) == uint16(slot) {
				n++
			}
		}
	}
	d.out.Int(n)
}
