package replica

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

const snapshotTestDir = "/member/snapshots/1"

var snapshotTestConfiguration = raft.Configuration{Servers: []raft.Server{
	{Suffrage: raft.Voter, ID: "m1-1", Address: "10.0.0.1:7381"},
	{Suffrage: raft.Nonvoter, ID: "m2-4", Address: ""},
}}

func openTestSnapshots(t testing.TB, fsys vfs.FS, tune ...func(*SnapshotStoreConfig)) SnapshotStore {
	t.Helper()
	cfg := SnapshotStoreConfig{Dir: snapshotTestDir, FS: fsys, OnFatal: func(err error) { t.Errorf("unexpected failure: %v", err) }}
	for _, f := range tune {
		f(&cfg)
	}
	s, err := OpenSnapshotStore(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func forEachSnapshotStore(t *testing.T, test func(*testing.T, SnapshotStore)) {
	t.Run("disk", func(t *testing.T) { test(t, openTestSnapshots(t, vfs.NewMem())) })
	t.Run("memory", func(t *testing.T) { test(t, NewMemorySnapshotStore(0)) })
}

// snapshotContent returns content that tells its index, of a length that is no multiple of anything.
func snapshotContent(index uint64, size int) []byte {
	content := make([]byte, size)
	rng := rand.New(rand.NewPCG(index, 1))
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	return content
}

func createTestSnapshot(t testing.TB, s SnapshotStore, index, term uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := s.Create(raft.SnapshotVersionMax, index, term, snapshotTestConfiguration, index-1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// takeTestSnapshot writes content in uneven pieces and returns the id.
func takeTestSnapshot(t testing.TB, s SnapshotStore, index, term uint64, content []byte) string {
	t.Helper()
	sink := createTestSnapshot(t, s, index, term)
	for rest, piece := content, 1; len(rest) > 0; piece = piece*3 + 1 {
		n := min(piece, len(rest))
		if written, err := sink.Write(rest[:n]); err != nil || written != n {
			t.Fatalf("wrote %d of %d: %v", written, n, err)
		}
		rest = rest[n:]
	}
	mustClose(t, sink)
	return sink.ID()
}

func wantSnapshot(t *testing.T, s SnapshotStore, id string, index, term uint64, content []byte) {
	t.Helper()
	meta, reader, err := s.Open(id)
	if err != nil {
		t.Fatalf("open %s: %v", id, err)
	}
	want := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Index: index, Term: term, Configuration: snapshotTestConfiguration,
		ConfigurationIndex: index - 1, Size: int64(len(content)),
	}
	if !reflect.DeepEqual(meta, want) {
		t.Errorf("meta\n got %+v\nwant %+v", meta, want)
	}
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("content of %d bytes, %v; want %d bytes", len(got), err, len(content))
	}
	mustClose(t, reader)
}

func snapshotIndexes(t *testing.T, s SnapshotStore) (indexes []uint64) {
	t.Helper()
	metas, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metas {
		indexes = append(indexes, m.Index)
	}
	return indexes
}

func TestSnapshotStoresKeepSnapshots(t *testing.T) {
	// A snapshot of any size comes back byte for byte, with its meta; before its sink is closed it does not exist.
	for _, size := range []int{0, 1, 4096, 3*snapshotChunkBytes + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			forEachSnapshotStore(t, func(t *testing.T, s SnapshotStore) {
				if _, err := s.Newest(); !errors.Is(err, ErrNoSnapshot) {
					t.Errorf("newest of none: %v", err)
				}
				sink := createTestSnapshot(t, s, 10, 2)
				content := snapshotContent(10, size)
				if _, err := sink.Write(slices.Clone(content)); err != nil {
					t.Fatal(err)
				}
				if got := snapshotIndexes(t, s); len(got) != 0 {
					t.Errorf("an open sink is listed: %v", got)
				}
				mustClose(t, sink)
				mustClose(t, sink)
				if err := sink.Cancel(); err != nil {
					t.Errorf("cancel after close: %v", err)
				}
				if _, err := sink.Write([]byte("late")); err == nil {
					t.Error("a write after close succeeded")
				}
				wantSnapshot(t, s, sink.ID(), 10, 2, content)
				wantSnapshot(t, s, sink.ID(), 10, 2, content)
				if newest, err := s.Newest(); err != nil || newest.Index != 10 {
					t.Errorf("newest %+v, %v", newest, err)
				}
			})
		})
	}
}

func TestSnapshotStoresOrder(t *testing.T) {
	// The newest is first, by index, then term, then creation; a second snapshot of one index replaces the first.
	forEachSnapshotStore(t, func(t *testing.T, s SnapshotStore) {
		takeTestSnapshot(t, s, 10, 2, snapshotContent(1, 10))
		takeTestSnapshot(t, s, 9, 3, snapshotContent(2, 10))
		again := takeTestSnapshot(t, s, 10, 2, snapshotContent(3, 10))
		newest, err := s.Newest()
		if err != nil || newest.ID != again {
			t.Fatalf("newest %+v, %v; want %s", newest, err, again)
		}
		wantSnapshot(t, s, again, 10, 2, snapshotContent(3, 10))
	})
}

func TestSnapshotStoresRefuse(t *testing.T) {
	// An unknown id, an unknown version and a snapshot above the bound are refused by name, a cancelled one leaves nothing.
	for name, s := range map[string]SnapshotStore{
		"disk":   openTestSnapshots(t, vfs.NewMem(), func(c *SnapshotStoreConfig) { c.MaxBytes = 100 }),
		"memory": NewMemorySnapshotStore(100),
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{"", "../../etc/passwd", snapshotID(1, 1, 1)} {
				if _, _, err := s.Open(id); !errors.Is(err, ErrNoSnapshot) {
					t.Errorf("open %q: %v, want ErrNoSnapshot", id, err)
				}
			}
			if _, err := s.Create(0, 1, 1, snapshotTestConfiguration, 1, nil); !errors.Is(err, ErrSnapshotVersion) {
				t.Errorf("version 0: %v, want ErrSnapshotVersion", err)
			}
			sink := createTestSnapshot(t, s, 5, 1)
			if _, err := sink.Write(make([]byte, 60)); err != nil {
				t.Fatal(err)
			}
			if _, err := sink.Write(make([]byte, 41)); !errors.Is(err, ErrSnapshotTooLarge) {
				t.Errorf("write above the bound: %v, want ErrSnapshotTooLarge", err)
			}
			if err := sink.Cancel(); err != nil {
				t.Fatal(err)
			}
			mustClose(t, sink)
			if got := snapshotIndexes(t, s); len(got) != 0 {
				t.Errorf("a cancelled snapshot is listed: %v", got)
			}
		})
	}
}

func TestSnapshotStoreReadersOutliveReplacement(t *testing.T) {
	// A reader that is open when newer snapshots arrive reads its own to the end; then its file goes too.
	forEachSnapshotStore(t, func(t *testing.T, s SnapshotStore) {
		content := snapshotContent(1, 2*snapshotReadBuffer)
		id := takeTestSnapshot(t, s, 1, 1, content)
		_, reader, err := s.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		for index := uint64(2); index <= 4; index++ {
			takeTestSnapshot(t, s, index, 1, snapshotContent(index, 10))
		}
		got, err := io.ReadAll(reader)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		mustClose(t, reader)
		mustClose(t, reader)
		if _, _, err := s.Open(id); !errors.Is(err, ErrNoSnapshot) {
			t.Errorf("replaced snapshot: %v, want ErrNoSnapshot", err)
		}
		if got := snapshotIndexes(t, s); got[0] != 4 || len(got) > DefaultSnapshotsKept {
			t.Errorf("snapshots %v remain", got)
		}
	})
}

func TestSnapshotsSurviveReopening(t *testing.T) {
	// Finished snapshots are there after reopening, unfinished ones are removed, and ids are not given twice.
	fsys := vfs.NewMem()
	s := openTestSnapshots(t, fsys)
	first := takeTestSnapshot(t, s, 7, 1, snapshotContent(7, 100))
	if _, err := createTestSnapshot(t, s, 8, 1).Write([]byte("unfinished")); err != nil {
		t.Fatal(err)
	}
	s = openTestSnapshots(t, fsys)
	wantSnapshot(t, s, first, 7, 1, snapshotContent(7, 100))
	if second := takeTestSnapshot(t, s, 7, 1, snapshotContent(8, 100)); second <= first {
		t.Errorf("snapshot %s after %s", second, first)
	}
	names, err := fsys.List(snapshotTestDir)
	if err != nil || len(names) != 2 || slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, tempSuffix) }) {
		t.Errorf("files %v, %v", names, err)
	}
}

func TestSnapshotDamageIsDetected(t *testing.T) {
	// With any one byte changed, or cut short anywhere, the newest snapshot is refused with a typed error that names the file,
	// Newest falls back to the older good one, and it is not listed any more; the older one is not removed.
	fsys := vfs.NewMem()
	s := openTestSnapshots(t, fsys)
	takeTestSnapshot(t, s, 1, 1, snapshotContent(1, 50))
	id := takeTestSnapshot(t, s, 2, 1, snapshotContent(2, 50))
	path := fsys.PathJoin(snapshotTestDir, id+snapshotSuffix)
	intact := folderContent(t, fsys, snapshotTestDir)[id+snapshotSuffix]
	replace := func(content string) {
		f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, f)
	}
	check := func(what string) {
		t.Helper()
		s := openTestSnapshots(t, fsys)
		var corrupt *SnapshotCorruptError
		if _, _, err := s.Open(id); !errors.As(err, &corrupt) || !errors.Is(err, ErrSnapshotCorrupt) || corrupt.Path != path {
			t.Errorf("%s: %v, want a SnapshotCorruptError of %s", what, err, path)
		}
		if newest, err := openTestSnapshots(t, fsys).Newest(); err != nil || newest.Index != 1 {
			t.Errorf("%s: newest %+v, %v; want the older one", what, newest, err)
		}
		if got := snapshotIndexes(t, s); !slices.Equal(got, []uint64{1}) {
			t.Errorf("%s: listed %v", what, got)
		}
	}
	for i := range len(intact) {
		flipped := []byte(intact)
		flipped[i] ^= 0x08
		replace(string(flipped))
		check(fmt.Sprintf("byte %d flipped", i))
		replace(intact[:i])
		check(fmt.Sprintf("cut to %d bytes", i))
	}
	replace(intact)
	wantSnapshot(t, openTestSnapshots(t, fsys), id, 2, 1, snapshotContent(2, 50))

	// The next good snapshots push the damaged one out; until there are enough, the good older one stays.
	replace(intact[:10])
	s = openTestSnapshots(t, fsys)
	snapshotIndexes(t, s)
	takeTestSnapshot(t, s, 3, 1, snapshotContent(3, 50))
	if got := snapshotIndexes(t, s); !slices.Equal(got, []uint64{3, 1}) {
		t.Errorf("snapshots %v, want 3 and 1", got)
	}
	if names, _ := fsys.List(snapshotTestDir); len(names) != 2 {
		t.Errorf("files %v: the damaged one must be gone", names)
	}
}

func TestSnapshotsAllDamaged(t *testing.T) {
	// Where every snapshot is damaged, Newest says so, however often it is asked: it is not the same as having none.
	fsys := vfs.NewMem()
	s := openTestSnapshots(t, fsys)
	for index := uint64(1); index <= 2; index++ {
		id := takeTestSnapshot(t, s, index, 1, snapshotContent(index, 50))
		if err := overwriteFile(fsys, fsys.PathJoin(snapshotTestDir, id+snapshotSuffix), "damaged"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if meta, err := s.Newest(); !errors.Is(err, ErrSnapshotCorrupt) {
			t.Errorf("newest %+v, %v; want ErrSnapshotCorrupt", meta, err)
		}
	}
}

func TestSnapshotsSurviveCrashes(t *testing.T) {
	// After a loss of power at any moment, a snapshot whose Close returned is whole, and one that is listed always is.
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			rng := rand.New(rand.NewPCG(3, uint64(percent)))
			closed := uint64(0)
			type point struct {
				disk   *vfs.MemFS
				closed uint64
			}
			var points []point
			crash := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					points = append(points, point{disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), closed})
				}
				return nil
			})
			s := openTestSnapshots(t, errorfs.Wrap(disk, crash))
			for index := uint64(1); index <= 8; index++ {
				takeTestSnapshot(t, s, index, 1, snapshotContent(index, 9000))
				closed = index
			}
			for i, p := range points {
				s := openTestSnapshots(t, p.disk)
				newest, err := s.Newest()
				if p.closed > 0 && (err != nil || newest.Index < p.closed) {
					t.Errorf("point %d: newest %+v, %v; %d was finished", i, newest, err, p.closed)
				}
				metas, err := s.List()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range metas {
					wantSnapshot(t, s, m.ID, m.Index, 1, snapshotContent(m.Index, 9000))
				}
			}
			if len(points) < 40 {
				t.Errorf("only %d crash points", len(points))
			}
		})
	}
}

func TestSnapshotFaults(t *testing.T) {
	// Whatever operation of the disk fails, Close does not succeed without a snapshot, and nothing unfinished stays for long; a
	// failed sync is reported as fatal, where a failed write is only the end of this snapshot.
	for failing := range int32(40) {
		disk := vfs.NewCrashableMem()
		takeTestSnapshot(t, openTestSnapshots(t, disk), 1, 1, snapshotContent(1, 100))
		var failed *errorfs.Op
		once := errorfs.OnIndex(failing)
		fault := errorfs.InjectorFunc(func(op errorfs.Op) error {
			err := once.MaybeError(op)
			if err != nil {
				failed = &op
			}
			return err
		})
		fatal := 0
		s, err := OpenSnapshotStore(SnapshotStoreConfig{Dir: snapshotTestDir, FS: errorfs.Wrap(disk, fault), OnFatal: func(error) { fatal++ }})
		var sink raft.SnapshotSink
		if err == nil {
			sink, err = s.Create(raft.SnapshotVersionMax, 2, 1, snapshotTestConfiguration, 1, nil)
		}
		if err == nil {
			if _, err = sink.Write(snapshotContent(2, 3*snapshotWriteBuffer)); err != nil {
				_ = sink.Cancel()
			} else {
				err = sink.Close()
			}
		}
		if failed == nil {
			break
		}
		// The folder is opened only to be synced.
		isSync := failed.Kind == errorfs.OpFileSync || failed.Kind == errorfs.OpFileSyncData || failed.Kind == errorfs.OpOpenDir ||
			failed.Kind == errorfs.OpFileClose && failed.Path == snapshotTestDir
		if isSync != (fatal == 1) || isSync && err == nil {
			t.Errorf("operation %d, %d on %s: %d fatal, %v", failing, failed.Kind, failed.Path, fatal, err)
		}
		if names, _ := disk.List(snapshotTestDir); err != nil && sink != nil && failed.Kind != errorfs.OpRemove &&
			slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, tempSuffix) }) {
			t.Errorf("operation %d, %d on %s: files %v", failing, failed.Kind, failed.Path, names)
		}
		newest, newestErr := openTestSnapshots(t, disk.CrashClone(vfs.CrashCloneCfg{})).Newest()
		if newestErr != nil || err == nil && newest.Index != 2 {
			t.Errorf("operation %d, %d on %s: Close says %v, newest is %+v, %v", failing, failed.Kind, failed.Path, err, newest, newestErr)
		}
	}
}

func TestSnapshotEncodingIsFixed(t *testing.T) {
	// The bytes of a snapshot file never change within a format: these are the ones of format 1.
	fsys := vfs.NewMem()
	id := takeTestSnapshot(t, openTestSnapshots(t, fsys), 300, 7, []byte("content"))
	if id != "000000000000012c-0000000000000007-0000000000000001" {
		t.Errorf("id %s", id)
	}
	want := hex.EncodeToString([]byte("content")) +
		"01" + "01" + "ac02" + "07" + "ab02" + "02" +
		"00" + "04" + hex.EncodeToString([]byte("m1-1")) + "0d" + hex.EncodeToString([]byte("10.0.0.1:7381")) +
		"01" + "04" + hex.EncodeToString([]byte("m2-4")) + "00" +
		"0000000000000007" + "00000023" + "61af7533" + "3d5ecfcc" + "5347534e41500001"
	if got := hex.EncodeToString([]byte(folderContent(t, fsys, snapshotTestDir)[id+snapshotSuffix])); got != want {
		t.Errorf("file\n got %s\nwant %s", got, want)
	}
}

func FuzzSnapshotMeta(f *testing.F) {
	// No bytes make the decoder panic or allocate more than they hold; what it accepts, it encodes to something that decodes to
	// the same meta.
	f.Add(encodeSnapshotMeta(&raft.SnapshotMeta{Version: 1, Index: 2, Term: 3, Configuration: snapshotTestConfiguration}))
	f.Add([]byte{snapshotMetaFormat, 1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeSnapshotMeta(b)
		if err != nil {
			return
		}
		if len(m.Configuration.Servers) > len(b)/3 {
			t.Fatalf("%d servers in %d bytes", len(m.Configuration.Servers), len(b))
		}
		again, err := decodeSnapshotMeta(encodeSnapshotMeta(&m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func FuzzSnapshotFooter(f *testing.F) {
	// No bytes at the end of a file make the reader of footers panic or believe in more bytes than the file has.
	meta := encodeSnapshotMeta(&raft.SnapshotMeta{Version: 1, Index: 2, Term: 3})
	f.Add(sealFooter(meta, 5, 6), int64(5+len(meta)+footerLen))
	f.Fuzz(func(t *testing.T, tail []byte, fileLen int64) {
		if len(tail) < footerLen {
			return
		}
		footer, err := parseFooter(tail[len(tail)-footerLen:], fileLen)
		if err != nil {
			return
		}
		if footer.contentLen < 0 || footer.metaLen < 0 || footer.contentLen+int64(footer.metaLen)+footerLen != fileLen {
			t.Fatalf("%+v in a file of %d bytes", footer, fileLen)
		}
		if len(tail) == footer.metaLen+footerLen {
			_, _ = footer.openFooter(tail)
		}
	})
}
