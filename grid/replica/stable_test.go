package replica

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// The names that raft uses, as in its source.
var (
	currentTermName = []byte("CurrentTerm")
	lastVoteTerm    = []byte("LastVoteTerm")
	lastVoteCand    = []byte("LastVoteCand")
)

func forEachStable(t *testing.T, test func(*testing.T, raft.StableStore)) {
	t.Run("disk", func(t *testing.T) {
		s := openTestStorage(t, vfs.NewMem())
		defer mustClose(t, s)
		test(t, openTestGroup(t, s, 1))
	})
	t.Run("memory", func(t *testing.T) { test(t, NewMemoryStable()) })
}

// castVote stores a vote the way raft does.
func castVote(s raft.StableStore, term uint64, candidate string) error {
	if err := s.SetUint64(lastVoteTerm, term); err != nil {
		return err
	}
	return s.Set(lastVoteCand, []byte(candidate))
}

func wantVote(t *testing.T, s raft.StableStore, term uint64, candidate string) {
	t.Helper()
	gotTerm, err := s.GetUint64(lastVoteTerm)
	gotCandidate, err2 := s.Get(lastVoteCand)
	if err != nil || err2 != nil || gotTerm != term || string(gotCandidate) != candidate {
		t.Fatalf("vote for %q in term %d (%v, %v), want %q in %d", gotCandidate, gotTerm, err, err2, candidate, term)
	}
}

func TestStableStoresSayNotFound(t *testing.T) {
	// Raft tells an absent value from a failure by the text of the error, which must be "not found" and nothing else.
	forEachStable(t, func(t *testing.T, s raft.StableStore) {
		for _, name := range [][]byte{currentTermName, lastVoteTerm, lastVoteCand} {
			_, getErr := s.Get(name)
			_, numberErr := s.GetUint64(name)
			for _, err := range []error{getErr, numberErr} {
				if err == nil || err.Error() != "not found" || !errors.Is(err, ErrNotFound) {
					t.Errorf("absent %s: %v", name, err)
				}
			}
		}
		has, err := raft.HasExistingState(NewRing(0), s, NewMemorySnapshotStore(0))
		if has || err != nil {
			t.Errorf("raft finds existing state %v, %v in empty stores", has, err)
		}
	})
}

func TestStableStoresKeepValues(t *testing.T) {
	// What was set last is read back, as bytes that belong to the reader; a value that is no number is not read as one.
	forEachStable(t, func(t *testing.T, s raft.StableStore) {
		for _, term := range []uint64{1, 0, 1 << 63} {
			if err := s.SetUint64(currentTermName, term); err != nil {
				t.Fatal(err)
			}
			if got, err := s.GetUint64(currentTermName); err != nil || got != term {
				t.Errorf("term %d, %v; want %d", got, err, term)
			}
		}
		value := []byte("value")
		if err := s.Set([]byte("name"), value); err != nil {
			t.Fatal(err)
		}
		value[0] = 'X'
		got, err := s.Get([]byte("name"))
		if err != nil || string(got) != "value" {
			t.Fatalf("value %q, %v", got, err)
		}
		got[0] = 'Y'
		if again, _ := s.Get([]byte("name")); string(again) != "value" {
			t.Errorf("a reader changed the stored value to %q", again)
		}
		if n, err := s.GetUint64([]byte("name")); err == nil {
			t.Errorf("text read as the number %d", n)
		}
	})
}

func TestStableStoresGiveAVoteAsOne(t *testing.T) {
	// The term of a vote shows only together with its candidate; a candidate without its term is refused.
	forEachStable(t, func(t *testing.T, s raft.StableStore) {
		if err := s.Set(lastVoteCand, []byte("m1")); !errors.Is(err, ErrVoteOrder) {
			t.Errorf("candidate without term: %v, want ErrVoteOrder", err)
		}
		if err := s.Set(lastVoteTerm, make([]byte, 8)); !errors.Is(err, ErrVoteOrder) {
			t.Errorf("term as bytes: %v, want ErrVoteOrder", err)
		}
		if err := s.SetUint64(lastVoteTerm, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.GetUint64(lastVoteTerm); !errors.Is(err, ErrNotFound) {
			t.Errorf("term of a vote that was not given: %v, want ErrNotFound", err)
		}
		if err := s.Set(lastVoteCand, []byte("m1")); err != nil {
			t.Fatal(err)
		}
		wantVote(t, s, 1, "m1")
		if err := s.SetUint64(lastVoteTerm, 2); err != nil {
			t.Fatal(err)
		}
		wantVote(t, s, 1, "m1")
		if err := s.Set(lastVoteCand, []byte("m2")); err != nil {
			t.Fatal(err)
		}
		wantVote(t, s, 2, "m2")
		if err := castVote(s, 3, ""); err != nil {
			t.Fatal(err)
		}
		wantVote(t, s, 3, "")
	})
}

func TestStableStoresRefuseASecondVote(t *testing.T) {
	// One vote per term and never back to an older one, whatever asks for it; the same vote again is fine.
	forEachStable(t, func(t *testing.T, s raft.StableStore) {
		if err := castVote(s, 5, "m1"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			term      uint64
			candidate string
			want      error
		}{{5, "m1", nil}, {5, "m2", ErrDoubleVote}, {4, "m1", ErrDoubleVote}, {6, "m2", nil}} {
			if err := castVote(s, c.term, c.candidate); !errors.Is(err, c.want) {
				t.Errorf("vote for %s in term %d: %v, want %v", c.candidate, c.term, err, c.want)
			}
		}
		wantVote(t, s, 6, "m2")
	})
}

func TestVoteSurvivesReopening(t *testing.T) {
	// A given vote and the current term are there after reopening; a staged term alone is not a vote.
	fsys := vfs.NewMem()
	s := openTestStorage(t, fsys)
	g := openTestGroup(t, s, 1)
	if err := errors.Join(g.SetUint64(currentTermName, 4), castVote(g, 4, "m2"), g.SetUint64(lastVoteTerm, 5)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = openTestStorage(t, fsys)
	defer mustClose(t, s)
	g = openTestGroup(t, s, 1)
	wantVote(t, g, 4, "m2")
	if term, err := g.GetUint64(currentTermName); err != nil || term != 4 {
		t.Errorf("current term %d, %v", term, err)
	}
}
