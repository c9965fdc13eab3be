package replica

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

const testMemTableBytes = 16 << 20

// openTestStorage opens a log storage in fsys that fails the test if it ever fails.
func openTestStorage(t testing.TB, fsys vfs.FS, tune ...func(*LogStorageConfig)) *LogStorage {
	t.Helper()
	cfg := LogStorageConfig{
		Dir: "/member/log", FS: fsys, MemTableBytes: testMemTableBytes,
		OnFatal: func(err error) { t.Errorf("unexpected failure: %v", err) },
	}
	for _, f := range tune {
		f(&cfg)
	}
	s, err := OpenLogStorage(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func openTestGroup(t testing.TB, s *LogStorage, id uint32) *GroupLog {
	t.Helper()
	g, err := s.Group(id)
	if err != nil {
		t.Fatalf("group %d: %v", id, err)
	}
	return g
}

func mustClose(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// testEntries returns the entries from lo to hi of a term.
func testEntries(lo, hi, term uint64) []*raft.Log {
	var logs []*raft.Log
	for index := lo; index <= hi; index++ {
		logs = append(logs, &raft.Log{
			Index: index, Term: term, Type: raft.LogCommand,
			Data:       fmt.Appendf(nil, "command %d of term %d", index, term),
			AppendedAt: time.Unix(1_700_000_000, int64(index)).UTC(),
		})
	}
	return logs
}

func TestLogStorageKeepsMemberRecords(t *testing.T) {
	// A member record that was set is there after the folder is opened again, and one that was not says so.
	fsys := vfs.NewMem()
	s := openTestStorage(t, fsys)
	if _, err := s.Meta("incarnation"); !errors.Is(err, ErrNoMeta) {
		t.Fatalf("unset record: %v, want ErrNoMeta", err)
	}
	for _, value := range []string{"", "first", "second"} {
		if err := s.SetMeta("incarnation", []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	s = openTestStorage(t, fsys)
	defer mustClose(t, s)
	if got, err := s.Meta("incarnation"); err != nil || string(got) != "second" {
		t.Fatalf("record after reopening: %q, %v", got, err)
	}
	for name, value := range map[string]int{"": 1, strings.Repeat("n", metaNameLenMax+1): 1, "large": metaValueBytesMax + 1} {
		if s.SetMeta(name, make([]byte, value)) == nil {
			t.Errorf("record %.10q of %d bytes was accepted", name, value)
		}
	}
}

func TestLogStorageGroupsAreApart(t *testing.T) {
	// Groups share one folder but not one entry; a dropped group is gone for good, and its neighbours are not touched.
	fsys := vfs.NewMem()
	s := openTestStorage(t, fsys)
	ids := []uint32{0, 1, 7, 255, 256, memberGroup - 1}
	for _, id := range ids {
		g := openTestGroup(t, s, id)
		if err := g.StoreLogs(testEntries(1, 3, uint64(id)+1)); err != nil {
			t.Fatal(err)
		}
		if err := g.SetUint64([]byte("CurrentTerm"), uint64(id)+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetMeta("member", []byte("m1")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Groups(); err != nil || !slices.Equal(got, ids) {
		t.Fatalf("groups: %v, %v; want %v", got, err, ids)
	}
	dropped := openTestGroup(t, s, 256)
	if err := s.DropGroup(256); err != nil {
		t.Fatal(err)
	}
	if err := dropped.StoreLogs(testEntries(4, 4, 1)); !errors.Is(err, ErrDropped) {
		t.Errorf("append to a dropped group: %v, want ErrDropped", err)
	}
	if err := dropped.Set([]byte("CurrentTerm"), nil); !errors.Is(err, ErrDropped) {
		t.Errorf("term of a dropped group: %v, want ErrDropped", err)
	}
	if err := dropped.GetLog(1, &raft.Log{}); err != raft.ErrLogNotFound {
		t.Errorf("entry of a dropped group: %v, want ErrLogNotFound", err)
	}
	again := openTestGroup(t, s, 256)
	if last, _ := again.LastIndex(); last != 0 {
		t.Errorf("group %d still ends at %d after it was dropped", 256, last)
	}
	mustClose(t, s)

	s = openTestStorage(t, fsys)
	defer mustClose(t, s)
	want := []uint32{0, 1, 7, 255, memberGroup - 1}
	if got, err := s.Groups(); err != nil || !slices.Equal(got, want) {
		t.Fatalf("groups after reopening: %v, %v; want %v", got, err, want)
	}
	for _, id := range want {
		var log raft.Log
		if err := openTestGroup(t, s, id).GetLog(3, &log); err != nil || log.Term != uint64(id)+1 {
			t.Errorf("group %d: entry of term %d, %v", id, log.Term, err)
		}
	}
	if _, err := s.Group(memberGroup); err == nil {
		t.Error("the reserved group id was accepted")
	}
}

func TestLogStorageIsLocked(t *testing.T) {
	// A folder is open once: a second open fails with ErrLocked, from this process and from another one.
	if dir := os.Getenv("REPLICA_TEST_LOCKED_DIR"); dir != "" {
		_, err := OpenLogStorage(LogStorageConfig{Dir: dir, MemTableBytes: testMemTableBytes})
		if !errors.Is(err, ErrLocked) {
			t.Fatalf("open in a second process: %v, want ErrLocked", err)
		}
		return
	}
	dir := t.TempDir() + "/log"
	cfg := LogStorageConfig{Dir: dir, MemTableBytes: testMemTableBytes}
	s, err := OpenLogStorage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLogStorage(cfg); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v, want ErrLocked with the folder's name", err)
	}
	other := exec.Command(os.Args[0], "-test.run=^TestLogStorageIsLocked$", "-test.v")
	other.Env = append(os.Environ(), "REPLICA_TEST_LOCKED_DIR="+dir)
	if out, err := other.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestLogStorageIsLocked") {
		t.Errorf("second process: %v\n%s", err, out)
	}
	mustClose(t, s)
	if s, err = OpenLogStorage(cfg); err != nil {
		t.Fatalf("open after close: %v", err)
	}
	mustClose(t, s)
}

// folderContent returns every file below dir with its content.
func folderContent(t *testing.T, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, name := range names {
		f, err := fsys.Open(fsys.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = string(bytes)
		mustClose(t, f)
	}
	return content
}

// overwriteFile makes the file at path hold text.
func overwriteFile(fsys vfs.FS, path, text string) error {
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

func TestLogStorageRefusesForeignFolders(t *testing.T) {
	// A folder of a newer format, a damaged one and a foreign one are refused by name, and not one byte in them changes; a
	// damaged one is marked.
	const dir = "/member/log"
	cases := []struct {
		name, file, text string
		lived            bool // as a log folder, before the file was put into it
		want             error
	}{
		{"newer", logFormat.File, logFormat.Text + "3\n", false, ErrNewerFormat},
		{"much newer", logFormat.File, logFormat.Text + "9000\n", false, ErrNewerFormat},
		{"newer by damage", logFormat.File, logFormat.Text + "3\n", true, ErrCorrupt},
		{"damaged", logFormat.File, logFormat.Text + "x\n", true, ErrCorrupt},
		{"negative", logFormat.File, logFormat.Text + "-1\n", true, ErrCorrupt},
		{"empty", logFormat.File, "", true, ErrCorrupt},
		{"foreign", "000004.log", "a store of something else", false, ErrNotLogFolder},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			if c.lived {
				s := openTestStorage(t, fsys)
				if err := openTestGroup(t, s, 1).StoreLogs(testEntries(1, 10, 1)); err != nil {
					t.Fatal(err)
				}
				mustClose(t, s)
			} else if err := fsys.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := overwriteFile(fsys, fsys.PathJoin(dir, c.file), c.text); err != nil {
				t.Fatal(err)
			}
			before := folderContent(t, fsys, dir)
			if _, err := OpenLogStorage(LogStorageConfig{Dir: dir, FS: fsys}); !errors.Is(err, c.want) {
				t.Errorf("open: %v, want %v", err, c.want)
			}
			after := folderContent(t, fsys, dir)
			if _, marked := after["DAMAGED"]; marked != c.lived {
				t.Errorf("marked as damaged: %v", marked)
			}
			delete(after, "DAMAGED")
			if !maps.Equal(before, after) {
				t.Errorf("folder changed from %v to %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

func TestLogStorageOfOldFormatOpens(t *testing.T) {
	// The format number of this version is the one that a folder of this version carries.
	fsys := vfs.NewMem()
	mustClose(t, openTestStorage(t, fsys))
	if got := folderContent(t, fsys, "/member/log")[logFormat.File]; got != "spacegrid raft log, format 2\n" {
		t.Errorf("format file: %q", got)
	}
	mustClose(t, openTestStorage(t, fsys))
}

func TestLogStorageStats(t *testing.T) {
	// The figures follow what is stored, and are zero once the storage is closed.
	s := openTestStorage(t, vfs.NewMem())
	logs := testEntries(1, 1, 1)
	logs[0].Data = make([]byte, 1<<20)
	if err := openTestGroup(t, s, 1).StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.WALBytes < 1<<20 || got.MemTableBytes < 1<<20 || got.DiskBytes < 1<<20 {
		t.Errorf("with 1 MiB stored: %+v", got)
	}
	mustClose(t, s)
	if got := s.Stats(); got != (LogStorageStats{}) {
		t.Errorf("closed: %+v", got)
	}
}

func TestLogStorageClose(t *testing.T) {
	// Close ends every goroutine, may be called twice, and what is called after it says that the storage is closed.
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := openTestStorage(t, vfs.NewMem())
	g := openTestGroup(t, s, 1)
	if err := g.StoreLogs(testEntries(1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	mustClose(t, s)
	_, groupErr := s.Group(2)
	_, metaErr := s.Meta("name")
	_, getErr := g.Get([]byte("CurrentTerm"))
	for name, err := range map[string]error{
		"Group": groupErr, "Meta": metaErr, "Get": getErr,
		"SetMeta": s.SetMeta("name", nil), "DropGroup": s.DropGroup(1), "StoreLogs": g.StoreLogs(testEntries(2, 2, 1)),
		"DeleteRange": g.DeleteRange(1, 1), "Set": g.Set([]byte("CurrentTerm"), nil),
	} {
		if !errors.Is(err, ErrStorageClosed) {
			t.Errorf("%s after Close: %v, want ErrStorageClosed", name, err)
		}
	}
}

func TestLogStorageDetectsEveryFlippedByte(t *testing.T) {
	// A stored entry with any one byte changed, cut short, or found under the key of another entry or group, is never returned.
	s := openTestStorage(t, vfs.NewMem(), func(c *LogStorageConfig) { c.RecentEntries = 1 })
	defer mustClose(t, s)
	g := openTestGroup(t, s, 3)
	if err := g.StoreLogs(testEntries(1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	key := logKey(3, 1)
	value, closer, err := s.db.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	intact := slices.Clone(value)
	mustClose(t, closer)
	check := func(what string, stored []byte) {
		t.Helper()
		if err := s.db.Set(key, stored, nil); err != nil {
			t.Fatal(err)
		}
		var corrupt *CorruptError
		err := g.read(1, &raft.Log{})
		if !errors.As(err, &corrupt) || !errors.Is(err, ErrCorrupt) || corrupt.Group != 3 || corrupt.Index != 1 {
			t.Errorf("%s: %v, want a CorruptError of group 3, index 1", what, err)
		}
	}
	for i := range intact {
		flipped := slices.Clone(intact)
		flipped[i] ^= 0x10
		check(fmt.Sprintf("byte %d flipped", i), flipped)
		check(fmt.Sprintf("cut to %d bytes", i), intact[:i])
	}
	check("value of another index", sealValue(logKey(3, 2), intact[checksumLen:]))
	check("value of another group", sealValue(logKey(4, 1), intact[checksumLen:]))
	if err := s.db.Delete(key, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.read(1, &raft.Log{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("lost entry: %v, want ErrCorrupt", err)
	}
	if err := s.db.Set(key, intact, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.read(1, &raft.Log{}); err != nil {
		t.Errorf("intact entry: %v", err)
	}
}

func TestDamageThatIsReadEndsTheStorage(t *testing.T) {
	// An entry that does not verify when raft reads it ends the storage, once, and the next start finds the folder marked. Then it
	// can be set aside with all that is in it, and another one begins in its place.
	fsys := vfs.NewMem()
	fatal := 0
	cfg := LogStorageConfig{Dir: "/member/log", FS: fsys, RecentEntries: 1, OnFatal: func(error) { fatal++ }}
	s, err := OpenLogStorage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := openTestGroup(t, s, 3)
	if err := errors.Join(g.StoreLogs(testEntries(1, 3, 1)), s.db.Set(logKey(3, 1), []byte("something else"), pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	if err := g.GetLog(1, &raft.Log{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	if err := g.StoreLogs(testEntries(4, 4, 1)); !errors.Is(err, ErrStorageFailed) || fatal != 1 {
		t.Errorf("append afterwards: %v, the owner was told %d times", err, fatal)
	}
	if err := s.Close(); !errors.Is(err, ErrStorageFailed) {
		t.Errorf("close: %v", err)
	}
	if _, err := OpenLogStorage(cfg); !errors.Is(err, ErrCorrupt) || !IsDamage(err) || !strings.Contains(err.Error(), "group 3") {
		t.Errorf("next start: %v", err)
	}
	if aside, err := SetAside(cfg, "/member/log"); err != nil || aside != "/member/log.damaged-1" {
		t.Errorf("set aside as %q, %v", aside, err)
	}
	s, err = OpenLogStorage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func TestLogStorageDetectsCorruptRecords(t *testing.T) {
	// A damaged vote, first index, end of the log or member record stops the group or call that needs it, by name.
	corrupt := func(key []byte) func(*testing.T, *LogStorage) {
		return func(t *testing.T, s *LogStorage) {
			value, closer, err := s.db.Get(key)
			if err != nil {
				t.Fatal(err)
			}
			value = slices.Clone(value)
			mustClose(t, closer)
			value[len(value)-1] ^= 1
			if err := s.db.Set(key, value, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(key []byte) func(*testing.T, *LogStorage) {
		return func(t *testing.T, s *LogStorage) {
			if err := s.db.Delete(key, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	group := func(s *LogStorage) error { _, err := s.Group(1); return err }
	meta := func(s *LogStorage) error { _, err := s.Meta("member"); return err }
	term := func(s *LogStorage) error {
		g, err := s.Group(1)
		if err != nil {
			return errors.New("not reached: " + err.Error())
		}
		_, err = g.GetUint64([]byte("CurrentTerm"))
		return err
	}
	cases := []struct {
		name   string
		damage func(*testing.T, *LogStorage)
		use    func(*LogStorage) error
	}{
		{"vote", corrupt(groupPrefix(1, kindVote)), group},
		{"first index", corrupt(groupPrefix(1, kindFirst)), group},
		{"newest entry", corrupt(logKey(1, 5)), group},
		{"oldest entry lost", remove(logKey(1, 1)), group},
		{"term", corrupt(namedKey(1, kindStable, "CurrentTerm")), term},
		{"member record", corrupt(namedKey(memberGroup, kindMeta, "member")), meta},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			s := openTestStorage(t, fsys)
			g := openTestGroup(t, s, 1)
			err := errors.Join(g.StoreLogs(testEntries(1, 5, 1)), g.SetUint64([]byte("CurrentTerm"), 1), s.SetMeta("member", []byte("m1")),
				g.SetUint64([]byte(voteTermName), 1), g.Set([]byte(voteCandidateName), []byte("m1")))
			if err != nil {
				t.Fatal(err)
			}
			c.damage(t, s)
			mustClose(t, s)
			s = openTestStorage(t, fsys)
			defer mustClose(t, s)
			if err := c.use(s); !errors.Is(err, ErrCorrupt) {
				t.Errorf("use of the damaged record: %v, want ErrCorrupt", err)
			}
			if err := s.DropGroup(1); err != nil {
				t.Errorf("a damaged group cannot be dropped: %v", err)
			}
		})
	}
}
