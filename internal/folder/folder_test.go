package folder

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

const dir = "/member/things"

var format = Format{File: "THINGS", Text: "things, format ", Version: 2, Ledger: 2}

func config(fsys vfs.FS) Config {
	return Config{
		Name: "things", Dir: dir, Format: format, FS: fsys, CacheBytes: 1 << 20,
		Logger: slog.New(slog.DiscardHandler), OnFatal: func(error) {},
	}
}

func open(cfg Config) (*Folder, error) {
	return Open(cfg, &pebble.Options{MemTableSize: 64 << 10})
}

func mustOpen(t *testing.T, fsys vfs.FS) *Folder {
	t.Helper()
	f, err := open(config(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustClose(t *testing.T, f *Folder) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func set(f *Folder, key, value string) error {
	batch := f.DB().NewBatch()
	if err := batch.Set([]byte(key), []byte(value), nil); err != nil {
		return err
	}
	return f.Commit(batch, true)
}

func get(t *testing.T, f *Folder, key string) string {
	t.Helper()
	value, closer, err := f.DB().Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	return string(value)
}

func write(t *testing.T, fsys vfs.FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(fsys.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// content returns what every file in the folder holds.
func content(t *testing.T, fsys vfs.FS) map[string]string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		f, err := fsys.Open(fsys.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

// A folder that is not for this program is refused, and not one byte of it is
// touched; one whose creation never ended is cleared and used.
func TestOpen(t *testing.T) {
	for _, x := range []struct {
		name  string
		files map[string]string
		want  error
	}{
		{"no ledger", map[string]string{"THINGS": "things, format 2\n"}, ErrDamaged},
		{"older, without its database", map[string]string{"THINGS": "things, format 1\n"}, ErrDamaged},
		{"newer", map[string]string{"THINGS": "things, format 3\n", "000002.log": "x"}, ErrNewerFormat},
		{"empty format", map[string]string{"THINGS": ""}, ErrDamagedFormat},
		{"no number", map[string]string{"THINGS": "things, format x\n"}, ErrDamagedFormat},
		{"negative", map[string]string{"THINGS": "things, format -1\n"}, ErrDamagedFormat},
		{"other text", map[string]string{"THINGS": "theories, format 1\n"}, ErrDamagedFormat},
		{"foreign", map[string]string{"000002.log": "x"}, ErrForeign},
		{"lock only", map[string]string{"LOCK": ""}, nil},
		{"unfinished", map[string]string{"THINGS.tmp": "thi", "marker.manifest.000001.MANIFEST-000001": ""}, nil},
	} {
		fsys := vfs.NewMem()
		if err := Make(fsys, dir); err != nil {
			t.Fatal(err)
		}
		for name, text := range x.files {
			write(t, fsys, name, text)
		}
		f, err := open(config(fsys))
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		if err == nil {
			mustClose(t, f)
			continue
		}
		got := content(t, fsys)
		if _, marked := got[damagedFile]; marked != errors.Is(x.want, ErrDamaged) {
			t.Errorf("%s: marked as damaged: %v", x.name, marked)
		}
		for _, made := range []string{damagedFile, lockFile, ledgerFile} {
			if _, was := x.files[made]; !was {
				delete(got, made)
			}
		}
		if !maps.Equal(got, x.files) {
			t.Errorf("%s: the folder holds %q afterwards", x.name, slices.Sorted(maps.Keys(got)))
		}
	}
}

// A folder that is opened for reading is neither created nor finished.
func TestReadOnly(t *testing.T) {
	cfg := config(vfs.NewMem())
	cfg.ReadOnly = true
	if _, err := open(cfg); !errors.Is(err, ErrForeign) {
		t.Errorf("opening nothing: %v", err)
	}
	if _, err := cfg.FS.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
	f := mustOpen(t, cfg.FS)
	if err := set(f, "key", "value"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, f)
	f, err := open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, f)
	if got := get(t, f, "key"); got != "value" {
		t.Errorf("read %q", got)
	}
}

// before calls what once, before the first operation of a kind.
type before struct {
	kind errorfs.OpKind
	what func()
	once sync.Once
}

func (b *before) MaybeError(op errorfs.Op) error {
	if op.Kind == b.kind {
		b.once.Do(b.what)
	}
	return nil
}

func (b *before) String() string { return "before" }

// A folder that another process creates, fills and leaves between our look at it
// and our lock is not cleared.
func TestCreatedMeanwhile(t *testing.T) {
	fsys := vfs.NewMem()
	hook := &before{kind: errorfs.OpLock, what: func() {
		other := mustOpen(t, fsys)
		if err := set(other, "key", "theirs"); err != nil {
			t.Fatal(err)
		}
		mustClose(t, other)
	}}
	f := mustOpen(t, errorfs.Wrap(fsys, hook))
	defer mustClose(t, f)
	if got := get(t, f, "key"); got != "theirs" {
		t.Errorf("the other's record reads %q", got)
	}
}

// Whatever operation on the disk fails, and wherever Pebble meets it, nobody is
// held: the one who writes, the one who closes and the owner all learn of it, the
// owner once.
func TestFailure(t *testing.T) {
	for name, broken := range map[string]func(errorfs.Op) bool{
		"log created":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".log") },
		"log written":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") },
		"folder synced": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == dir },
		"table written": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") },
		"manifest synced": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST")
		},
	} {
		t.Run(name, func(t *testing.T) {
			fault := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken(op) {
					return errorfs.ErrInjected
				}
				return nil
			})}
			disk := vfs.NewCrashableMem()
			told := make(chan error, 16)
			cfg := config(errorfs.Wrap(disk, fault))
			cfg.OnFatal = func(err error) { told <- err }
			f, err := open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := set(f, "key", "value"); err != nil {
				t.Fatal(err)
			}
			fault.On()
			for i := 0; err == nil && i < 1000; i++ {
				err = set(f, fmt.Sprint(i), strings.Repeat("x", 8<<10))
			}
			if failed, ok := errors.AsType[*FailedError](err); !ok || !errors.Is(err, ErrFailed) || failed.Dir != dir {
				t.Fatalf("writing ends with %v", err)
			}
			fault.Off()
			if err := set(f, "later", "value"); !errors.Is(err, ErrFailed) {
				t.Errorf("a later write: %v", err)
			}
			if err := errors.Join(f.Close(), f.Close()); !errors.Is(err, ErrFailed) {
				t.Errorf("closing: %v", err)
			}
			if n := len(told); n != 1 {
				t.Errorf("the owner was told %d times", n)
			}
			again := mustOpen(t, disk.CrashClone(vfs.CrashCloneCfg{}))
			defer mustClose(t, again)
			if got := get(t, again, "key"); got != "value" {
				t.Errorf("what was acknowledged reads %q", got)
			}
		})
	}
}

// The disk may fail as late as in Close, which then returns the failure.
func TestFailureInClose(t *testing.T) {
	failed := 0
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileClose, errorfs.OpFileWrite} {
		fault := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
				return errorfs.ErrInjected
			}
			return nil
		})}
		f := mustOpen(t, errorfs.Wrap(vfs.NewMem(), fault))
		batch := f.DB().NewBatch()
		if err := errors.Join(batch.Set([]byte("key"), []byte("value"), nil), f.Commit(batch, false)); err != nil {
			t.Fatal(err)
		}
		fault.On()
		if err := f.Close(); (err == nil) != (f.Err() == nil) {
			t.Errorf("%v fails: Close returns %v, the failure is %v", kind, err, f.Err())
		} else if err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no fault was met")
	}
}

// Whoever writes is released even by a Pebble that never comes back.
func TestReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(nil)
		f := &Folder{failure: newFailure(&cfg)}
		ended := make(chan error)
		parked := make(chan struct{})
		go func() { ended <- f.released(func() error { <-parked; return nil }) }()
		synctest.Wait()
		f.failure.fail(errors.New("broken"))
		if err := <-ended; !errors.Is(err, ErrFailed) {
			t.Errorf("released with %v", err)
		}
		close(parked)
	})
}

// Whatever a format file says, it is understood as a version from 1, or not.
func FuzzFormat(f *testing.F) {
	f.Add("things, format 1\n")
	f.Add("things, format 00\n")
	f.Add("things, format 99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		if version, ok := format.parse(text); ok && (version < 1 || !strings.HasPrefix(text, format.Text)) {
			t.Errorf("%q is version %d", text, version)
		}
	})
}
