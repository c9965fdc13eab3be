package fault

import (
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// kinds are the kinds of files that a member writes, by pattern under its folder.
// Files without content are left out of everything: what counts is that they are
// there.
var kinds = []struct{ name, pattern string }{
	{"raft-wal", "raft/log/*.log"},
	{"raft-table", "raft/log/*.sst"},
	{"raft-manifest", "raft/log/MANIFEST-*"},
	{"raft-options", "raft/log/OPTIONS-*"},
	{"raft-format", "raft/log/RAFTLOG"},
	{"raft-ledger", "raft/log/LEDGER"},
	{"raft-snapshot", "raft/snapshots/*/*.snap"},
	{"store-wal", "store/*.log"},
	{"store-table", "store/*.sst"},
	{"store-manifest", "store/MANIFEST-*"},
	{"store-options", "store/OPTIONS-*"},
	{"store-format", "store/STORE"},
	{"store-ledger", "store/LEDGER"},
}

// otherKind is what no pattern matches.
const otherKind = "other"

// Kinds returns the kinds of files that a member writes.
func Kinds() []string {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Files returns the paths of all files of a member that have content, by kind and in
// order. A kind of which there is none now is not in the map.
func Files(m *lab.Member) (map[string][]string, error) {
	files := map[string][]string{}
	err := filepath.WalkDir(m.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		kind := kindOf(m.Dir(), path)
		files[kind] = append(files[kind], path)
		return nil
	})
	for _, paths := range files {
		slices.Sort(paths)
	}
	return files, err
}

func kindOf(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return otherKind
	}
	for _, k := range kinds {
		// The patterns are constants that a test has tried.
		if ok, _ := filepath.Match(k.pattern, filepath.ToSlash(rel)); ok {
			return k.name
		}
	}
	return otherKind
}
