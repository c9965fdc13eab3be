package cluster

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// do sends a command through its encoding and returns the reply.
func do(t *testing.T, c *Control, command Command) Reply {
	t.Helper()
	before := *c.State()
	reply, err := DecodeReply(c.Apply(EncodeCommand(command)))
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	after := c.State()
	if reply.Version != after.Version {
		t.Fatalf("%T: reply at version %d, state at %d", command, reply.Version, after.Version)
	}
	if reply.Code != OK && !reflect.DeepEqual(before, *after) {
		t.Fatalf("%T: refused with %v and changed the state", command, reply.Err())
	}
	if err := after.check(); err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return reply
}

func ok(t *testing.T, c *Control, command Command) Reply {
	t.Helper()
	reply := do(t, c, command)
	if err := reply.Err(); err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return reply
}

func refused(t *testing.T, c *Control, command Command, want error) Reply {
	t.Helper()
	reply := do(t, c, command)
	if err := reply.Err(); !errors.Is(err, want) {
		t.Fatalf("%T: %v, want %v", command, err, want)
	}
	return reply
}

func formedControl(t *testing.T, members int) *Control {
	t.Helper()
	c := NewControl()
	ok(t, c, &Form{Cluster: ClusterID{7}, Durability: Disk, Members: testMembers(members, noZone)})
	return c
}

// A cluster is formed once; forming it again with the same identity is a
// repeat, with another one a refusal, and nothing works before.
func TestFormingIsOnce(t *testing.T) {
	c := NewControl()
	refused(t, c, &SetSink{Name: "pg"}, ErrNotFormed)
	form := &Form{Cluster: ClusterID{7}, Partitions: 64, Durability: Memory, Members: testMembers(3, noZone)}
	for _, wrong := range []Form{
		{Durability: Disk, Members: form.Members},
		{Cluster: ClusterID{7}, Members: form.Members},
		{Cluster: ClusterID{7}, Durability: Disk},
		{Cluster: ClusterID{7}, Durability: Disk, Members: []Member{form.Members[0], form.Members[0]}},
		{Cluster: ClusterID{7}, Durability: Disk, Members: []Member{{ID: "a b", Incarnation: 1, Peer: "x:1"}}},
		{Cluster: ClusterID{7}, Durability: Disk, Members: []Member{{ID: "a", Peer: "x:1"}}},
	} {
		refused(t, c, &wrong, ErrInvalid)
	}
	ok(t, c, form)
	s := c.State()
	if s.Version != 1 || s.TableVersion != 1 || len(s.Table) != 64 || len(s.Groups) != 3 || len(s.Voters()) != 3 {
		t.Fatalf("formed: %+v", s)
	}
	if want := []Sink{{Sink: space.Sink{ID: space.StoreSink, Name: "store", Required: true}}}; !slices.Equal(s.Sinks, want) {
		t.Errorf("sinks %+v, want %+v", s.Sinks, want)
	}
	ok(t, c, form)
	refused(t, c, &Form{Cluster: ClusterID{8}, Durability: Disk, Members: form.Members}, ErrFormed)
	if c.State().Version != 1 {
		t.Errorf("a repeat counted as a change")
	}
}

// An older life of a member is refused, and so is one that was declared lost or
// whose disk was rolled back; a newer one is admitted.
func TestAdmissionJudgesIncarnations(t *testing.T) {
	c := formedControl(t, 3)
	m := c.State().Members[1]
	m.Incarnation, m.Boot = 5, 3
	routed := c.State().TableVersion
	ok(t, c, &AdmitMember{m})
	if c.State().TableVersion != routed {
		t.Error("an admission without a new address changed the table's version")
	}

	for _, old := range []struct{ incarnation, boot uint64 }{{4, 9}, {5, 2}} {
		stale := m
		stale.Incarnation, stale.Boot = old.incarnation, old.boot
		refused(t, c, &AdmitMember{stale}, ErrStaleIncarnation)
	}
	m.Boot, m.Peer = 4, "10.9.9.9:7381"
	ok(t, c, &AdmitMember{m})
	if got, _ := c.State().Member(m.ID); got.Peer != m.Peer || !got.Voter || c.State().TableVersion == routed {
		t.Errorf("after moving: %+v", got)
	}

	refused(t, c, &DeclareLost{m.ID, 4}, ErrStaleIncarnation)
	ok(t, c, &DeclareLost{m.ID, 5})
	ok(t, c, &DeclareLost{m.ID, 5})
	refused(t, c, &AdmitMember{m}, ErrStaleIncarnation)
	m.Incarnation, m.Boot = 6, 0
	ok(t, c, &AdmitMember{m})
	if got, _ := c.State().Member(m.ID); got.State != Active || got.Incarnation != 6 {
		t.Errorf("after returning: %+v", got)
	}
}

// A member leaves in three steps, and is not forgotten while it holds anything.
func TestLeavingMembersAreForgottenLast(t *testing.T) {
	c := formedControl(t, 4)
	leaver := c.State().Members[0].ID
	ok(t, c, &DrainMember{leaver, true})
	refused(t, c, &RemoveMember{leaver}, ErrInUse)
	for _, m := range Desired(c.State()) {
		ok(t, c, &SetReplicas{m.Group, m.Version, m.Want})
	}
	refused(t, c, &RemoveMember{leaver}, ErrInUse) // it votes still
	ok(t, c, &SetVoters{[]MemberID{"m01", "m02", "m03"}})
	ok(t, c, &RemoveMember{leaver})
	ok(t, c, &RemoveMember{leaver})
	if _, known := c.State().Member(leaver); known {
		t.Error("the member is still known")
	}
	refused(t, c, &DrainMember{leaver, true}, ErrNoMember)
	refused(t, c, &SetVoters{[]MemberID{leaver}}, ErrNoMember)
}

// Replicas change by compare-and-set; a repeat of the change that won is
// answered as the first time.
func TestSetReplicasComparesAndSets(t *testing.T) {
	c := formedControl(t, 5)
	g := c.State().Groups[0]
	spare := slices.IndexFunc(c.State().Members, func(m Member) bool { _, in := g.Replica(m.ID); return !in })
	with := append(slices.Clone(g.Replicas), Replica{c.State().Members[spare].ID, 1, Learner})
	first := ok(t, c, &SetReplicas{1, g.Version, with})
	if first.Group != g.Version+1 {
		t.Errorf("the group is at version %d, want %d", first.Group, g.Version+1)
	}
	if again := ok(t, c, &SetReplicas{1, g.Version, with}); again != first {
		t.Errorf("a repeat is answered %+v, the first time %+v", again, first)
	}
	if r := refused(t, c, &SetReplicas{1, g.Version, g.Replicas}, ErrConflict); r.Group != first.Group {
		t.Errorf("the refusal says version %d, want %d", r.Group, first.Group)
	}
	refused(t, c, &SetReplicas{7, 1, with}, ErrNoGroup)
	refused(t, c, &SetReplicas{0, 1, with}, ErrNoGroup)
	for name, wrong := range map[string][]Replica{
		"nobody":       nil,
		"no voter":     {{"m00", 1, Learner}},
		"twice":        {{"m00", 1, Voter}, {"m00", 1, Learner}},
		"stranger":     {{"m00", 1, Voter}, {"x", 1, Learner}},
		"other life":   {{"m00", 1, Voter}, {"m01", 2, Learner}},
		"unknown role": {{"m00", 1, Voter}, {"m01", 1, 9}},
	} {
		if r := do(t, c, &SetReplicas{1, first.Group, wrong}); r.Code != CodeInvalid {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
}

// A replica that is mended learns under an identity that none had before, however
// often that happens and whatever bootstraps there are; a repeat counts once, and
// the last voter stays.
func TestMendedReplicasHaveNewIdentities(t *testing.T) {
	c := formedControl(t, 3)
	refused(t, c, &MendReplica{1, "m01", 1, 1}, ErrConflict) // it does not serve yet
	g := c.State().Groups[0]
	by := g.Replicas[0]
	ok(t, c, &BeginBootstrap{1, g.Version, by.Member, by.Incarnation, nil, sourcesFor(c.State(), 1)})
	ok(t, c, &EndBootstrap{1, 1})
	id := func() replica.ServerID {
		g := &c.State().Groups[0]
		r, _ := g.Replica("m01")
		return g.server(r)
	}
	seen := map[replica.ServerID]bool{id(): true}
	for times := uint64(1); times <= 3; times++ {
		first := ok(t, c, &MendReplica{1, "m01", 1, times})
		if again := ok(t, c, &MendReplica{1, "m01", 1, times}); again != first {
			t.Errorf("a repeat is answered %+v, the first time %+v", again, first)
		}
		g := &c.State().Groups[0]
		if r, _ := g.Replica("m01"); r.Role != Learner || seen[id()] {
			t.Errorf("mended %d times: %+v, %v", times, r, id())
		}
		seen[id()] = true
		moves := Desired(c.State())
		i := slices.IndexFunc(moves, func(m Move) bool { return m.Group == 1 })
		if i < 0 || moves[i].Next(g).Kind != Promote {
			t.Fatalf("the next step is not to let it vote: %+v", moves)
		}
		ok(t, c, &SetReplicas{1, g.Version, moves[i].Next(g).Replicas})
	}
	refused(t, c, &MendReplica{1, "m01", 1, 5}, ErrConflict)
	refused(t, c, &MendReplica{1, "m01", 2, 4}, ErrConflict)
	refused(t, c, &MendReplica{1, "x", 1, 1}, ErrConflict)
	refused(t, c, &MendReplica{7, "m01", 1, 4}, ErrNoGroup)
	ok(t, c, &MendReplica{1, "m00", 1, 1})
	ok(t, c, &MendReplica{1, "m01", 1, 4})
	if r := do(t, c, &MendReplica{1, "m02", 1, 1}); r.Code != CodeInvalid {
		t.Errorf("the last voter goes: %+v", r)
	}
	ok(t, c, &CreateSpace{space.Definition{Name: "orders"}})
	var w bytes.Buffer
	if err := c.Snapshot(&w); err != nil {
		t.Fatal(err)
	}
	again := NewControl()
	if err := again.Restore(&w); err != nil || !reflect.DeepEqual(again.State(), c.State()) {
		t.Errorf("after a snapshot: %+v, %v", again.State().Groups[0].Mended, err)
	}
}

// What is counted of a member goes with it.
func TestWhatWasMendedIsForgottenWithTheMember(t *testing.T) {
	c := formedControl(t, 4)
	g := c.State().Groups[0]
	by := g.Replicas[0]
	ok(t, c, &BeginBootstrap{1, g.Version, by.Member, by.Incarnation, nil, sourcesFor(c.State(), 1)})
	ok(t, c, &EndBootstrap{1, 1})
	leaver := g.Replicas[1].Member
	ok(t, c, &MendReplica{1, leaver, 1, 1})
	ok(t, c, &DrainMember{leaver, true})
	for _, m := range Desired(c.State()) {
		ok(t, c, &SetReplicas{m.Group, m.Version, m.Want})
	}
	ok(t, c, &SetVoters{slices.DeleteFunc([]MemberID{"m00", "m01", "m02"}, func(m MemberID) bool { return m == leaver })})
	ok(t, c, &RemoveMember{leaver})
	if g := c.State().Groups[0]; len(g.Mended) != 0 {
		t.Errorf("%+v", g.Mended)
	}
}

// sourcesFor lets every partition of a group begin empty.
func sourcesFor(s *State, g GroupID) []Source {
	var out []Source
	for _, p := range s.PartitionsOf(g) {
		out = append(out, Source{Partition: p, Kind: FromNothing})
	}
	return out
}

// A group is born by one attempt of one member; a serving group is born again
// only when nobody can still hold its state.
func TestBootstrapIsOneAttemptAtATime(t *testing.T) {
	c := formedControl(t, 3)
	g := c.State().Groups[0]
	a, b := g.Replicas[0], g.Replicas[1]
	sources := sourcesFor(c.State(), 1)
	begin := func(version uint64, by Replica) *BeginBootstrap {
		return &BeginBootstrap{Group: 1, Version: version, Member: by.Member, Incarnation: by.Incarnation, Sources: sources}
	}

	first := ok(t, c, begin(g.Version, a))
	refused(t, c, begin(g.Version, b), ErrConflict)
	second := ok(t, c, begin(first.Group, b))
	if first.Attempt != 1 || second.Attempt != 2 {
		t.Fatalf("attempts %d and %d, want 1 and 2", first.Attempt, second.Attempt)
	}
	refused(t, c, &EndBootstrap{1, first.Attempt}, ErrConflict)
	end := ok(t, c, &EndBootstrap{1, second.Attempt})
	if again := ok(t, c, &EndBootstrap{1, second.Attempt}); again != end {
		t.Errorf("a repeat is answered %+v, the first time %+v", again, end)
	}
	if got := c.State().Groups[0]; got.Stage != Serving || got.Bootstrap.Member != b.Member || len(got.Bootstrap.Sources) != len(sources) {
		t.Errorf("born: %+v", got)
	}

	anew := begin(end.Group, a)
	refused(t, c, anew, ErrHasState)
	anew.Stateless = []MemberID{a.Member, g.Replicas[2].Member}
	refused(t, c, anew, ErrHasState)
	ok(t, c, &DeclareLost{b.Member, b.Incarnation})
	if r := ok(t, c, anew); r.Attempt != 3 {
		t.Errorf("attempt %d, want 3", r.Attempt)
	}
	refused(t, c, &EndBootstrap{2, 0}, ErrConflict)

	lost := c.State().Groups[0].Version
	refused(t, c, begin(lost, b), ErrStaleIncarnation)
	for name, wrong := range map[string][]Source{
		"too few":    sources[1:],
		"disordered": append(slices.Clone(sources[1:]), sources[0]),
		"unknown":    append([]Source{{Kind: 9}}, sources[1:]...),
		"stranger":   append([]Source{{Kind: FromReplica, Member: "x"}}, sources[1:]...),
		"something":  append([]Source{{Kind: FromNothing, Seq: 1}}, sources[1:]...),
	} {
		bad := begin(lost, a)
		bad.Sources = wrong
		if r := do(t, c, bad); r.Code != CodeInvalid {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
}

// Creating a space is idempotent for equal definitions and a conflict for
// others; identities are never given twice.
func TestSpacesKeepTheirIdentity(t *testing.T) {
	c := formedControl(t, 1)
	def := space.Definition{
		Name: "orders", Shape: space.ShapeFields, Key: "id", Lease: time.Minute, ScanLimit: -1,
		Indexes: []space.Index{{Name: "by-state", Fields: []string{"state", "city"}}},
	}
	created := ok(t, c, &CreateSpace{def})
	if again := ok(t, c, &CreateSpace{def}); again != created || created.Space != 1 {
		t.Errorf("created as %+v, then %+v", created, again)
	}
	other := def.Clone()
	other.Lease = 0
	refused(t, c, &CreateSpace{other}, ErrSpaceConflict)
	refused(t, c, &CreateSpace{space.Definition{Name: "-"}}, ErrInvalid)

	more := space.Index{Name: "by-day", Fields: []string{"day"}}
	ok(t, c, &AlterSpace{Space: 1, AddIndexes: []space.Index{more}, DropIndexes: []string{"by-state", "absent"}})
	altered := c.State().Version
	ok(t, c, &AlterSpace{Space: 1, AddIndexes: []space.Index{more}, DropIndexes: []string{"by-state"}})
	if c.State().Version != altered {
		t.Error("a repeated change counted twice")
	}
	if got, _ := c.State().SpaceByID(1); len(got.Indexes) != 1 || got.Indexes[0].Name != "by-day" {
		t.Errorf("altered: %+v", got)
	}
	refused(t, c, &AlterSpace{Space: 1, AddIndexes: []space.Index{{Name: "by-day", Fields: []string{"hour"}}}}, ErrSpaceConflict)
	refused(t, c, &AlterSpace{Space: 1, AddIndexes: []space.Index{{Name: "empty"}}}, ErrInvalid)

	ok(t, c, &DropSpace{1})
	ok(t, c, &DropSpace{1})
	refused(t, c, &DropSpace{2}, ErrNoSpace)
	refused(t, c, &AlterSpace{Space: 1}, ErrNoSpace)
	if r := ok(t, c, &CreateSpace{def}); r.Space != 2 {
		t.Errorf("recreated as %d, want 2", r.Space)
	}
}

// Everything that may be altered is, in one step or not at all; a space that
// others send their dead letters to is held by them.
func TestSpacesAreAltered(t *testing.T) {
	c := formedControl(t, 1)
	jobs := space.Definition{Name: "jobs", Shape: space.ShapeFields, Fields: []space.Field{{Path: "n", Type: predicate.Int}, {Path: "old"}}}
	ok(t, c, &CreateSpace{jobs})
	ok(t, c, &CreateSpace{space.Definition{Name: "dead", Shape: space.ShapeFields}})
	ok(t, c, &CreateSpace{space.Definition{Name: "blobs", Shape: space.ShapeBytes}})
	const id, dead, blobs = space.ID(1), space.ID(2), space.ID(3)
	change := &AlterSpace{
		Space: id, AddFields: []space.Field{{Path: "n", Type: predicate.Number}, {Path: "at", Type: predicate.Time}}, DropFields: []string{"old", "absent"},
		ClaimLease: new(time.Minute), MaxAttempts: new(3), DeadLetter: new(dead),
	}
	ok(t, c, change)
	want := jobs.Clone()
	want.ID, want.Indexes = id, nil
	want.Fields = []space.Field{{Path: "n", Type: predicate.Number}, {Path: "at", Type: predicate.Time}}
	want.ClaimLease, want.MaxAttempts, want.DeadLetter = time.Minute, 3, dead
	if got, _ := c.State().SpaceByID(id); !reflect.DeepEqual(*got, want) {
		t.Errorf("altered to %+v, want %+v", *got, want)
	}
	version := c.State().Version
	if ok(t, c, change); c.State().Version != version {
		t.Error("a repeated change counted twice")
	}
	for name, wrong := range map[string]*AlterSpace{
		"another shape":         {Space: id, DeadLetter: new(blobs)},
		"itself":                {Space: id, DeadLetter: new(id)},
		"nowhere":               {Space: id, DeadLetter: new(space.ID(9))},
		"attempts without end":  {Space: id, DeadLetter: new(space.ID(0))},
		"less than no attempts": {Space: id, MaxAttempts: new(-1)},
		"a negative lease":      {Space: id, ClaimLease: new(-time.Second)},
		"a type of no kind":     {Space: id, AddFields: []space.Field{{Path: "n", Type: 99}}},
		"fields of bytes":       {Space: blobs, AddFields: []space.Field{{Path: "n"}}},
		"half of it is wrong":   {Space: id, ClaimLease: new(time.Hour), AddIndexes: []space.Index{{Name: "empty"}}},
	} {
		if r := do(t, c, wrong); r.Code != CodeInvalid {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
	refused(t, c, &CreateSpace{space.Definition{Name: "other", MaxAttempts: 1, DeadLetter: dead}}, ErrInvalid)
	refused(t, c, &DropSpace{dead}, ErrSpaceConflict)
	ok(t, c, &AlterSpace{Space: id, MaxAttempts: new(0), DeadLetter: new(space.ID(0))})
	ok(t, c, &DropSpace{dead})
}

// A space is found by its name and by its identity, also after others were
// dropped and after a restore.
func TestSpacesAreFound(t *testing.T) {
	c := formedControl(t, 1)
	for _, name := range []string{"c", "a", "b"} {
		ok(t, c, &CreateSpace{space.Definition{Name: name}})
	}
	ok(t, c, &DropSpace{1})
	var w bytes.Buffer
	if err := c.Snapshot(&w); err != nil {
		t.Fatal(err)
	}
	restored := NewControl()
	if err := restored.Restore(&w); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*State{c.State(), restored.State()} {
		for id, name := range map[space.ID]string{2: "a", 3: "b"} {
			byName, ok1 := s.Space(name)
			byID, ok2 := s.SpaceByID(id)
			if !ok1 || !ok2 || byName != byID || byName.ID != id || byName.Name != name {
				t.Errorf("space %d %q: %+v and %+v", id, name, byName, byID)
			}
		}
		if _, found := s.Space("c"); found {
			t.Error("a dropped space is found by name")
		}
		if _, found := s.SpaceByID(1); found {
			t.Error("a dropped space is found by its identity")
		}
	}
}

// Durabilities are written and read by their word.
func TestDurabilityWords(t *testing.T) {
	for _, d := range []Durability{Disk, Memory} {
		if got, err := ParseDurability(d.String()); err != nil || got != d {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	if _, err := ParseDurability("tape"); err == nil {
		t.Error("tape is taken for a durability")
	}
}

// Sinks are known by name, and only whether they are required changes.
func TestSinksAreSetByName(t *testing.T) {
	c := formedControl(t, 1)
	if r := ok(t, c, &SetSink{"pg", true}); r.Sink != 2 {
		t.Errorf("sink %d, want 2", r.Sink)
	}
	ok(t, c, &SetSink{"pg", false})
	ok(t, c, &SetSink{"store", false})
	want := []Sink{{Sink: space.Sink{ID: 1, Name: "store"}}, {Sink: space.Sink{ID: 2, Name: "pg"}}}
	if got := c.State().Sinks; !slices.Equal(got, want) {
		t.Errorf("sinks %+v, want %+v", got, want)
	}
	for i := range space.MaxSinks - 2 {
		ok(t, c, &SetSink{string(rune('a' + i)), true})
	}
	refused(t, c, &SetSink{"more", true}, ErrLimit)
}

// A state that a reader holds never changes, whatever is applied afterwards.
func TestStatesAreImmutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewControl()
		type held struct {
			state *State
			bytes []byte
		}
		var all []held
		for range 30 {
			c.Apply(EncodeCommand(anyCommand(t, c.State())))
			var b bytes.Buffer
			if err := c.Snapshot(&b); err != nil {
				t.Fatal(err)
			}
			all = append(all, held{c.State(), b.Bytes()})
		}
		for _, h := range all {
			var b bytes.Buffer
			if err := h.state.Snapshot(&b); err != nil || !bytes.Equal(b.Bytes(), h.bytes) {
				t.Fatalf("version %d changed under its reader (%v)", h.state.Version, err)
			}
		}
	})
}

// Replicas that apply the same commands, one of them by way of a snapshot at
// any point, give the same replies and end in the same state.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := NewControl(), NewControl()
		for range 40 {
			cmd := EncodeCommand(anyCommand(t, a.State()))
			if ra, rb := a.Apply(cmd), b.Apply(cmd); !bytes.Equal(ra, rb) {
				t.Fatalf("replies differ: %x and %x", ra, rb)
			}
			if rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
				var w bytes.Buffer
				if err := b.Snapshot(&w); err != nil {
					t.Fatal(err)
				}
				b = NewControl()
				if err := b.Restore(&w); err != nil {
					t.Fatal(err)
				}
			}
		}
		var wa, wb bytes.Buffer
		if err := errors.Join(a.Snapshot(&wa), b.Snapshot(&wb)); err != nil || !bytes.Equal(wa.Bytes(), wb.Bytes()) {
			t.Fatalf("states differ (%v)", err)
		}
		if err := a.State().check(); err != nil {
			t.Fatal(err)
		}
	})
}

// anyCommand draws a command that has a fair chance in a state.
func anyCommand(t *rapid.T, s *State) Command {
	id := MemberID(rapid.SampledFrom([]string{"m00", "m01", "m02", "m03", "m04", "m05"}).Draw(t, "member"))
	m, known := s.Member(id)
	if !known {
		m = &Member{ID: id, Incarnation: 1, Peer: "h:1"}
	}
	if !s.Formed() {
		return &Form{Cluster: ClusterID{1}, Partitions: 16, Durability: Memory, Members: testMembers(rapid.IntRange(1, 4).Draw(t, "members"), noZone)}
	}
	g := s.Groups[rapid.IntRange(0, len(s.Groups)-1).Draw(t, "group")]
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	id2 := space.ID(rapid.IntRange(0, 4).Draw(t, "space"))
	switch rapid.IntRange(0, 12).Draw(t, "kind") {
	case 0:
		next := *m
		next.Incarnation += uint64(rapid.IntRange(0, 1).Draw(t, "newer"))
		next.Boot += uint64(rapid.IntRange(0, 1).Draw(t, "boot"))
		return &AdmitMember{next}
	case 1:
		return &DrainMember{id, rapid.Bool().Draw(t, "drain")}
	case 2:
		return &RemoveMember{id}
	case 3:
		return &DeclareLost{id, m.Incarnation}
	case 4:
		return &SetVoters{[]MemberID{id}}
	case 5, 6:
		if moves := Desired(s); len(moves) > 0 {
			return &SetReplicas{moves[0].Group, moves[0].Version, moves[0].Want}
		}
		return &SetReplicas{g.ID, g.Version, []Replica{{id, m.Incarnation, Voter}}}
	case 7:
		by := g.Replicas[0]
		return &BeginBootstrap{g.ID, g.Version, by.Member, by.Incarnation, []MemberID{id}, sourcesFor(s, g.ID)}
	case 8:
		return &EndBootstrap{g.ID, g.Bootstrap.Attempt}
	case 12:
		return &MendReplica{g.ID, id, m.Incarnation, g.MendedTimes(id) + uint64(rapid.IntRange(0, 1).Draw(t, "again"))}
	case 9:
		return &CreateSpace{space.Definition{Name: name}}
	case 10:
		if rapid.Bool().Draw(t, "drop") {
			return &DropSpace{id2}
		}
		return &AlterSpace{Space: id2, AddIndexes: []space.Index{{Name: name, Fields: []string{name}}}}
	}
	return &SetSink{name, rapid.Bool().Draw(t, "required")}
}

// A damaged snapshot is noticed wherever the damage is, and the state stays.
func TestDamagedSnapshotsChangeNothing(t *testing.T) {
	c := formedControl(t, 3)
	ok(t, c, &CreateSpace{space.Definition{Name: "orders"}})
	var w bytes.Buffer
	if err := c.Snapshot(&w); err != nil {
		t.Fatal(err)
	}
	good := w.Bytes()
	before := c.State()
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		var corrupt *CorruptError
		if err := c.Restore(bytes.NewReader(bad)); !errors.As(err, &corrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if err := c.Restore(bytes.NewReader(good[:i])); !errors.As(err, &corrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if c.State() != before {
		t.Fatal("a damaged snapshot replaced the state")
	}
	r := bytes.NewReader(append(slices.Clone(good), "tail"...))
	if err := c.Restore(r); err != nil || r.Len() != len("tail") {
		t.Fatalf("restore: %v, %d bytes left of the tail", err, r.Len())
	}
	if !reflect.DeepEqual(c.State(), before) {
		t.Error("the state differs after a restore")
	}
}

// everyCommand has one of each kind with every field set.
func everyCommand() []Command {
	m := Member{ID: "m1", Incarnation: 2, Boot: 3, Peer: "a:1", RESP: "a:2", HTTP: "a:3", Zone: "z", Voter: true, State: Lost}
	return []Command{
		&Form{ClusterID{1}, 64, 3, Memory, []Member{m}, []space.Definition{{ID: 4, Name: "s", Shape: space.ShapeAny}}, 5, []Sink{{Sink: space.Sink{ID: 1, Name: "store", Required: true}, Kind: "k", Spaces: "a,b", Config: "c", Paused: true}}, 6},
		&AdmitMember{m},
		&DrainMember{"m1", true},
		&RemoveMember{"m1"},
		&DeclareLost{"m1", 2},
		&SetVoters{[]MemberID{"m1", "m2"}},
		&SetReplicas{1, 7, []Replica{{"m1", 2, Voter}, {"m2", 1, Learner}}},
		&BeginBootstrap{1, 7, "m1", 2, []MemberID{"m2"}, []Source{{9, FromReplica, "m2", space.History{5}, 77, 8}}},
		&EndBootstrap{1, 4},
		&CreateSpace{space.Definition{ID: 3, Name: "s", Shape: space.ShapeFields, Key: "id", Indexes: []space.Index{{Name: "i", Fields: []string{"f"}}}, Lease: time.Hour, ScanLimit: -1}},
		&DropSpace{3},
		&AlterSpace{
			3, []space.Index{{Name: "i", Fields: []string{"f", "g"}, Ordered: true}}, []string{"j"}, []space.Field{{Path: "a.b", Type: predicate.Map}}, []string{"c"},
			new(time.Minute), new(7), new(space.ID(2)),
		},
		&SetSink{"pg", true},
		&MendReplica{1, "m1", 2, 3},
	}
}

// A command that is decoded is the one that was encoded, field by field.
func TestCommandsSurviveTheirEncoding(t *testing.T) {
	seen := map[commandKind]bool{}
	for _, c := range everyCommand() {
		seen[c.kind()] = true
		got, err := DecodeCommand(EncodeCommand(c))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%T: %+v, want %+v (%v)", c, got, c, err)
		}
	}
	if len(seen) != int(kindMendReplica) {
		t.Errorf("%d kinds were tried, there are %d", len(seen), kindMendReplica)
	}
}

// Whatever bytes arrive as a command, they are refused or carried out, a
// decoded command encodes to something that decodes the same, and the state
// keeps its invariants.
func FuzzControl(f *testing.F) {
	for _, c := range everyCommand() {
		f.Add(EncodeCommand(c))
	}
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []*Control{NewControl(), formedControl(t, 3)} {
			if _, err := DecodeReply(c.Apply(b)); err != nil {
				t.Fatal(err)
			}
			if err := c.State().check(); err != nil {
				t.Fatal(err)
			}
			Desired(c.State())
		}
		if c, err := DecodeCommand(b); err == nil {
			again, err := DecodeCommand(EncodeCommand(c))
			if err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("%+v became %+v (%v)", c, again, err)
			}
		}
	})
}

// A state or a reply that decodes, encodes to something that decodes the same.
func FuzzStateAndReply(f *testing.F) {
	c := NewControl()
	c.Apply(EncodeCommand(&Form{Cluster: ClusterID{7}, Partitions: 16, Durability: Disk, Members: testMembers(3, noZone)}))
	c.Apply(EncodeCommand(everyCommand()[9]))
	e := &encoder{}
	c.State().encode(e)
	f.Add(e.b)
	f.Add(EncodeReply(Reply{CodeConflict, 1, 2, 3, 4, 5, "detail"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeReply(b); err == nil {
			if again, err := DecodeReply(EncodeReply(r)); err != nil || again != r {
				t.Fatalf("%+v became %+v (%v)", r, again, err)
			}
		}
		s, err := decodeState(b)
		if err != nil {
			return
		}
		e := &encoder{}
		s.encode(e)
		again, err := decodeState(e.b)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v (%v)", s, again, err)
		}
		Desired(s)
	})
}

// Sinks are added once, altered in what may change, and removed for good; what
// they were defined with survives a snapshot.
func TestSinkDefinitions(t *testing.T) {
	d := &draft{State: State{Cluster: ClusterID{1}}}
	s := Sink{Sink: space.Sink{Name: "db", Required: true}, Kind: "postgres", Spaces: "a,b", Config: "x: 1"}
	for _, x := range []struct {
		command Command
		code    Code
	}{
		{&AddSink{Sink: s}, OK},
		{&AddSink{Sink: s}, OK},
		{&AddSink{Sink: Sink{Sink: space.Sink{Name: "db"}, Kind: "other"}}, CodeSinkConflict},
		{&AddSink{Sink: Sink{Sink: space.Sink{Name: "no kind"}}}, CodeInvalid},
		{&AlterSink{Name: "db", Paused: new(true), Config: new("x: 2")}, OK},
		{&AlterSink{Name: "nosuch", Paused: new(true)}, CodeNoSink},
		{&AddSink{Sink: Sink{Sink: space.Sink{Name: "next"}, Kind: "k"}}, OK},
		{&RemoveSink{Name: "next"}, OK},
		{&RemoveSink{Name: "next"}, CodeNoSink},
	} {
		c, err := DecodeCommand(EncodeCommand(x.command))
		if err != nil {
			t.Fatalf("%+v: %v", x.command, err)
		}
		if r := c.apply(d); r.Code != x.code {
			t.Fatalf("%+v is answered with %v: %s", x.command, r.Code, r.Detail)
		}
	}
	s.ID, s.Paused, s.Config = 1, true, "x: 2"
	if len(d.Sinks) != 1 || d.Sinks[0] != s || d.LastSink != 2 {
		t.Fatalf("the sinks are %+v, the last number is %d", d.Sinks, d.LastSink)
	}
	e := &encoder{}
	putList(e, d.Sinks, putSink)
	putAllSettings(e, d.Sinks)
	r := &decoder{b: e.b}
	back := list(r, space.MaxSinks, sink)
	allSettings(r, back)
	if err := r.done(); err != nil || len(back) != 1 || back[0] != s {
		t.Fatalf("the sink reads back as %+v, %v", back, err)
	}
}
