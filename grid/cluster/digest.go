package cluster

import (
	"context"
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
)

// maxCuts bounds the images that wait to be hashed, beside the one that is: each
// keeps the memory of its moment. A mark that finds no room has no digest here.
const maxCuts = 1

// digests computes what the replicas of a group compare. The command that marks a
// point of the log lets the applying goroutine cut an image, which copies page
// tables and no entry; another goroutine hashes it beside everything else.
type digests struct {
	cuts chan cutDigest
	done bell

	mu     sync.Mutex
	latest map[space.PartitionID]digestAt
}

// cutDigest is an image at a mark.
type cutDigest struct {
	partition space.PartitionID
	mark      uint64
	image     *space.Image
}

// digestAt is what is known of the newest mark of a partition.
type digestAt struct {
	mark   uint64
	state  digestState
	digest space.Digest
}

type digestState uint8

const (
	digestSkipped digestState = iota + 1 // too many at a time
	digestBegun
	digestDone
)

func (d *digests) init() {
	d.cuts = make(chan cutDigest, maxCuts)
	d.latest = map[space.PartitionID]digestAt{}
}

// cut cuts a partition that has just been marked. It runs on the applying
// goroutine, the only one that adds cuts.
func (d *digests) cut(p *space.Partition) {
	mark := p.Marked()
	if len(d.cuts) == cap(d.cuts) {
		d.note(p.ID(), digestAt{mark: mark, state: digestSkipped})
		return
	}
	d.note(p.ID(), digestAt{mark: mark, state: digestBegun})
	d.cuts <- cutDigest{p.ID(), mark, p.Image()}
}

// note keeps what is known of a mark, unless a newer one has come.
func (d *digests) note(p space.PartitionID, at digestAt) {
	d.mu.Lock()
	if old := d.latest[p]; at.state != digestDone || old.mark == at.mark {
		d.latest[p] = at
	}
	d.mu.Unlock()
	d.done.ring()
}

// run hashes what is cut until ctx ends. turn is held meanwhile.
func (d *digests) run(ctx context.Context, turn *sync.Mutex) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-d.cuts:
			turn.Lock()
			digest := c.image.Digest()
			turn.Unlock()
			d.note(c.partition, digestAt{c.mark, digestDone, digest})
		}
	}
}

// wait returns the digest of a partition at a mark, once it is computed. known is
// false if this replica has none, or had none when ctx ended.
func (d *digests) wait(ctx context.Context, p space.PartitionID, mark uint64) (digest space.Digest, known bool) {
	for {
		done := d.done.heard()
		d.mu.Lock()
		at := d.latest[p]
		d.mu.Unlock()
		if at.mark == mark && at.state != digestBegun {
			return at.digest, at.state == digestDone
		}
		select {
		case <-done:
		case <-ctx.Done():
			return space.Digest{}, false
		}
	}
}
