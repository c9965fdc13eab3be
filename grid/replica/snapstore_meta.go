package replica

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// The end of a snapshot file says what is in front of it:
//
//	content | meta | content length(8) | meta length(4) | CRC-32C of content(4) | CRC-32C of meta and of what follows it(4) | magic(8)
//
// with big endian numbers. It is written last, so that a snapshot of unknown length is written in one pass.
const (
	footerLen   = 8 + 4 + 4 + 4 + 8
	footerMagic = "SGSNAP\x00\x01" // the last byte is the version of the footer

	snapshotMetaFormat = 1
	// snapshotMetaMax bounds the meta of one snapshot; a server in it takes some 100 bytes.
	snapshotMetaMax = 1 << 20
)

var errSnapshotMeta = errors.New("snapshot meta does not decode")

type snapshotFooter struct {
	contentLen int64
	metaLen    int
	contentSum uint32
	metaSum    uint32
}

// sealFooter returns meta and the footer that ends a file with content of the given length and checksum.
func sealFooter(meta []byte, contentLen int64, contentSum uint32) []byte {
	b := append([]byte(nil), meta...)
	b = binary.BigEndian.AppendUint64(b, uint64(contentLen))
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	b = binary.BigEndian.AppendUint32(b, contentSum)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, footerMagic...)
}

// parseFooter reads the fixed part at the end of a file of fileLen bytes. Lengths are plausible if it succeeds; that they are
// right is for openFooter to say.
func parseFooter(b []byte, fileLen int64) (snapshotFooter, error) {
	if len(b) != footerLen || string(b[footerLen-len(footerMagic):]) != footerMagic {
		return snapshotFooter{}, errors.New("footer is missing")
	}
	contentLen, metaLen := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if metaLen > snapshotMetaMax || contentLen > uint64(fileLen) || int64(contentLen)+int64(metaLen)+footerLen != fileLen {
		return snapshotFooter{}, errors.New("lengths in the footer do not fit the file")
	}
	return snapshotFooter{
		contentLen: int64(contentLen),
		metaLen:    int(metaLen),
		contentSum: binary.BigEndian.Uint32(b[12:]),
		metaSum:    binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// openFooter verifies tail, the meta and the footer together, and decodes the meta.
func (f snapshotFooter) openFooter(tail []byte) (raft.SnapshotMeta, error) {
	covered := tail[:f.metaLen+16]
	if crc32.Checksum(covered, castagnoli) != f.metaSum {
		return raft.SnapshotMeta{}, errors.New("checksum of the meta does not match")
	}
	return decodeSnapshotMeta(tail[:f.metaLen])
}

// The meta is format(1) | raft's version | index | term | configuration index | number of servers | servers, with unsigned
// varints. A server is suffrage(1) | id | address, both with their length in front. The id and size of the snapshot are
// those of its file.

func encodeSnapshotMeta(m *raft.SnapshotMeta) []byte {
	b := []byte{snapshotMetaFormat}
	for _, v := range []uint64{uint64(m.Version), m.Index, m.Term, m.ConfigurationIndex, uint64(len(m.Configuration.Servers))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, s := range m.Configuration.Servers {
		b = append(b, byte(s.Suffrage))
		b = appendText(b, string(s.ID))
		b = appendText(b, string(s.Address))
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decodeSnapshotMeta is the inverse of encodeSnapshotMeta. Allocation is bounded by len(b).
func decodeSnapshotMeta(b []byte) (raft.SnapshotMeta, error) {
	var m raft.SnapshotMeta
	if len(b) == 0 || b[0] != snapshotMetaFormat {
		return m, errors.New("unknown format of the meta")
	}
	b = b[1:]
	var header [5]uint64
	for i := range header {
		var ok bool
		if header[i], b, ok = takeUvarint(b); !ok {
			return m, errSnapshotMeta
		}
	}
	m.Version, m.Index, m.Term, m.ConfigurationIndex = raft.SnapshotVersion(header[0]), header[1], header[2], header[3]
	for range header[4] { // Ends at the first server that is not there, so a large count costs nothing.
		s, rest, err := takeServer(b)
		if err != nil {
			return raft.SnapshotMeta{}, err
		}
		m.Configuration.Servers = append(m.Configuration.Servers, s)
		b = rest
	}
	if len(b) > 0 {
		return raft.SnapshotMeta{}, errSnapshotMeta
	}
	return m, nil
}

func takeServer(b []byte) (s raft.Server, rest []byte, err error) {
	if len(b) == 0 {
		return s, nil, errSnapshotMeta
	}
	id, rest, okID := takeText(b[1:])
	address, rest, okAddress := takeText(rest)
	if !okID || !okAddress {
		return s, nil, errSnapshotMeta
	}
	return raft.Server{Suffrage: raft.ServerSuffrage(b[0]), ID: raft.ServerID(id), Address: raft.ServerAddress(address)}, rest, nil
}

func takeText(b []byte) (text string, rest []byte, ok bool) {
	n, rest, ok := takeUvarint(b)
	if !ok || n > uint64(len(rest)) {
		return "", nil, false
	}
	return string(rest[:n]), rest[n:], true
}
