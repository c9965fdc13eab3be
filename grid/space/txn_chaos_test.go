package space_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

// TestTransactionsAreAtomicAndSerializable: transfers between accounts in several
// partitions, whose messages are lost, repeated and overtaken and whose
// coordinators die at any moment, take effect everywhere or nowhere, in some
// serial order; and when the messages get through again no lock is left.
func TestTransactionsAreAtomicAndSerializable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTxnWorld(t)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.step()
		}
		w.heal()
		w.check()
	})
}

const (
	chaosPartitions = 3
	chaosAccounts   = 2 // of each partition
	chaosBalance    = 100
	chaosLimit      = 40 // how long a transaction has until it is not committed any more
	chaosAsks       = 15 // how long a participant waits before it asks
)

// txnWorld is a few partitions, the messages on their way and the coordinators.
type txnWorld struct {
	t      *rapid.T
	parts  [chaosPartitions]*space.Partition
	now    [chaosPartitions]space.Time
	flight []txnMessage
	txns   []*transfer
	seqs   [chaosPartitions]uint64
}

// txnMessage is a command on its way, and who waits for its reply: nil if nobody.
type txnMessage struct {
	to      int
	command space.Command
	reply   func(space.Reply)
}

// transfer is one transaction as its coordinator sees it.
type transfer struct {
	id       space.TxnID
	home     int
	until    uint64
	parts    []int
	reads    map[string]space.Seq // what it read: version by account
	dead     bool
	prepared map[int]bool
	decided  bool
	commit   bool
	finished map[int]bool
}

func newTxnWorld(t *rapid.T) *txnWorld {
	w := &txnWorld{t: t}
	for i := range w.parts {
		w.parts[i] = space.New(space.PartitionID(i), testHistory)
		define := space.DefineCommand(&space.Definition{ID: 1, Name: "accounts"})
		w.parts[i].Apply(0, &define)
		for a := range chaosAccounts {
			c := command(put(account(i, a), strconv.Itoa(chaosBalance)))
			w.parts[i].Apply(0, &c)
		}
	}
	return w
}

func account(part, n int) string { return fmt.Sprintf("%d/%d", part, n) }

func (w *txnWorld) step() {
	switch rapid.SampledFrom([]string{"begin", "deliver", "deliver", "deliver", "deliver", "lose", "repeat", "time", "die", "resolve", "export"}).Draw(w.t, "step") {
	case "begin":
		w.begin()
	case "deliver":
		w.deliver(true)
	case "repeat":
		w.deliver(false)
	case "lose":
		if n := len(w.flight); n > 0 {
			w.drop(rapid.IntRange(0, n-1).Draw(w.t, "lost"))
		}
	case "time":
		i := rapid.IntRange(0, chaosPartitions-1).Draw(w.t, "where")
		w.now[i] += space.Time(rapid.IntRange(1, 20).Draw(w.t, "passes"))
	case "die":
		if n := len(w.txns); n > 0 {
			w.txns[rapid.IntRange(0, n-1).Draw(w.t, "who")].dead = true
		}
	case "resolve":
		w.resolve(rapid.IntRange(0, chaosPartitions-1).Draw(w.t, "where"))
	case "export":
		i := rapid.IntRange(0, chaosPartitions-1).Draw(w.t, "where")
		w.parts[i] = exported(w.t, w.parts[i])
	}
}

func (w *txnWorld) drop(i int) txnMessage {
	m := w.flight[i]
	w.flight = slices.Delete(w.flight, i, i+1)
	return m
}

func (w *txnWorld) deliver(once bool) {
	if len(w.flight) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.flight)-1).Draw(w.t, "message")
	m := w.flight[i]
	if once {
		w.drop(i)
	}
	r := w.apply(m.to, m.command)
	if m.reply != nil && rapid.IntRange(0, 9).Draw(w.t, "reply") > 0 {
		m.reply(r)
	}
}

func (w *txnWorld) apply(to int, c space.Command) space.Reply {
	r, err := space.DecodeReply(w.parts[to].ApplyBytes(w.now[to], c.Append(nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// begin reads two accounts, and perhaps a third one without changing it, and
// sends the prepares of a transfer between the first two.
func (w *txnWorld) begin() {
	t := &transfer{
		id: space.TxnID{Session: 77, Number: uint64(len(w.txns) + 1)}, home: rapid.IntRange(0, chaosPartitions-1).Draw(w.t, "home"),
		reads: map[string]space.Seq{}, prepared: map[int]bool{}, finished: map[int]bool{},
	}
	t.until = uint64(w.now[t.home]) + chaosLimit
	from := w.account("from")
	to := w.account("to")
	if from == to {
		return
	}
	ops := map[int][]space.Op{}
	for i, at := range [][2]int{from, to, w.account("looked at")} {
		if i == 2 && (at == from || at == to) {
			continue
		}
		key := account(at[0], at[1])
		e, _ := w.parts[at[0]].Get(1, []byte(key))
		t.reads[key] = e.Version
		ops[at[0]] = append(ops[at[0]], space.Op{Code: space.OpCheck, Space: 1, Key: []byte(key), Match: e.Version})
		balance, _ := strconv.Atoi(string(e.Value))
		if amount := [3]int{-7, 7, 0}[i]; amount != 0 {
			ops[at[0]] = append(ops[at[0]], put(key, strconv.Itoa(balance+amount)))
		}
	}
	t.parts = slices.Sorted(maps.Keys(ops))
	w.txns = append(w.txns, t)
	for _, p := range t.parts {
		w.seqs[p]++
		prepare := space.Op{Code: space.OpPrepare, Txn: t.id, Home: space.PartitionID(t.home), Target: t.until, Lease: chaosAsks}
		c := session(w.seqs[p], 1, w.now[p]+200, append([]space.Op{prepare}, ops[p]...)...)
		w.flight = append(w.flight, txnMessage{p, c, func(r space.Reply) { w.prepared(t, p, r) }})
	}
}

func (w *txnWorld) account(what string) [2]int {
	return [2]int{rapid.IntRange(0, chaosPartitions-1).Draw(w.t, what), rapid.IntRange(0, chaosAccounts-1).Draw(w.t, what)}
}

// prepared is the coordinator hearing from a participant.
func (w *txnWorld) prepared(t *transfer, p int, r space.Reply) {
	if t.dead || t.decided {
		return
	}
	if r.Code == space.OK {
		t.prepared[p] = true
	}
	commit := len(t.prepared) == len(t.parts)
	if r.Code != space.OK || commit {
		w.flight = append(w.flight, txnMessage{t.home, t.decide(commit), func(r space.Reply) { w.decided(t, r) }})
	}
}

func (t *transfer) decide(commit bool) space.Command {
	o := space.Op{Code: space.OpDecide, Txn: t.id, Target: t.until}
	if commit {
		o.Flags = space.FlagCommit
		var ids []space.PartitionID
		for _, p := range t.parts {
			ids = append(ids, space.PartitionID(p))
		}
		o.Value = space.AppendPartitions(nil, ids)
	}
	return command(o)
}

func finishTxn(id space.TxnID, commit bool) space.Command {
	o := space.Op{Code: space.OpFinish, Txn: id}
	if commit {
		o.Flags = space.FlagCommit
	}
	return command(o)
}

func (w *txnWorld) decided(t *transfer, r space.Reply) {
	if t.dead || t.decided || r.Code != space.OK {
		return
	}
	t.decided, t.commit = true, r.Results[0].Count == 1
	for _, p := range t.parts {
		w.flight = append(w.flight, txnMessage{p, finishTxn(t.id, t.commit), func(space.Reply) {
			t.finished[p] = true
			if len(t.finished) == len(t.parts) && t.commit && !t.dead {
				w.flight = append(w.flight, txnMessage{t.home, settleTxn(t.id, 0), nil})
			}
		}})
	}
}

func settleTxn(id space.TxnID, stays time.Duration) space.Command {
	return command(space.Op{Code: space.OpDecide, Txn: id, Flags: space.FlagSettled, Lease: stays})
}

// resolve is the duty of a partition's leader: to ask what became of the prepared
// transactions whose time has passed, and to see to the commits decided here.
func (w *txnWorld) resolve(p int) {
	for _, x := range w.parts[p].Lapsed(w.now[p], 10) {
		ask := command(space.Op{Code: space.OpDecide, Txn: x.Txn, Target: uint64(x.Until)})
		w.flight = append(w.flight, txnMessage{int(x.Home), ask, func(r space.Reply) {
			if r.Code == space.OK {
				w.flight = append(w.flight, txnMessage{p, finishTxn(x.Txn, r.Results[0].Count == 1), nil})
			}
		}})
	}
	for _, x := range w.parts[p].Unsettled(w.now[p], 10) {
		left := len(x.Participants)
		done := map[space.PartitionID]bool{}
		for _, at := range x.Participants {
			w.flight = append(w.flight, txnMessage{int(at), finishTxn(x.Txn, true), func(space.Reply) {
				if done[at] = true; len(done) == left {
					w.flight = append(w.flight, txnMessage{p, settleTxn(x.Txn, 5), nil})
				}
			}})
		}
	}
}

// heal lets every message through and every leader do its duty until nothing is
// left to do.
func (w *txnWorld) heal() {
	for range 6 {
		for len(w.flight) > 0 {
			m := w.drop(0)
			if r := w.apply(m.to, m.command); m.reply != nil {
				m.reply(r)
			}
		}
		for p := range w.parts {
			w.now[p] += 2 * chaosLimit
			w.apply(p, space.TickCommand())
			w.resolve(p)
		}
	}
	for p, x := range w.parts {
		if s := x.Status(); s.Prepared+s.Outcomes > 0 {
			w.t.Fatalf("partition %d is left with %d prepared transactions and %d outcomes", p, s.Prepared, s.Outcomes)
		}
		for a := range chaosAccounts {
			c := command(space.Op{Code: space.OpRenew, Space: 1, Key: []byte(account(p, a))})
			if r := w.apply(p, c); r.Code != space.OK {
				w.t.Fatalf("account %s is left locked: %v", account(p, a), r.Err())
			}
		}
	}
}

// check holds the changes that were made against what the transactions were.
func (w *txnWorld) check() {
	writer := map[string]map[space.Seq]int{} // of a version: the number of its transaction
	versions := map[string][]space.Seq{}
	touched := map[int]bool{} // transactions that changed anything
	total := 0
	for p, x := range w.parts {
		changes, err := x.Changelog().Read(nil, 0, 1<<20)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range changes {
			key := string(c.Key)
			if c.Op == space.Defined || c.Txn == (space.TxnID{}) && c.Previous != 0 {
				continue // the last look at an account that heal renewed
			}
			if writer[key] == nil {
				writer[key] = map[space.Seq]int{}
			}
			writer[key][c.Seq] = int(c.Txn.Number)
			versions[key] = append(versions[key], c.Seq)
			touched[int(c.Txn.Number)] = true
		}
		for a := range chaosAccounts {
			e, _ := x.Get(1, []byte(account(p, a)))
			n, _ := strconv.Atoi(string(e.Value))
			total += n
		}
	}
	if total != chaosPartitions*chaosAccounts*chaosBalance {
		w.t.Fatalf("the accounts add up to %d", total)
	}
	follows := map[int][]int{}
	for i, t := range w.txns {
		n := i + 1
		if !touched[n] {
			if t.commit {
				w.t.Fatalf("transaction %d was committed and changed nothing", n)
			}
			continue
		}
		if t.decided && !t.commit {
			w.t.Fatalf("transaction %d was aborted and changed something", n)
		}
		for key, read := range t.reads {
			follows[n] = append(follows[n], writer[key][read])
			at := slices.Index(versions[key], read)
			if at < 0 {
				w.t.Fatalf("transaction %d read version %d of %s, which there never was", n, read, key)
			}
			if at+1 < len(versions[key]) {
				if next := writer[key][versions[key][at+1]]; next != n {
					follows[next] = append(follows[next], n)
				}
			}
		}
		w.whole(t, n, writer)
	}
	if cycle := check.Cycle(follows); cycle != nil {
		w.t.Fatalf("no serial order: %v", cycle)
	}
}

// whole checks that both accounts of a transfer that was committed have changed.
func (w *txnWorld) whole(t *transfer, n int, writer map[string]map[space.Seq]int) {
	changed := 0
	for key := range t.reads {
		if slices.Contains(slices.Collect(maps.Values(writer[key])), n) {
			changed++
		}
	}
	if changed != 2 {
		w.t.Fatalf("transaction %d changed %d of 2 accounts", n, changed)
	}
}
