package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// The names under which raft stores its vote. It writes them one after the other, the term first; nothing else is special.
const (
	voteTermName      = "LastVoteTerm"
	voteCandidateName = "LastVoteCand"
)

var (
	// ErrNotFound is returned by a stable store for a name that was never set. Raft compares the text, so it has no prefix.
	ErrNotFound = errors.New("not found")
	// ErrVoteOrder is returned when a vote's candidate is stored without its term before it, or the term in another form.
	ErrVoteOrder = errors.New("replica: a vote is stored as its term, then its candidate")
	// ErrDoubleVote is returned for a second vote in one term, or one in an older term: granting it could elect two leaders.
	ErrDoubleVote = errors.New("replica: a vote in this or a later term was already given")
)

// vote is what raft must never forget or mix: whom this member voted for, and in which term.
type vote struct {
	term      uint64
	candidate []byte // nil if no vote was ever given
}

// voteBox turns raft's two writes of a vote into one. Raft stores the term, then the candidate, and grants the vote after
// the second. Two separate writes could leave, after a crash between them, the new term beside the old candidate: a vote that
// was never given, or one that is given again. So the term is only staged, and becomes visible and durable together with
// the candidate. A term that is staged and never followed by a candidate belongs to a vote that was not granted.
// (Raft's current term is another name, stored at once.)
type voteBox struct {
	given     vote
	staged    uint64
	hasStaged bool
}

func (b *voteBox) stage(term uint64) { b.staged, b.hasStaged = term, true }

// propose returns the vote that storing candidate would give. The caller makes it durable, then calls give.
func (b *voteBox) propose(candidate []byte) (vote, error) {
	if !b.hasStaged {
		return vote{}, ErrVoteOrder
	}
	v := vote{term: b.staged, candidate: append([]byte{}, candidate...)}
	again := v.term == b.given.term && bytes.Equal(v.candidate, b.given.candidate)
	if b.given.candidate != nil && v.term <= b.given.term && !again {
		return vote{}, fmt.Errorf("%w: term %d, last vote in %d", ErrDoubleVote, v.term, b.given.term)
	}
	return v, nil
}

func (b *voteBox) give(v vote) { b.given, b.hasStaged = v, false }

// get returns the value of one of the two names, as given.
func (b *voteBox) get(name string) ([]byte, error) {
	switch {
	case b.given.candidate == nil:
		return nil, ErrNotFound
	case name == voteTermName:
		return binary.BigEndian.AppendUint64(nil, b.given.term), nil
	}
	return append([]byte{}, b.given.candidate...), nil
}

// The body of a vote is format(1) | term(8, big endian) | candidate.
const voteFormat = 1

func encodeVote(v vote) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{voteFormat}, v.term), v.candidate...)
}

func decodeVote(body []byte) (vote, error) {
	if len(body) < 9 || body[0] != voteFormat {
		return vote{}, errors.New("not a vote")
	}
	return vote{term: binary.BigEndian.Uint64(body[1:]), candidate: append([]byte{}, body[9:]...)}, nil
}

func isVoteName(name string) bool { return name == voteTermName || name == voteCandidateName }

func uint64Value(body []byte, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	if len(body) != 8 {
		return 0, fmt.Errorf("replica: stable value of %d bytes where a number was expected", len(body))
	}
	return binary.BigEndian.Uint64(body), nil
}

// stableStore is the raft.StableStore of one group in a LogStorage. Every write is durable on return, except that of a vote's
// term, which becomes durable with the candidate that follows it.
type stableStore struct {
	storage *LogStorage
	group   uint32

	stable struct {
		sync.Mutex // held while the disk works: a vote must not be read while its fate is open
		votes      voteBox
		dropped    bool
	}
}

func (s *stableStore) loadVote() error {
	body, err := s.storage.get(groupPrefix(s.group, kindVote))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err == nil {
		s.stable.votes.given, err = decodeVote(body)
	}
	if err != nil {
		return &CorruptError{Group: s.group, Record: "vote", Reason: err.Error()}
	}
	return nil
}

// useStable locks the store for one operation and returns what ends it.
func (s *stableStore) useStable() (done func(), err error) {
	s.stable.Lock()
	if s.stable.dropped {
		err = fmt.Errorf("%w: %d", ErrDropped, s.group)
	} else {
		err = s.storage.use()
	}
	if err != nil {
		s.stable.Unlock()
		return nil, err
	}
	return func() { s.storage.life.RUnlock(); s.stable.Unlock() }, nil
}

// Set stores value under name and returns once it is durable. The candidate of a vote is stored with the term that was set
// before it, in one write.
func (s *stableStore) Set(name, value []byte) error {
	done, err := s.useStable()
	if err != nil {
		return err
	}
	defer done()
	switch string(name) {
	case voteTermName:
		return fmt.Errorf("%w: the term is a number", ErrVoteOrder)
	case voteCandidateName:
		v, err := s.stable.votes.propose(value)
		if err != nil {
			return err
		}
		if err := s.storage.put(groupPrefix(s.group, kindVote), encodeVote(v)); err != nil {
			return err
		}
		s.stable.votes.give(v)
		return nil
	}
	return s.storage.put(namedKey(s.group, kindStable, string(name)), value)
}

// Get returns a copy of the value stored under name, or ErrNotFound.
func (s *stableStore) Get(name []byte) ([]byte, error) {
	done, err := s.useStable()
	if err != nil {
		return nil, err
	}
	defer done()
	if isVoteName(string(name)) {
		return s.stable.votes.get(string(name))
	}
	body, err := s.storage.get(namedKey(s.group, kindStable, string(name)))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, &CorruptError{Group: s.group, Record: "stable value " + string(name), Reason: err.Error()}
	}
	return body, nil
}

// SetUint64 stores a number under name and returns once it is durable, except the term of a vote: see Set.
func (s *stableStore) SetUint64(name []byte, value uint64) error {
	if string(name) != voteTermName {
		return s.Set(name, binary.BigEndian.AppendUint64(nil, value))
	}
	done, err := s.useStable()
	if err != nil {
		return err
	}
	defer done()
	s.stable.votes.stage(value)
	return nil
}

// GetUint64 returns the number stored under name, or ErrNotFound.
func (s *stableStore) GetUint64(name []byte) (uint64, error) { return uint64Value(s.Get(name)) }

// coveredName is where the index of the newest snapshot is kept, beside raft's own names.
var coveredName = []byte("Snapshot")

// noteCovered notes, durably, that a snapshot covers the log up to index. What is below may go from the log from then on, so a
// replica that finds neither has lost it.
func (s *stableStore) noteCovered(index uint64) error { return s.SetUint64(coveredName, index) }

// covered returns what noteCovered has noted, 0 if nothing.
func (s *stableStore) covered() (uint64, error) {
	index, err := s.GetUint64(coveredName)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return index, err
}

func (s *stableStore) retire() {
	s.stable.Lock()
	defer s.stable.Unlock()
	s.stable.dropped = true
}

var _ raft.StableStore = (*MemoryStable)(nil)

// MemoryStable is the term and vote of a group of a member without a folder. A process that lost it must not come back under
// the same identity, since it could vote twice in one term.
type MemoryStable struct {
	mu struct {
		sync.Mutex
		votes  voteBox
		values map[string][]byte // a handful: the names that raft uses
	}
}

// NewMemoryStable returns an empty store.
func NewMemoryStable() *MemoryStable {
	s := &MemoryStable{}
	s.mu.values = map[string][]byte{}
	return s
}

// Set stores a copy of value under name. The candidate of a vote takes effect with the term that was set before it.
func (s *MemoryStable) Set(name, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(name) {
	case voteTermName:
		return fmt.Errorf("%w: the term is a number", ErrVoteOrder)
	case voteCandidateName:
		v, err := s.mu.votes.propose(value)
		if err == nil {
			s.mu.votes.give(v)
		}
		return err
	}
	s.mu.values[string(name)] = append([]byte{}, value...)
	return nil
}

// Get returns a copy of the value stored under name, or ErrNotFound.
func (s *MemoryStable) Get(name []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isVoteName(string(name)) {
		return s.mu.votes.get(string(name))
	}
	value, ok := s.mu.values[string(name)]
	if !ok {
		return nil, ErrNotFound
	}
	return append([]byte{}, value...), nil
}

// SetUint64 stores a number under name; the term of a vote takes effect with the candidate that follows it.
func (s *MemoryStable) SetUint64(name []byte, value uint64) error {
	if string(name) != voteTermName {
		return s.Set(name, binary.BigEndian.AppendUint64(nil, value))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.votes.stage(value)
	return nil
}

// GetUint64 returns the number stored under name, or ErrNotFound.
func (s *MemoryStable) GetUint64(name []byte) (uint64, error) { return uint64Value(s.Get(name)) }
