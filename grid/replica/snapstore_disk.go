package replica

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/folder"
)

const (
	// DefaultSnapshotsKept leaves one snapshot to fall back on when the newest turns out damaged.
	DefaultSnapshotsKept = 2

	snapshotSuffix = ".snap"
	tempSuffix     = ".tmp" // of a snapshot that is being written
	// snapshotWriteBuffer and snapshotReadBuffer are large because the content is read and written once, in order.
	snapshotWriteBuffer = 256 << 10
	snapshotReadBuffer  = 256 << 10
	// snapshotSyncBytes is how much is written before the next background sync, so that the sync at the end, during which raft
	// may do nothing else, is short.
	snapshotSyncBytes = 4 << 20
)

// SnapshotStoreConfig says where the snapshots of one group rest.
type SnapshotStoreConfig struct {
	// Dir is the folder, of this group alone; it is created if it is missing.
	Dir string
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
	// Keep is how many snapshots remain after a new one; default DefaultSnapshotsKept.
	Keep int
	// MaxBytes bounds one snapshot; default DefaultSnapshotBytes.
	MaxBytes int64
	// Logger receives a line for every damaged file; nil discards it.
	Logger *slog.Logger
	// OnFatal is called, before the call that met it returns its error, when a sync fails: the disk has then lost something that
	// it had accepted, and the owner should end the process. Nil leaves it at the error.
	OnFatal func(error)

	// published is called when a snapshot is there for good, before anything that it covers is removed.
	published func(index uint64) error
}

func (c SnapshotStoreConfig) withDefaults() (SnapshotStoreConfig, error) {
	if c.Dir == "" {
		return c, errors.New("replica: SnapshotStoreConfig.Dir is empty")
	}
	if c.Keep < 0 || c.MaxBytes < 0 {
		return c, errors.New("replica: SnapshotStoreConfig has a negative bound")
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Keep == 0 {
		c.Keep = DefaultSnapshotsKept
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultSnapshotBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) {}
	}
	if c.published == nil {
		c.published = func(uint64) error { return nil }
	}
	return c, nil
}

// diskSnapshots is the SnapshotStore of a folder: one file per snapshot, called by its id.
//
// A snapshot is written under a temporary name, synced, renamed, and the folder synced. Its content carries a checksum
// that Open verifies before it hands out a byte, because raft applies what it reads as it reads it.
type diskSnapshots struct {
	cfg SnapshotStoreConfig

	mu struct {
		sync.Mutex
		serial  uint64              // of the last snapshot created
		readers map[string]int      // open readers by id; their files are not removed
		damaged map[string]struct{} // ids of damaged files, so that each is reported once
	}
}

// OpenSnapshotStore opens the snapshots in cfg.Dir and removes what a crash left unfinished.
func OpenSnapshotStore(cfg SnapshotStoreConfig) (SnapshotStore, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := folder.Make(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("replica: list snapshots: %w", err)
	}
	// A rename that a failed sync left undone would otherwise only seem to be there.
	if err := folder.Sync(cfg.FS, cfg.Dir); err != nil {
		err = fmt.Errorf("replica: sync snapshots: %w", err)
		cfg.OnFatal(err)
		return nil, err
	}
	d := &diskSnapshots{cfg: cfg}
	d.mu.readers = map[string]int{}
	d.mu.damaged = map[string]struct{}{}
	for _, name := range names {
		if strings.HasSuffix(name, snapshotSuffix+tempSuffix) {
			if err := cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, name)); err != nil {
				return nil, fmt.Errorf("replica: remove unfinished snapshot: %w", err)
			}
		}
		if _, _, serial, ok := parseSnapshotID(strings.TrimSuffix(name, snapshotSuffix)); ok {
			d.mu.serial = max(d.mu.serial, serial)
		}
	}
	return d, nil
}

func (d *diskSnapshots) path(id string) string {
	return d.cfg.FS.PathJoin(d.cfg.Dir, id+snapshotSuffix)
}

// Create begins a snapshot in a temporary file.
func (d *diskSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	d.mu.Lock()
	d.mu.serial++
	serial := d.mu.serial
	d.mu.Unlock()
	meta, err := newSnapshotMeta(version, index, term, serial, configuration, configurationIndex)
	if err != nil {
		return nil, err
	}
	if len(encodeSnapshotMeta(&meta)) > snapshotMetaMax {
		return nil, fmt.Errorf("%w: configuration of more than %d bytes", ErrSnapshotTooLarge, snapshotMetaMax)
	}
	file, err := d.cfg.FS.Create(d.path(meta.ID)+tempSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("replica: create snapshot: %w", err)
	}
	synced := vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: snapshotSyncBytes})
	return &diskSink{store: d, meta: meta, file: synced, buffer: bufio.NewWriterSize(synced, snapshotWriteBuffer)}, nil
}

// List returns the snapshots whose meta verifies, newest first. A damaged one is logged and left out.
func (d *diskSnapshots) List() ([]*raft.SnapshotMeta, error) {
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	var metas []*raft.SnapshotMeta
	for _, id := range ids {
		if d.isDamaged(id) {
			continue
		}
		file, meta, _, err := d.openFile(id)
		switch {
		case errors.Is(err, ErrSnapshotCorrupt):
			d.reportDamaged(id, err)
			continue
		case errors.Is(err, ErrNoSnapshot): // Removed since we looked.
			continue
		case err != nil:
			return nil, err
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("replica: list snapshots: %w", err)
		}
		metas = append(metas, &meta)
	}
	return metas, nil
}

// Newest returns the newest snapshot that verifies, content included, or ErrNoSnapshot. If there are snapshots and none of them
// verifies, that is a SnapshotCorruptError: the replica has lost state, and must not start as if it never had any.
func (d *diskSnapshots) Newest() (*raft.SnapshotMeta, error) {
	meta, err := newestSnapshot(d)
	if !errors.Is(err, ErrNoSnapshot) {
		return meta, err
	}
	ids, idsErr := d.ids()
	if idsErr != nil {
		return nil, idsErr
	}
	if len(ids) > 0 {
		return nil, &SnapshotCorruptError{Path: d.path(ids[0]),
			Reason: "neither it nor an older one verifies; remove this replica and let it be rebuilt from the others"}
	}
	return nil, err
}

// Open verifies snapshot id and returns a reader of its content, from the start. A damaged one is a SnapshotCorruptError and no
// longer listed. The file is kept until the reader is closed.
func (d *diskSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if _, _, _, ok := parseSnapshotID(id); !ok {
		return nil, nil, fmt.Errorf("%w: %q", ErrNoSnapshot, id)
	}
	d.retain(id)
	file, meta, footer, err := d.openFile(id)
	if err == nil {
		if err = verifyContent(file, d.path(id), footer); err != nil {
			err = errors.Join(err, file.Close())
		}
	}
	if err != nil {
		if errors.Is(err, ErrSnapshotCorrupt) {
			d.reportDamaged(id, err)
		}
		return nil, nil, errors.Join(err, d.release(id))
	}
	content := io.NewSectionReader(file, 0, footer.contentLen)
	return &meta, &diskReader{
		Reader: bufio.NewReaderSize(newCheckedReader(content, d.path(id), footer.contentLen, footer.contentSum), snapshotReadBuffer),
		store:  d, file: file, id: id,
	}, nil
}

// verifyContent reads the whole content once.
func verifyContent(file vfs.File, path string, footer snapshotFooter) error {
	content := io.NewSectionReader(file, 0, footer.contentLen)
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, newCheckedReader(content, path, footer.contentLen, footer.contentSum),
		make([]byte, snapshotReadBuffer))
	return err
}

// openFile opens the file of snapshot id and verifies its meta.
func (d *diskSnapshots) openFile(id string) (vfs.File, raft.SnapshotMeta, snapshotFooter, error) {
	file, err := d.cfg.FS.Open(d.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, raft.SnapshotMeta{}, snapshotFooter{}, fmt.Errorf("%w: %q", ErrNoSnapshot, id)
	}
	if err != nil {
		return nil, raft.SnapshotMeta{}, snapshotFooter{}, fmt.Errorf("replica: open snapshot: %w", err)
	}
	meta, footer, err := d.readMeta(file, id)
	if err != nil {
		return nil, raft.SnapshotMeta{}, snapshotFooter{}, errors.Join(err, file.Close())
	}
	return file, meta, footer, nil
}

func (d *diskSnapshots) readMeta(file vfs.File, id string) (raft.SnapshotMeta, snapshotFooter, error) {
	corrupt := func(reason string) (raft.SnapshotMeta, snapshotFooter, error) {
		return raft.SnapshotMeta{}, snapshotFooter{}, &SnapshotCorruptError{Path: d.path(id), Reason: reason}
	}
	info, err := file.Stat()
	if err != nil {
		return raft.SnapshotMeta{}, snapshotFooter{}, fmt.Errorf("replica: open snapshot: %w", err)
	}
	if info.Size() < footerLen {
		return corrupt("file is shorter than a footer")
	}
	end := make([]byte, footerLen)
	if _, err := file.ReadAt(end, info.Size()-footerLen); err != nil && !errors.Is(err, io.EOF) {
		return raft.SnapshotMeta{}, snapshotFooter{}, fmt.Errorf("replica: read snapshot: %w", err)
	}
	footer, err := parseFooter(end, info.Size())
	if err != nil {
		return corrupt(err.Error())
	}
	tail := make([]byte, footer.metaLen+footerLen)
	if _, err := file.ReadAt(tail, footer.contentLen); err != nil && !errors.Is(err, io.EOF) {
		return raft.SnapshotMeta{}, snapshotFooter{}, fmt.Errorf("replica: read snapshot: %w", err)
	}
	meta, err := footer.openFooter(tail)
	if err != nil {
		return corrupt(err.Error())
	}
	meta.ID, meta.Size = id, footer.contentLen
	if index, term, _, _ := parseSnapshotID(id); index != meta.Index || term != meta.Term {
		return corrupt("file has the name of another snapshot")
	}
	return meta, footer, nil
}

// ids returns the ids of all snapshot files, newest first, damaged ones included.
func (d *diskSnapshots) ids() ([]string, error) {
	names, err := d.cfg.FS.List(d.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("replica: list snapshots: %w", err)
	}
	var ids []string
	for _, name := range names {
		id, ok := strings.CutSuffix(name, snapshotSuffix)
		if _, _, _, valid := parseSnapshotID(id); ok && valid {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

func (d *diskSnapshots) isDamaged(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, damaged := d.mu.damaged[id]
	return damaged
}

// reportDamaged logs once for each file that a snapshot is skipped: List has no other way to say so.
func (d *diskSnapshots) reportDamaged(id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.mu.damaged[id]; !known {
		d.mu.damaged[id] = struct{}{}
		d.cfg.Logger.Error("snapshot skipped", "snapshot", id, "error", err)
	}
}

func (d *diskSnapshots) retain(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.readers[id]++
}

// release ends a reader and removes what only it kept.
func (d *diskSnapshots) release(id string) error {
	d.mu.Lock()
	d.mu.readers[id]--
	last := d.mu.readers[id] == 0
	if last {
		delete(d.mu.readers, id)
	}
	d.mu.Unlock()
	if !last {
		return nil
	}
	return d.reap()
}

// reap removes all snapshots but the newest that are to be kept. Damaged ones do not count, and go once a good one is newer.
func (d *diskSnapshots) reap() error {
	ids, err := d.ids()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := 0
	for _, id := range ids {
		_, damaged := d.mu.damaged[id]
		if !damaged && kept < d.cfg.Keep {
			kept++
			continue
		}
		if d.mu.readers[id] > 0 || kept == 0 {
			continue
		}
		if err := d.cfg.FS.Remove(d.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replica: remove old snapshot: %w", err)
		}
		delete(d.mu.damaged, id)
	}
	return nil
}

// diskReader reads a verified snapshot. It compares the checksum again at the end, which costs little.
type diskReader struct {
	io.Reader
	store *diskSnapshots
	file  vfs.File // nil once closed
	id    string
}

// Close ends the reader. A second call does nothing.
func (r *diskReader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return errors.Join(err, r.store.release(r.id))
}

// diskSink writes one snapshot. One goroutine uses it.
type diskSink struct {
	store  *diskSnapshots
	meta   raft.SnapshotMeta
	file   vfs.File // nil once closed or cancelled
	buffer *bufio.Writer
	sum    uint32
}

func (s *diskSink) ID() string { return s.meta.ID }

func (s *diskSink) Write(p []byte) (int, error) {
	if s.file == nil {
		return 0, errSinkClosed
	}
	if s.meta.Size+int64(len(p)) > s.store.cfg.MaxBytes {
		return 0, fmt.Errorf("%w: %d bytes", ErrSnapshotTooLarge, s.store.cfg.MaxBytes)
	}
	s.sum = crc32.Update(s.sum, castagnoli, p)
	written := 0
	for len(p) > 0 {
		// Pieces of at most the buffer are copied into it. The file may change the bytes it is given, so p must not reach it.
		n, err := s.buffer.Write(p[:min(len(p), snapshotWriteBuffer)])
		written += n
		s.meta.Size += int64(n)
		if err != nil {
			return written, fmt.Errorf("replica: write snapshot: %w", err)
		}
		p = p[n:]
	}
	return written, nil
}

// Close publishes the snapshot, durably, and removes those it replaces. After an error there is no snapshot. A second call, and
// one after Cancel, does nothing.
func (s *diskSink) Close() error {
	if s.file == nil {
		return nil
	}
	if err := s.finish(); err != nil {
		return errors.Join(fmt.Errorf("replica: finish snapshot: %w", err), s.Cancel())
	}
	fsys, final := s.store.cfg.FS, s.store.path(s.meta.ID)
	if err := fsys.Rename(final+tempSuffix, final); err != nil {
		return errors.Join(fmt.Errorf("replica: publish snapshot: %w", err), fsys.Remove(final+tempSuffix))
	}
	if err := folder.Sync(fsys, s.store.cfg.Dir); err != nil {
		err = fmt.Errorf("replica: publish snapshot: %w", err)
		s.store.cfg.OnFatal(err)
		return err
	}
	if err := s.store.cfg.published(s.meta.Index); err != nil {
		return fmt.Errorf("replica: publish snapshot: %w", err)
	}
	if err := s.store.reap(); err != nil { // The snapshot is there all the same; the next one tries again.
		s.store.cfg.Logger.Warn("old snapshots remain", "error", err)
	}
	return nil
}

// finish writes the footer, syncs and closes the file. It leaves s.file set if it fails, for Cancel.
func (s *diskSink) finish() error {
	if _, err := s.buffer.Write(sealFooter(encodeSnapshotMeta(&s.meta), s.meta.Size, s.sum)); err != nil {
		return err
	}
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		err = fmt.Errorf("sync: %w", err)
		s.store.cfg.OnFatal(err)
		return err
	}
	err := s.file.Close()
	if err == nil {
		s.file = nil
	}
	return err
}

// Cancel removes the unfinished snapshot. A call after Close does nothing.
func (s *diskSink) Cancel() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if removeErr := s.store.cfg.FS.Remove(s.store.path(s.meta.ID) + tempSuffix); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("replica: cancel snapshot: %w", removeErr))
	}
	return err
}
