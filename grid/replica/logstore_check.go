package replica

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/spacegrid/spacegrid/internal/folder"
)

// OpenCheckedLogStorage is OpenLogStorage followed by Check with the snapshots in root. identity names the member record that a
// folder has once it was used. Damage is an error that IsDamage knows, cfg.OnFatal is not called for it, and the folder is marked:
// see SetAside.
func OpenCheckedLogStorage(cfg LogStorageConfig, root SnapshotStoreConfig, identity string) (*LogStorage, error) {
	quiet, opened := folder.UntilOpen(cfg.OnFatal)
	cfg.OnFatal = quiet
	s, err := OpenLogStorage(cfg)
	if err != nil {
		return nil, err
	}
	_, err = s.Meta(identity)
	if known := !errors.Is(err, ErrNoMeta); err == nil || !known {
		err = s.Check(root, known)
	}
	if err != nil {
		if IsDamage(err) {
			err = errors.Join(err, folder.Mark(cfg.FS, cfg.Dir, err))
		}
		return nil, errors.Join(err, s.Close())
	}
	opened()
	return s, nil
}

// Check reads everything that s and the snapshots in the folder root hold, before anything uses it, and returns the first thing
// that is not as it was acknowledged, as an error that matches ErrCorrupt, ErrSnapshotCorrupt or ErrLogHole: a replica that
// stands on it must neither vote nor lead. known says that the member has been here before; without it nothing may be here.
//
// A snapshot that does not verify is no such thing while an older one and the log make up for it. Snapshots of a group whose
// records are gone are left of a removal that did not end, and are removed.
func (s *LogStorage) Check(root SnapshotStoreConfig, known bool) error {
	root, err := root.withDefaults()
	if err != nil {
		return err
	}
	logged, err := s.Groups()
	if err != nil {
		return s.unreadable(err)
	}
	kept, err := snapshotGroups(root)
	if err != nil {
		return err
	}
	for _, id := range kept {
		switch {
		case !known:
			return &CorruptError{Group: id, Record: "log folder", Reason: "it is new, and there are snapshots of a group"}
		case !slices.Contains(logged, id):
			if err := RemoveSnapshots(root.of(id)); err != nil {
				return err
			}
		}
	}
	for _, id := range logged {
		if err := s.checkGroup(id, root.of(id), slices.Contains(kept, id)); err != nil {
			return fmt.Errorf("replica: group %d: %w", id, s.unreadable(err))
		}
	}
	return nil
}

// of is the configuration of one group's snapshots, in a folder of the root.
func (c SnapshotStoreConfig) of(id uint32) SnapshotStoreConfig {
	c.Dir = c.FS.PathJoin(c.Dir, strconv.FormatUint(uint64(id), 10))
	return c
}

// snapshotGroups returns the groups that have a folder with snapshots, finished or not.
func snapshotGroups(root SnapshotStoreConfig) (ids []uint32, err error) {
	if _, err := root.FS.Stat(root.Dir); err != nil {
		//nolint:nilerr // None yet. What else may be wrong with the folder is met when it is used.
		return nil, nil
	}
	names, err := root.FS.List(root.Dir)
	if err != nil {
		return nil, fmt.Errorf("replica: list snapshots: %w", err)
	}
	for _, name := range names {
		id, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		files, err := root.FS.List(root.of(uint32(id)).Dir)
		if err != nil {
			return nil, fmt.Errorf("replica: list snapshots: %w", err)
		}
		if len(files) > 0 {
			ids = append(ids, uint32(id))
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// checkGroup checks one group, and its snapshots if there are any.
func (s *LogStorage) checkGroup(id uint32, snapshots SnapshotStoreConfig, kept bool) error {
	g, err := s.Group(id)
	if err != nil {
		return err
	}
	if err := g.verify(); err != nil {
		return err
	}
	newest := uint64(0)
	if kept {
		store, err := OpenSnapshotStore(snapshots)
		if err != nil {
			return err
		}
		switch meta, err := store.Newest(); {
		case errors.Is(err, ErrNoSnapshot):
		case err != nil:
			return err
		default:
			newest = meta.Index
		}
	}
	first, _ := g.FirstIndex()
	last, _ := g.LastIndex()
	if first > newest+1 {
		return fmt.Errorf("%w: snapshot ends at %d, log begins at %d", ErrLogHole, newest, first)
	}
	covered, err := g.covered()
	if err == nil && max(newest, last) < covered {
		err = g.corrupt(covered, fmt.Sprintf("a snapshot has covered it, and what is left ends at %d", max(newest, last)))
	}
	return err
}

// unreadable makes what the database below cannot read a CorruptError.
func (s *LogStorage) unreadable(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) || !pebble.IsCorruptionError(err) {
		return err
	}
	return &CorruptError{Group: memberGroup, Record: "table", Reason: err.Error()}
}

// ended returns err, after it has ended the storage if err says that it is damaged.
func (s *LogStorage) ended(err error) error {
	if err == nil || !errors.Is(err, ErrCorrupt) {
		return err
	}
	return errors.Join(err, s.Damaged(err))
}

// verify reads the whole log.
func (g *GroupLog) verify() (err error) {
	first, _ := g.FirstIndex()
	last, _ := g.LastIndex()
	if first == 0 {
		return nil
	}
	iter, err := g.storage.db.NewIter(&pebble.IterOptions{LowerBound: logKey(g.group, first), UpperBound: groupPrefix(g.group, kindLog+1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	next := first
	for valid := iter.First(); valid; valid = iter.Next() {
		if keyIndex(iter.Key()) != next {
			return g.corrupt(next, "entry is missing")
		}
		if _, err := g.decode(iter.Key(), iter.Value()); err != nil {
			return err
		}
		next++
	}
	if err := iter.Error(); err != nil {
		return err
	}
	if next != last+1 {
		return g.corrupt(next, "entry is missing")
	}
	return nil
}

// IsDamage reports whether an error says that something which a member had stored is gone or changed.
func IsDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrSnapshotCorrupt) || errors.Is(err, ErrLogHole) || errors.Is(err, folder.ErrDamaged)
}

// Damaged ends the storage as a failure of the disk does, because of something that was read and does not verify. The folder is
// marked first, so that the next OpenLogStorage fails with ErrCorrupt instead of meeting the same again.
func (s *LogStorage) Damaged(cause error) error { return s.folder.Damaged(cause) }

// SetAside renames root, the folder around that of a LogStorage which is marked as damaged, and returns the new name. Nothing in
// it changes. It fails with ErrLocked if somebody has it open, and when too many are set aside already.
func SetAside(cfg LogStorageConfig, root string) (aside string, err error) {
	return folder.SetAside(cfg.FS, root, cfg.Dir)
}

// Aside returns the folder that was set aside from root last, "" if none is there.
func Aside(cfg LogStorageConfig, root string) (string, error) { return folder.Aside(cfg.FS, root) }
