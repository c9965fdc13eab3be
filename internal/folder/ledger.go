package folder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	ledgerFile = "LEDGER"
	// slotBytes is one page, which disks write whole or nearly so; a torn one does
	// not verify and the other one counts.
	slotBytes   = 4096
	ledgerSlots = 2
	// ledgerEvery is how long after a sync of Pebble's the ledger may lag behind it
	// on disk. A loss of power within that time leaves the newest records to
	// Pebble's own rule for the end of a log; the end of a process does not, because
	// what was written stays with the operating system.
	ledgerEvery  = 500 * time.Millisecond
	ledgerMagic  = "SGLEDGR\x01" // the last byte is the version
	ledgerHeader = len(ledgerMagic) + 8 + 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ledger is what a folder knows of its files beside Pebble: which of those that
// Pebble appends to must be there, how far each has been synced, and the checksum
// up to there.
//
// Pebble ends the replay of its newest log, and of its manifest, at the first
// record that does not verify, because that is what a loss of power leaves
// behind. One flipped bit there would undo everything after it, votes and
// acknowledged writes among them, and a missing file would never be missed. The
// ledger tells the two apart: what a sync has covered must be there.
//
// It rests in two slots that are written in turn, so that one of them always
// verifies. A slot never claims more than what the disk has: files are claimed
// after their folder was synced, bytes after they were, and a claim is withdrawn,
// durably, before its file goes.
type ledger struct {
	fs   vfs.FS
	dir  string
	fail func(error)

	wake chan struct{} // something is not synced; one slot
	stop chan struct{}
	done sync.WaitGroup

	syncing sync.Mutex // one sync at a time; taken before mu
	mu      struct {
		sync.Mutex
		file  vfs.File
		files map[string]*tracked
		seq   uint64
		slot  int64 // that is written next
		busy  bool  // a sync is under way: the slots must not be touched
		ended bool  // file is closed
		dirty bool  // the slots do not say what files says
	}
}

// claim is how far a file has been synced, and the checksum up to there.
type claim struct {
	bytes int64
	sum   uint32
}

// tracked is a file that Pebble appends to.
type tracked struct {
	written claim // may not be on disk
	synced  claim
	named   bool // its name is durable, so it may be claimed
}

// tracks reports whether the ledger keeps account of a file of this name. Tables
// are not among them: each of their blocks has a checksum, and the manifest knows
// them.
func tracks(name string) bool {
	return strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST-") || strings.HasPrefix(name, "marker.")
}

// readLedger returns what the newer good slot claims. It fails with an error that
// matches fs.ErrNotExist if there is no ledger, and with ErrDamaged if no slot
// verifies.
func readLedger(fsys vfs.FS, dir string) (claims map[string]claim, seq uint64, err error) {
	f, err := fsys.Open(fsys.PathJoin(dir, ledgerFile))
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, ledgerSlots*slotBytes))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, 0, err
	}
	for len(b) > 0 {
		n := min(len(b), slotBytes)
		if c, s, ok := decodeSlot(b[:n]); ok && (claims == nil || s > seq) {
			claims, seq = c, s
		}
		b = b[n:]
	}
	if claims == nil {
		return nil, 0, fmt.Errorf("%w: no part of %s verifies", ErrDamaged, ledgerFile)
	}
	return claims, seq, nil
}

// A slot is magic | seq(8) | count(2) | count × (length(1), name, bytes(8),
// sum(4)) | CRC-32C of all before it(4), with little-endian numbers.
func encodeSlot(claims map[string]claim, seq uint64) []byte {
	b := make([]byte, 0, slotBytes)
	b = append(b, ledgerMagic...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint16(b, 0)
	count := uint16(0)
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if len(name) > 255 || len(b)+1+len(name)+8+4+crc32.Size > slotBytes {
			continue // A hundred files are open at once where five are usual; what finds no room is left to Pebble.
		}
		count++
		b = append(append(b, byte(len(name))), name...)
		b = binary.LittleEndian.AppendUint64(b, uint64(claims[name].bytes))
		b = binary.LittleEndian.AppendUint32(b, claims[name].sum)
	}
	binary.LittleEndian.PutUint16(b[ledgerHeader-2:], count)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSlot(b []byte) (claims map[string]claim, seq uint64, ok bool) {
	if len(b) < ledgerHeader || string(b[:len(ledgerMagic)]) != ledgerMagic {
		return nil, 0, false
	}
	seq = binary.LittleEndian.Uint64(b[len(ledgerMagic):])
	claims = map[string]claim{}
	rest := b[ledgerHeader:]
	for range binary.LittleEndian.Uint16(b[ledgerHeader-2:]) {
		if len(rest) < 1 || len(rest) < 1+int(rest[0])+8+4 {
			return nil, 0, false
		}
		n := 1 + int(rest[0])
		c := claim{int64(binary.LittleEndian.Uint64(rest[n:])), binary.LittleEndian.Uint32(rest[n+8:])}
		if c.bytes < 0 {
			return nil, 0, false
		}
		claims[string(rest[1:n])] = c
		rest = rest[n+8+4:]
	}
	body := len(b) - len(rest)
	if len(rest) < crc32.Size || binary.LittleEndian.Uint32(rest) != crc32.Checksum(b[:body], castagnoli) {
		return nil, 0, false
	}
	return claims, seq, true
}

// check reads the claimed part of every file and returns the first one that is not
// as it was synced, as ErrDamaged.
func check(fsys vfs.FS, dir string, claims map[string]claim) error {
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		want := claims[name]
		f, err := fsys.Open(fsys.PathJoin(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, name)
		}
		if err != nil {
			return err
		}
		sum := crc32.New(castagnoli)
		n, err := io.CopyBuffer(sum, io.LimitReader(f, want.bytes), make([]byte, 256<<10))
		switch err = errors.Join(err, f.Close()); {
		case err != nil:
			return fmt.Errorf("read %s: %w", name, err)
		case n < want.bytes:
			return fmt.Errorf("%w: %s has %d of the %d bytes that were synced", ErrDamaged, name, n, want.bytes)
		case sum.Sum32() != want.sum:
			return fmt.Errorf("%w: the checksum of %s is wrong", ErrDamaged, name)
		}
	}
	return nil
}

// openLedger begins to keep account in dir, from what the ledger there claimed, or
// from nothing. fail is called if the disk fails.
func openLedger(fsys vfs.FS, dir string, claims map[string]claim, seq uint64, fail func(error)) (*ledger, error) {
	l := &ledger{fs: fsys, dir: dir, fail: fail, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	l.mu.files, l.mu.seq = map[string]*tracked{}, seq
	for name, c := range claims {
		l.mu.files[name] = &tracked{written: c, synced: c, named: true}
	}
	path := fsys.PathJoin(dir, ledgerFile)
	if claims == nil {
		f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		first := make([]byte, ledgerSlots*slotBytes)
		copy(first, encodeSlot(nil, seq))
		_, err = f.Write(first)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close(), Sync(fsys, dir)); err != nil {
			return nil, err
		}
	}
	if err := renewManifests(fsys, dir, claims); err != nil {
		return nil, err
	}
	var err error
	if l.mu.file, err = fsys.OpenReadWrite(path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	// Both slots may be the older one; make sure that the newer is the other one
	// than the next that is written, and good.
	for range ledgerSlots {
		if err := l.sync(); err != nil {
			return nil, errors.Join(err, l.mu.file.Close())
		}
	}
	l.done.Go(l.run)
	return l, nil
}

// renewManifests writes every manifest anew that has more than a sync is known to
// have covered. After a sync that failed the operating system may show what the disk
// does not have, and a second sync would not write it; Pebble would remove the logs
// that such a manifest no longer needs. The logs themselves Pebble writes anew, into
// tables.
func renewManifests(fsys vfs.FS, dir string, claims map[string]claim) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "MANIFEST-") {
			continue
		}
		path := fsys.PathJoin(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			return err
		}
		if c, known := claims[name]; known && c.bytes == info.Size() {
			continue
		}
		if err := renew(fsys, path); err != nil {
			return fmt.Errorf("write %s anew: %w", name, err)
		}
	}
	return Sync(fsys, dir)
}

// renew replaces a file by a durable copy of what can be read of it.
func renew(fsys vfs.FS, path string) error {
	from, err := fsys.Open(path)
	if err != nil {
		return err
	}
	to, err := fsys.Create(path+unfinished, vfs.WriteCategoryUnspecified)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	_, err = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close(), from.Close()); err != nil {
		return err
	}
	return fsys.Rename(path+unfinished, path)
}

// run syncs the ledger soon after it was written.
func (l *ledger) run() {
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			return
		}
		timer := time.NewTimer(ledgerEvery)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return
		}
		if err := l.sync(); err != nil {
			l.fail(err)
			return
		}
	}
}

// close syncs a last time and ends the account. After a failure it only ends it.
func (l *ledger) close(failed bool) error {
	close(l.stop)
	l.done.Wait()
	var err error
	if !failed {
		err = l.sync()
	}
	// Goroutines of a failed Pebble may still come here.
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.ended = true
	return errors.Join(err, l.mu.file.Close())
}

var errLedgerEnded = errors.New("the folder is closed")

// sync writes a slot and makes it durable. Then the other one is next.
func (l *ledger) sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	err := l.writeLocked()
	l.mu.busy = err == nil
	l.mu.Unlock()
	if err == nil {
		err = l.mu.file.Sync()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.busy = false
	if err != nil {
		return fmt.Errorf("keep %s: %w", ledgerFile, err)
	}
	l.mu.slot = (l.mu.slot + 1) % ledgerSlots
	if l.mu.dirty {
		return l.writeLocked()
	}
	return nil
}

// writeLocked writes the present claims into the slot whose turn it is.
func (l *ledger) writeLocked() error {
	if l.mu.ended {
		return errLedgerEnded
	}
	claims := make(map[string]claim, len(l.mu.files))
	for name, t := range l.mu.files {
		if t.named {
			claims[name] = t.synced
		}
	}
	l.mu.seq++
	l.mu.dirty = false
	_, err := l.mu.file.WriteAt(encodeSlot(claims, l.mu.seq), l.mu.slot*slotBytes)
	return err
}

// noteLocked has the claims written without a wait for the disk.
func (l *ledger) noteLocked() error {
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if l.mu.busy {
		l.mu.dirty = true
		return nil
	}
	return l.writeLocked()
}

// created begins the account of a new file, whose name is not durable yet.
func (l *ledger) created(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.files[name] = &tracked{}
}

// wrote notes what was appended to a file: length and checksum, with what was
// there before.
func (l *ledger) wrote(name string, now claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.mu.files[name]; t != nil {
		t.written = now
	}
}

// written returns how far a file was written.
func (l *ledger) written(name string) claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.mu.files[name]; t != nil {
		return t.written
	}
	return claim{}
}

// synced notes that a file is on disk up to a place.
func (l *ledger) synced(name string, to claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.mu.files[name]
	if t == nil || t.synced == to {
		return nil
	}
	t.synced = to
	if !t.named {
		return nil
	}
	return l.noteLocked()
}

// unnamed returns the files whose names are not durable yet.
func (l *ledger) unnamed() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, t := range l.mu.files {
		if !t.named {
			names = append(names, name)
		}
	}
	return names
}

// named notes, durably, that the names of files are.
func (l *ledger) named(names []string) error {
	if len(names) == 0 {
		return nil
	}
	l.mu.Lock()
	for _, name := range names {
		if t := l.mu.files[name]; t != nil {
			t.named = true
		}
	}
	l.mu.Unlock()
	return l.sync()
}

// removing withdraws, durably, what is claimed of a file that is about to go.
func (l *ledger) removing(name string) error {
	l.mu.Lock()
	t := l.mu.files[name]
	delete(l.mu.files, name)
	l.mu.Unlock()
	if t == nil || !t.named {
		return nil
	}
	return l.sync()
}

// holds claims, durably, a file as a whole that somebody else has written and
// synced.
func (l *ledger) holds(name string, text []byte) error {
	l.mu.Lock()
	c := claim{int64(len(text)), crc32.Checksum(text, castagnoli)}
	l.mu.files[name] = &tracked{written: c, synced: c, named: true}
	l.mu.Unlock()
	return l.sync()
}
