package space

// A take by filter that waits in several partitions at once must not have an entry
// of each, and must not lose any if its client dies. It therefore carries a Txn,
// and what it is granted is not removed but reserved: the removal is prepared as
// one of the transaction's, with this partition as its own home. Until it is
// finished nobody else is handed the entry or may write it, readers see it, its
// lease does not end, and the entries behind it in its group wait with it.
//
// The client commits one reservation by OpFinish, and with that has taken the
// entries; it finishes all others without FlagCommit, which leaves the entries in
// their old places. A reservation that has lasted for its Lease is asked for by the
// partition's leader like that of any transaction, and is given up, since its time
// is over by then. Whichever comes first stands: who commits afterwards is told
// CodeUnprepared, and has nothing. No other partition has a say, because nothing
// but this one entry hangs on it.

// reserves reports whether a take prepares the removal instead of doing it.
func (o *Op) reserves() bool { return o.Code == OpTakeMatch && o.Txn != (TxnID{}) }

// reservation returns the operation that stands before the takes of a reservation.
func (p *Partition) reservation(o *Op) (Op, Code) {
	lease := o.Lease
	if lease == 0 {
		lease = DefaultTxnLease
	}
	if lease < 0 || lease > maxHorizon {
		return Op{}, CodeInvalid
	}
	until := p.clock.Add(lease)
	return Op{Code: OpPrepare, Txn: o.Txn, Home: p.id, Lease: lease, Target: uint64(until)}, OK
}

// reserve prepares takes for a command of a session that reserves, and returns its
// reply: one result with the entries, or the reason why there is none.
func (p *Partition) reserve(id SessionID, o *Op, takes ...Op) Reply {
	first, code := p.reservation(o)
	if code != OK {
		return p.refused(code)
	}
	r := p.applyTxn(&Command{Session: id, Ops: append([]Op{first}, takes...)})
	if r.Code != OK {
		return p.refused(r.Results[r.Failed].Code)
	}
	r.Results = joinResults(r.Results[1:])
	return r
}

// applyReserve runs a take that reserves and may wait.
func (p *Partition) applyReserve(c *Command) Reply {
	take := c.Ops[0]
	take.Wait, take.Lease, take.Txn, take.Home = 0, 0, TxnID{}, 0
	r := p.reserve(c.Session, &c.Ops[0], take)
	if r.Code == OK || !mayCome(r.Results[0].Code) {
		return r
	}
	code := p.mustWait(c)
	if code == CodeWaiting {
		return p.reply(code)
	}
	return p.refused(code)
}
