package grid

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Bounds of one transaction. They keep what a partition has to lock and to keep
// for it small.
const (
	MaxTransactionKeys       = 1024                  // keys read, found and written
	MaxTransactionBytes      = 1 << 20               // keys, values and templates sent at the commit
	MaxTransactionPartitions = space.MaxParticipants // a query counts all that it searches

	// transactionWait and transactionWaitMax are the first and the longest pause
	// before a transaction that met another one is run again.
	transactionWait    = time.Millisecond
	transactionWaitMax = 100 * time.Millisecond
)

// TransactionRef names a transaction whose outcome is unknown.
type TransactionRef = cluster.TxnRef

// UnknownTransactionError is returned by [Grid.Transact] when the time was up
// before the outcome of a transaction was known, or before it was in force
// everywhere. It is an ErrIndeterminate; [Grid.TransactionStatus] tells.
type UnknownTransactionError = cluster.TxnUnknownError

// Errors of transactions, for errors.Is.
var (
	// ErrLocked: a transaction that is being decided has locked the entry.
	ErrLocked = space.ErrLocked
	// ErrTransactionForgotten: the status was asked for too late.
	ErrTransactionForgotten = cluster.ErrTxnForgotten
)

// Tx is one run of a transaction: see [Grid.Transact]. It is used by one goroutine
// and ends with the function that got it.
type Tx struct {
	g   *Grid
	ctx context.Context // of Transact; a Tx does not outlive it

	seen    map[txnKey]*txEntry
	order   []*txEntry // in the order of the first touch
	queries []txQuery
	bytes   int
	// conflict is set once it is plain that what was read does not hold any more.
	conflict error
}

// txEntry is an entry as the transaction sees it.
type txEntry struct {
	key     txnKey
	looked  bool          // it was read: version has to hold at the commit
	version space.Seq     // as read; 0: absent
	entry   Entry         // as the transaction leaves it
	present bool          // the transaction leaves it there
	written bool          // the transaction wrote or removed it
	lease   time.Duration // asked for by the write
}

// txQuery is a search of one partition that has to find nothing new at the commit.
type txQuery struct {
	partition space.PartitionID
	space     space.ID
	template  []byte
	condition []byte
	seq       space.Seq
}

// Transact runs f and commits what it did: all of it, in any number of spaces and
// partitions, or nothing. Among transactions it is serializable: the result is
// that of running them one after the other. Readers outside of transactions see
// it partition by partition, and completely once Transact has returned.
//
// f reads and writes through tx, and sees its own writes. Writes are kept back
// until f returns; then the commit checks that everything f read, found absent or
// searched for is still so. If it is not, or if another transaction is about to
// change it, f is run again on new reads after a pause, until ctx ends (10
// seconds if it has no deadline): f must have no effect but through tx. While it
// runs it may see entries that never were together; such a run is not committed.
//
// An error of f ends the transaction without effect and is returned, unless what
// f read had changed: then f is run again. Other errors: ErrConflict, ErrLocked
// or others that say what was in the way when the time was up; ErrTooLarge at one
// of the bounds; an *[UnknownTransactionError].
//
// The commit of a transaction that touches one partition is one command. One that
// touches several is prepared in each, decided in the partition of its first
// write, and finished in each: two exchanges more.
func (g *Grid) Transact(ctx context.Context, f func(tx *Tx) error) error {
	if g.closed.Load() {
		return ErrClosed
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cluster.DefaultTimeout)
		defer cancel()
	}
	for wait := transactionWait; ; wait = min(2*wait, transactionWaitMax) {
		tx := &Tx{g: g, ctx: ctx, seen: map[txnKey]*txEntry{}}
		err := tx.run(f)
		if !again(err) {
			return err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("grid: the transaction met others until its time was up: %w", err)
		}
	}
}

// run runs f once and commits.
func (tx *Tx) run(f func(tx *Tx) error) error {
	err := f(tx)
	switch {
	case tx.conflict != nil:
		return &metError{tx.conflict}
	case err == nil:
		return tx.met(tx.commit(true))
	}
	// The reason to give up counts only if it was not seen by mistake.
	if unsure := tx.met(tx.commit(false)); again(unsure) {
		return unsure
	}
	return err
}

// metError marks an error that another run may not meet.
type metError struct{ error }

func (e *metError) Unwrap() error { return e.error }

// again reports whether a transaction is to be run again.
func again(err error) bool {
	_, met := errors.AsType[*metError](err)
	return met
}

// met marks what a commit fails with if that comes from what others do.
func (tx *Tx) met(err error) error {
	for _, other := range []error{
		ErrConflict, ErrLocked, space.ErrFull, cluster.ErrTxnTooSlow, &space.Error{Code: space.CodeTrimmed},
	} {
		if errors.Is(err, other) {
			return &metError{err}
		}
	}
	if errors.Is(err, ErrUnavailable) && tx.ctx.Err() == nil {
		return &metError{err}
	}
	return err
}

// TransactionStatus reports whether a transaction was committed; if it was, it is
// in force everywhere when TransactionStatus returns. One that is not decided yet
// is given up. It can be asked for ten minutes after the transaction at least.
func (g *Grid) TransactionStatus(ctx context.Context, ref TransactionRef) (committed bool, err error) {
	if g.closed.Load() {
		return false, ErrClosed
	}
	return g.router.TxnStatus(ctx, ref)
}

// Read returns the entry under a key of a space as the transaction leaves it, or
// ErrNotFound.
func (tx *Tx) Read(spaceName string, key []byte) (Entry, error) {
	x, err := tx.touch(spaceName, key)
	if err == nil && !x.looked && !x.written {
		err = tx.fetch(x)
	}
	switch {
	case err != nil:
		return Entry{}, err
	case !x.present:
		return Entry{}, ErrNotFound
	}
	return x.entry, nil
}

// Write writes an entry; its Key, Value, Kind and Lease count.
func (tx *Tx) Write(spaceName string, e Entry) error {
	x, err := tx.touch(spaceName, e.Key)
	if err != nil {
		return err
	}
	x.entry = Entry{Key: x.entry.Key, Value: e.Value, Kind: e.Kind}
	x.present, x.written, x.lease = true, true, e.Lease
	tx.bytes += len(e.Value)
	return tx.within()
}

// Take removes the entry under a key and returns it, or ErrNotFound.
func (tx *Tx) Take(spaceName string, key []byte) (Entry, error) {
	x, err := tx.touch(spaceName, key)
	if err == nil && !x.looked {
		// Also if the transaction has written it: the commit has to know whether
		// there is anything to remove.
		err = tx.fetch(x)
	}
	switch {
	case err != nil:
		return Entry{}, err
	case !x.present:
		return Entry{}, ErrNotFound
	}
	taken := x.entry
	x.entry, x.present, x.written = Entry{Key: taken.Key}, false, true
	return taken, nil
}

// touch returns the transaction's view of an entry, whether or not it was read.
func (tx *Tx) touch(spaceName string, key []byte) (*txEntry, error) {
	def, err := tx.g.Describe(tx.ctx, spaceName)
	if err != nil {
		return nil, err
	}
	if len(key) == 0 || len(key) > space.MaxKeyBytes {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("a key of %d bytes", len(key)), Hint: fmt.Sprintf("1 to %d", space.MaxKeyBytes)}
	}
	return tx.entry(txnKey{def.ID, string(key)})
}

// entry returns the view of an entry, a new one if it was not touched so far.
func (tx *Tx) entry(k txnKey) (*txEntry, error) {
	if x, ok := tx.seen[k]; ok {
		return x, nil
	}
	x := &txEntry{key: k, entry: Entry{Key: []byte(k.key)}}
	tx.seen[k] = x
	tx.order = append(tx.order, x)
	tx.bytes += len(k.key)
	return x, tx.within()
}

// within checks the bounds of what the transaction has gathered.
func (tx *Tx) within() error {
	if len(tx.order) > MaxTransactionKeys {
		return &space.Error{Code: space.CodeTooLarge, Detail: fmt.Sprintf("a transaction on more than %d keys", MaxTransactionKeys), Hint: "split it"}
	}
	if tx.bytes > MaxTransactionBytes {
		return &space.Error{Code: space.CodeTooLarge, Detail: fmt.Sprintf("a transaction of more than %d bytes", MaxTransactionBytes), Hint: "split it"}
	}
	return nil
}

// fetch reads what is stored under a key. What the transaction has written it
// goes on seeing.
func (tx *Tx) fetch(x *txEntry) error {
	p := space.PartitionOf(x.entry.Key, tx.g.Partitions())
	l := &cluster.Lookup{Get: cluster.Get{Partition: p, Space: x.key.space, Key: x.entry.Key}}
	tx.g.router.Read(tx.ctx, cluster.Linearizable, []*cluster.Lookup{l})
	switch {
	case l.Err != nil:
		return l.Err
	case l.Found.Code != space.OK && l.Found.Code != space.CodeNotFound:
		return l.Found.Code.Err()
	}
	x.looked, x.version = true, l.Found.Entry.Version
	if !x.written && l.Found.Code == space.OK {
		x.entry, x.present = entryOf(l.Found.Entry), true
	}
	return nil
}
