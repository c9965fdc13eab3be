package arena

const (
	// garbageLimit is the part of garbage, in percent of the finished slabs, above
	// which every write compacts a little. Lower saves memory and costs writes
	// more moves: at 22 about 1.4 records a write when all keys are rewritten at
	// random, at 15 about 2.5.
	garbageLimit = 22

	// The work of one write. Four moves keep up with any mix of writes, as a write
	// makes one record of garbage and a victim holds more garbage than the limit.
	// Scanning passes dead records, so it may go further than moving; the bytes
	// matter only where records are long.
	maxMoved      = 4
	maxScanned    = 16
	maxMovedBytes = 64 << 10

	// victimBuckets sorts finished slabs by sixteenths of garbage: close enough to
	// the best victim, at a constant price for each change.
	victimBuckets = 16
)

// compaction is the progress in the slab that is being emptied.
type compaction struct {
	victim *slabUse // nil between victims
	at     int      // where the scan goes on
}

// compact does one write's share of compaction: it copies live records of the
// victim to the tail and lets the directories point there. The victim is freed
// when its last live record has moved or died.
func (t *Table) compact() {
	moved, bytes := 0, 0
	for range maxScanned {
		// The victim may have died since, or just now by the last move.
		if c := &t.compaction; c.victim == nil || c.victim.dead == c.victim.used {
			if c.victim, c.at = t.slabs.takeVictim(), 0; c.victim == nil {
				return
			}
		}
		if moved == maxMoved || bytes > maxMovedBytes {
			return
		}
		victim, at := t.compaction.victim, t.compaction.at
		if at == victim.used {
			panic("arena: a scanned slab has live records left")
		}
		rec := recordAt(victim.slab.buf[at:])
		t.compaction.at += rec.Size()
		if from := makeRef(victim.id, at); t.pages.at(rec.Order()) == from {
			t.move(rec, from)
			moved++
			bytes += rec.Size()
		}
	}
}

// move copies a live record to the tail.
func (t *Table) move(rec Record, from ref) {
	to, buf := t.slabs.append(rec.Size())
	copy(buf, rec.buf)
	t.pages.replace(rec.Order(), to)
	t.index.move(rec.Key(), from, to)
	t.slabs.discard(from, rec.Size())
}

// takeVictim returns the finished slab with the most garbage, out of the lists,
// or nil while garbage is within its limit.
func (s *slabs) takeVictim() *slabUse {
	if s.sealedDead*100 <= s.sealedUsed*garbageLimit {
		return nil
	}
	for b := len(s.victims) - 1; b >= 0; b-- {
		if use := s.victims[b]; use != nil {
			s.unlist(use)
			return use
		}
	}
	return nil
}

// list enters a finished slab into the list for its part of garbage.
func (s *slabs) list(use *slabUse) {
	use.bucket = use.dead * victimBuckets / use.used
	use.next = s.victims[use.bucket]
	if use.next != nil {
		use.next.prev = use
	}
	s.victims[use.bucket] = use
}

// unlist takes a slab out of its list, if it is in one.
func (s *slabs) unlist(use *slabUse) {
	if use.bucket == notListed {
		return
	}
	if use.prev != nil {
		use.prev.next = use.next
	} else {
		s.victims[use.bucket] = use.next
	}
	if use.next != nil {
		use.next.prev = use.prev
	}
	use.prev, use.next, use.bucket = nil, nil, notListed
}

// relist moves a slab whose garbage has grown. The victim in work is in no list.
func (s *slabs) relist(use *slabUse) {
	if use.bucket != notListed && use.bucket != use.dead*victimBuckets/use.used {
		s.unlist(use)
		s.list(use)
	}
}
