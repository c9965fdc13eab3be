package replica

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// The encoding of raft's requests and responses: every field in declaration
// order, integers as varints, bytes behind their length. Decoding overwrites
// the whole target, header included, because raft reuses response values.
//
// Decoded byte slices alias the body they were read from. A received frame's
// body has one owner, whoever decoded it, and is never reused; so the data of
// its log entries may live in a log store or state machine for ever.

const (
	// maxName bounds a server's id and address, in bytes.
	maxName = 512
	// maxEntries is the most entries that raft itself allows in one request.
	maxEntries = 1024
	// maxBytes bounds any other field; frames are smaller anyway.
	maxBytes = wire.DefaultMaxFrame
	// minEntry is the fewest bytes that an encoded entry takes. An announced
	// count of entries is checked against it before memory is taken.
	minEntry = 6
)

func appendHeader(dst []byte, h *raft.RPCHeader) []byte {
	dst = binary.AppendVarint(dst, int64(h.ProtocolVersion))
	dst = wire.AppendBytes(dst, h.ID)
	return wire.AppendBytes(dst, h.Addr)
}

func parseHeader(p *wire.Parser) raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersion(p.Varint()),
		ID:              p.Bytes(maxName),
		Addr:            p.Bytes(maxName),
	}
}

func appendAppendEntries(dst []byte, r *raft.AppendEntriesRequest) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	dst = wire.AppendBytes(dst, r.Leader)
	dst = binary.AppendUvarint(dst, r.PrevLogEntry)
	dst = binary.AppendUvarint(dst, r.PrevLogTerm)
	dst = binary.AppendUvarint(dst, r.LeaderCommitIndex)
	dst = binary.AppendUvarint(dst, uint64(len(r.Entries)))
	for _, l := range r.Entries {
		dst = appendLog(dst, l)
	}
	return dst
}

func parseAppendEntries(p *wire.Parser) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{
		RPCHeader:         parseHeader(p),
		Term:              p.Uvarint(),
		Leader:            p.Bytes(maxName),
		PrevLogEntry:      p.Uvarint(),
		PrevLogTerm:       p.Uvarint(),
		LeaderCommitIndex: p.Uvarint(),
		Entries:           parseLogs(p),
	}
}

func appendLog(dst []byte, l *raft.Log) []byte {
	dst = binary.AppendUvarint(dst, l.Index)
	dst = binary.AppendUvarint(dst, l.Term)
	dst = append(dst, byte(l.Type))
	dst = wire.AppendBytes(dst, l.Data)
	dst = wire.AppendBytes(dst, l.Extensions)
	if l.AppendedAt.IsZero() {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, l.AppendedAt.Unix())
	return binary.AppendUvarint(dst, uint64(l.AppendedAt.Nanosecond()))
}

// logSize is an upper bound of what appendLog adds, in bytes.
func logSize(l *raft.Log) int { return len(l.Data) + len(l.Extensions) + 64 }

// parseLogs reads a count and so many entries, all in one allocation. The
// count is trusted only as far as the bytes that are really there.
func parseLogs(p *wire.Parser) []*raft.Log {
	n := p.Uvarint()
	if n == 0 {
		return nil
	}
	if n > maxEntries || n > uint64(p.Len()/minEntry) {
		p.Fail(fmt.Errorf("replica: %d log entries announced in %d bytes", n, p.Len()))
		return nil
	}
	logs := make([]raft.Log, n)
	refs := make([]*raft.Log, n)
	for i := range logs {
		parseLog(p, &logs[i])
		refs[i] = &logs[i]
	}
	if p.Err() != nil {
		return nil
	}
	return refs
}

func parseLog(p *wire.Parser, l *raft.Log) {
	*l = raft.Log{
		Index:      p.Uvarint(),
		Term:       p.Uvarint(),
		Type:       raft.LogType(p.Byte()),
		Data:       p.Bytes(maxBytes),
		Extensions: p.Bytes(maxBytes),
	}
	if !p.Bool() {
		return
	}
	sec, nsec := p.Varint(), p.Uvarint()
	if nsec >= uint64(time.Second) {
		p.Fail(wire.ErrMalformed)
		return
	}
	l.AppendedAt = time.Unix(sec, int64(nsec)).UTC()
}

func appendAppendEntriesResponse(dst []byte, r *raft.AppendEntriesResponse) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	dst = binary.AppendUvarint(dst, r.LastLog)
	dst = wire.AppendBool(dst, r.Success)
	return wire.AppendBool(dst, r.NoRetryBackoff)
}

func parseAppendEntriesResponse(p *wire.Parser) raft.AppendEntriesResponse {
	return raft.AppendEntriesResponse{
		RPCHeader:      parseHeader(p),
		Term:           p.Uvarint(),
		LastLog:        p.Uvarint(),
		Success:        p.Bool(),
		NoRetryBackoff: p.Bool(),
	}
}

func appendRequestVote(dst []byte, r *raft.RequestVoteRequest) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	dst = wire.AppendBytes(dst, r.Candidate)
	dst = binary.AppendUvarint(dst, r.LastLogIndex)
	dst = binary.AppendUvarint(dst, r.LastLogTerm)
	return wire.AppendBool(dst, r.LeadershipTransfer)
}

func parseRequestVote(p *wire.Parser) *raft.RequestVoteRequest {
	return &raft.RequestVoteRequest{
		RPCHeader:          parseHeader(p),
		Term:               p.Uvarint(),
		Candidate:          p.Bytes(maxName),
		LastLogIndex:       p.Uvarint(),
		LastLogTerm:        p.Uvarint(),
		LeadershipTransfer: p.Bool(),
	}
}

func appendRequestVoteResponse(dst []byte, r *raft.RequestVoteResponse) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	dst = wire.AppendBytes(dst, r.Peers)
	return wire.AppendBool(dst, r.Granted)
}

func parseRequestVoteResponse(p *wire.Parser) raft.RequestVoteResponse {
	return raft.RequestVoteResponse{
		RPCHeader: parseHeader(p),
		Term:      p.Uvarint(),
		Peers:     p.Bytes(maxBytes),
		Granted:   p.Bool(),
	}
}

func appendRequestPreVote(dst []byte, r *raft.RequestPreVoteRequest) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	dst = binary.AppendUvarint(dst, r.LastLogIndex)
	return binary.AppendUvarint(dst, r.LastLogTerm)
}

func parseRequestPreVote(p *wire.Parser) *raft.RequestPreVoteRequest {
	return &raft.RequestPreVoteRequest{
		RPCHeader:    parseHeader(p),
		Term:         p.Uvarint(),
		LastLogIndex: p.Uvarint(),
		LastLogTerm:  p.Uvarint(),
	}
}

func appendRequestPreVoteResponse(dst []byte, r *raft.RequestPreVoteResponse) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	return wire.AppendBool(dst, r.Granted)
}

func parseRequestPreVoteResponse(p *wire.Parser) raft.RequestPreVoteResponse {
	return raft.RequestPreVoteResponse{
		RPCHeader: parseHeader(p),
		Term:      p.Uvarint(),
		Granted:   p.Bool(),
	}
}

func appendInstallSnapshot(dst []byte, r *raft.InstallSnapshotRequest) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendVarint(dst, int64(r.SnapshotVersion))
	dst = binary.AppendUvarint(dst, r.Term)
	dst = wire.AppendBytes(dst, r.Leader)
	dst = binary.AppendUvarint(dst, r.LastLogIndex)
	dst = binary.AppendUvarint(dst, r.LastLogTerm)
	dst = wire.AppendBytes(dst, r.Peers)
	dst = wire.AppendBytes(dst, r.Configuration)
	dst = binary.AppendUvarint(dst, r.ConfigurationIndex)
	return binary.AppendVarint(dst, r.Size)
}

func parseInstallSnapshot(p *wire.Parser) *raft.InstallSnapshotRequest {
	r := &raft.InstallSnapshotRequest{
		RPCHeader:          parseHeader(p),
		SnapshotVersion:    raft.SnapshotVersion(p.Varint()),
		Term:               p.Uvarint(),
		Leader:             p.Bytes(maxName),
		LastLogIndex:       p.Uvarint(),
		LastLogTerm:        p.Uvarint(),
		Peers:              p.Bytes(maxBytes),
		Configuration:      p.Bytes(maxBytes),
		ConfigurationIndex: p.Uvarint(),
		Size:               p.Varint(),
	}
	if r.Size < 0 {
		p.Fail(wire.ErrMalformed)
	}
	return r
}

func appendInstallSnapshotResponse(dst []byte, r *raft.InstallSnapshotResponse) []byte {
	dst = appendHeader(dst, &r.RPCHeader)
	dst = binary.AppendUvarint(dst, r.Term)
	return wire.AppendBool(dst, r.Success)
}

func parseInstallSnapshotResponse(p *wire.Parser) raft.InstallSnapshotResponse {
	return raft.InstallSnapshotResponse{
		RPCHeader: parseHeader(p),
		Term:      p.Uvarint(),
		Success:   p.Bool(),
	}
}

func appendTimeoutNow(dst []byte, r *raft.TimeoutNowRequest) []byte {
	return appendHeader(dst, &r.RPCHeader)
}

func parseTimeoutNow(p *wire.Parser) *raft.TimeoutNowRequest {
	return &raft.TimeoutNowRequest{RPCHeader: parseHeader(p)}
}

func appendTimeoutNowResponse(dst []byte, r *raft.TimeoutNowResponse) []byte {
	return appendHeader(dst, &r.RPCHeader)
}

func parseTimeoutNowResponse(p *wire.Parser) raft.TimeoutNowResponse {
	return raft.TimeoutNowResponse{RPCHeader: parseHeader(p)}
}
