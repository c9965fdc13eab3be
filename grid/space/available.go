package space

// available is called when an entry can be handed out that could not be before:
// it was written or changed, a claim on it ended, or it came to the head of its
// group. The change that made it so is in the changelog already.
func (p *Partition) available(*entries, uint64) {}
