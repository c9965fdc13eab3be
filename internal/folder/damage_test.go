package folder

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damages are what a disk does to a file; they return nil where there is nothing
// to do it to.
var damages = map[string]func(b []byte) (after []byte, remove bool){
	"flipped first":   func(b []byte) ([]byte, bool) { return flip(b, 0), false },
	"flipped middle":  func(b []byte) ([]byte, bool) { return flip(b, len(b)/2), false },
	"flipped last":    func(b []byte) ([]byte, bool) { return flip(b, len(b)-1), false },
	"truncated tail":  func(b []byte) ([]byte, bool) { return b[:max(0, len(b)-1)], false },
	"truncated half":  func(b []byte) ([]byte, bool) { return b[:len(b)/2], false },
	"truncated whole": func(b []byte) ([]byte, bool) { return b[:0], false },
	"zeroed": func(b []byte) ([]byte, bool) {
		b = append([]byte(nil), b...)
		clear(b[len(b)/2/4096*4096 : min(len(b), len(b)/2/4096*4096+4096)])
		return b, false
	},
	"missing": func([]byte) ([]byte, bool) { return nil, true },
}

func flip(b []byte, at int) []byte {
	b = append([]byte(nil), b...)
	if at >= 0 && at < len(b) {
		b[at] ^= 0x10
	}
	return b
}

// disk is a file system of its own that holds files.
func disk(t *testing.T, files map[string]string) vfs.FS {
	t.Helper()
	fsys := vfs.NewMem()
	if err := Make(fsys, dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, fsys, name, text)
	}
	return fsys
}

// lived returns the files of a folder that has flushed, rotated its log and
// written n records, closed or as the end of the process leaves them.
func lived(t *testing.T, n int, closed bool) map[string]string {
	t.Helper()
	fsys := vfs.NewMem()
	f := mustOpen(t, fsys)
	for i := range n {
		if err := set(f, fmt.Sprint("key", i), strings.Repeat(fmt.Sprint(i), 400)); err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			if err := f.DB().Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if closed {
		mustClose(t, f)
		return content(t, fsys)
	}
	files := content(t, fsys)
	mustClose(t, f)
	delete(files, lockFile)
	return files
}

// Whatever happens to whichever file, at rest: what was acknowledged is read back,
// or the folder says that it is damaged; nothing is ever forgotten in silence.
func TestNoDamageIsOverlooked(t *testing.T) {
	const records = 60
	reported, harmless := map[string]int{}, map[string]int{}
	for _, closed := range []bool{true, false} {
		files := lived(t, records, closed)
		for name, text := range files {
			for what, damage := range damages {
				after, remove := damage([]byte(text))
				if !remove && string(after) == text {
					continue
				}
				hurt := maps.Clone(files)
				hurt[name] = string(after)
				if remove {
					delete(hurt, name)
				}
				if err := readBack(t, disk(t, hurt), records); err != nil {
					reported[kind(name)]++
					if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
						t.Errorf("%s %s (closed: %v): %v", name, what, closed, err)
					}
					continue
				}
				harmless[kind(name)]++
			}
		}
	}
	t.Logf("reported %v, read back all the same %v", reported, harmless)
	for _, k := range []string{".log", "MANIFEST", "marker", "THINGS", ".sst"} {
		if reported[k] == 0 {
			t.Errorf("no damage to a %s was met", k)
		}
	}
}

func kind(name string) string {
	switch {
	case strings.HasPrefix(name, "marker"):
		return "marker"
	case strings.Contains(name, "."):
		return name[strings.LastIndex(name, "."):]
	}
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// readBack opens a folder and reads what it was given. It returns why the folder
// cannot be used, and fails the test if it can and has forgotten something.
func readBack(t *testing.T, fsys vfs.FS, records int) error {
	t.Helper()
	f, err := open(config(fsys))
	if err != nil {
		return err
	}
	for i := range records {
		value, closer, err := f.DB().Get([]byte(fmt.Sprint("key", i)))
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			if f.Err() == nil {
				mustClose(t, f)
				return fmt.Errorf("the owner was not told of %w", err)
			}
			// The damage was found while reading; the next start must know.
			if _, statErr := fsys.Stat(fsys.PathJoin(dir, damagedFile)); statErr != nil {
				t.Errorf("found while reading, and not marked: %v", err)
			}
			return errors.Join(f.Err(), f.Close())
		}
		if err != nil || string(value) != strings.Repeat(fmt.Sprint(i), 400) {
			t.Errorf("record %d is lost in silence: %q", i, value)
		}
		if closer != nil {
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, f)
	return nil
}

// What a loss of power leaves of records that nobody was told about is not damage,
// and what was acknowledged is there, at whatever moment it came.
func TestATornTailIsNotDamage(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		fsys := vfs.NewCrashableMem()
		f := mustOpen(t, fsys)
		acknowledged := 0
		for round := range 120 {
			if err := set(f, fmt.Sprint("key", round), strings.Repeat("x", 900)); err != nil {
				t.Fatal(err)
			}
			acknowledged++
			batch := f.DB().NewBatch()
			if err := errors.Join(batch.Set([]byte("soon"), []byte(strings.Repeat("y", 700)), nil), f.Commit(batch, false)); err != nil {
				t.Fatal(err)
			}
			if round%30 != 17 {
				continue
			}
			after := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: seeded(uint64(round))})
			again, err := open(config(after))
			if err != nil {
				t.Fatalf("after a loss of power in round %d, %d%% of what was not synced is there: %v", round, percent, err)
			}
			for i := range acknowledged {
				if got := get(t, again, fmt.Sprint("key", i)); len(got) != 900 {
					t.Fatalf("record %d of %d reads %q", i, acknowledged, got)
				}
			}
			mustClose(t, again)
		}
		mustClose(t, f)
	}
}

// A damaged folder is set aside under a name of its own, as it is, until too many
// are; the one that takes its place begins empty. One that is not damaged, or in
// use, is not set aside.
func TestSetAside(t *testing.T) {
	fsys := vfs.NewMem()
	for i := range KeptAside {
		f := mustOpen(t, fsys)
		if err := set(f, "key", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := SetAside(fsys, dir, dir); !errors.Is(err, ErrLocked) {
			t.Fatalf("a folder in use: %v", err)
		}
		mustClose(t, f)
		if _, err := SetAside(fsys, dir, dir); !errors.Is(err, errNotMarked) {
			t.Fatalf("a sound folder: %v", err)
		}
		if err := Mark(fsys, dir, errors.New("a test")); err != nil {
			t.Fatal(err)
		}
		if _, err := open(config(fsys)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "a test") {
			t.Fatalf("a marked folder: %v", err)
		}
		aside, err := SetAside(fsys, dir, dir)
		if want := fmt.Sprintf("%s.damaged-%d", dir, i+1); err != nil || aside != want {
			t.Fatalf("set aside as %s, %v, want %s", aside, err, want)
		}
		if _, err := fsys.Stat(fsys.PathJoin(aside, damagedFile)); err != nil {
			t.Error(err)
		}
	}
	f := mustOpen(t, fsys)
	if got := get(t, f, "key"); got != "" {
		t.Errorf("a new folder holds %q", got)
	}
	mustClose(t, f)
	if err := Mark(fsys, dir, errors.New("a test")); err != nil {
		t.Fatal(err)
	}
	if _, err := SetAside(fsys, dir, dir); !errors.Is(err, ErrManyAside) {
		t.Errorf("one too many: %v", err)
	}
}

// A manifest that shows more than was synced is written anew before it is relied
// on.
func TestAManifestWithAnUnknownTailIsWrittenAnew(t *testing.T) {
	files := lived(t, 20, true)
	fsys := vfs.NewCrashableMem()
	if err := Make(fsys, dir); err != nil {
		t.Fatal(err)
	}
	name := ""
	for other, text := range files {
		write(t, fsys, other, text) // Nothing of it is synced.
		if strings.HasPrefix(other, "MANIFEST") {
			name = other
		}
	}
	claims, _, err := readLedger(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	short := claims[name]
	short.bytes--
	if err := renewManifests(fsys, dir, map[string]claim{name: short}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, fsys.CrashClone(vfs.CrashCloneCfg{}))[name]; got != files[name] {
		t.Errorf("the disk has %d bytes of the manifest, want %d", len(got), len(files[name]))
	}
}

// Whatever bytes are found in its place, a ledger is read or refused.
func FuzzLedger(f *testing.F) {
	f.Add(encodeSlot(nil, 1))
	f.Add(encodeSlot(map[string]claim{"000001.log": {5, 6}, "MANIFEST-000002": {7, 8}}, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, seq, ok := decodeSlot(b)
		if !ok {
			return
		}
		if again, s, ok := decodeSlot(encodeSlot(claims, seq)); !ok || s != seq || len(again) != len(claims) {
			t.Errorf("%v does not survive its encoding", claims)
		}
	})
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, n)) }
