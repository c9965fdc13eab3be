package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/spacegrid/spacegrid/internal/folder"
)

// format is the format of the folder: of keys, records and Pebble's own files.
var format = folder.Format{File: "STORE", Text: "spacegrid store, format ", Version: 2, Ledger: 2}

var (
	// ErrLocked is returned when another process, or another Store of this one,
	// has the folder open.
	ErrLocked = folder.ErrLocked
	// ErrNewerFormat is returned when a newer program wrote the folder, which is
	// left as it is.
	ErrNewerFormat = folder.ErrNewerFormat
	// ErrNotStore is returned when the folder holds something else, or nothing
	// when it is opened for reading only. It is left as it is.
	ErrNotStore = folder.ErrForeign
	// ErrFailed is matched by what every operation returns after the disk failed
	// once: what it holds is unknown until the folder is opened again.
	ErrFailed = folder.ErrFailed
	// ErrDamaged is returned by Open when the folder does not hold what was written
	// into it. It is left as it is and marked, so that every later Open fails too;
	// see Config.SetAside.
	ErrDamaged = errors.New("store: damaged")
)

// SetAside renames a damaged store's folder, which nobody has open, so that a new
// one can take its place, and returns the new name. What it holds is not changed.
func (c *Config) SetAside() (string, error) { return folder.SetAside(c.FS, c.Dir, c.Dir) }

func (c *Config) openFolder() (*folder.Folder, error) {
	f, err := folder.Open(folder.Config{
		Name: "store", Dir: c.Dir, Format: format, FS: c.FS, ReadOnly: c.ReadOnly,
		CacheBytes: c.CacheBytes, Logger: c.Logger, OnFatal: c.OnFatal,
	}, c.pebbleOptions())
	switch {
	case errors.Is(err, folder.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}

func (c *Config) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		MemTableSize:                c.MemTableBytes,
		MemTableStopWritesThreshold: memTablesMax,
		L0CompactionThreshold:       l0CompactAt,
		L0StopWritesThreshold:       l0StopAt,
		CompactionConcurrencyRange:  func() (int, int) { return 1, compactionsMax },
		MaxOpenFiles:                openFilesMax,
		BytesPerSync:                backgroundSyncs,
		WALBytesPerSync:             backgroundSyncs,
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = blockBytes
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
	}
	return o
}

// Aside returns the folder that was set aside from Dir last, "" if none is there.
func (c *Config) Aside() (string, error) { return folder.Aside(c.FS, c.Dir) }
