package cluster

import (
	"fmt"

	"github.com/hashicorp/memberlist"
)

// Flags are what a member says of itself in one bit each.
type Flags uint32

// The flags of a member. Unknown ones are passed on as they are.
const (
	FlagAdmitted Flags = 1 << 0 // the control group has admitted it
	FlagDisk     Flags = 1 << 1 // it has a data directory
	FlagDraining Flags = 1 << 2 // it is handing over what it holds
	FlagLeaving  Flags = 1 << 3 // it goes now; set by Gossip.Leave
)

// MaxVersionBytes bounds the version of the program in [Meta].
const MaxVersionBytes = 32

// MaxMetaBytes bounds the encoded [Meta]; gossip carries it in single packets.
const MaxMetaBytes = memberlist.MetaMaxSize

// Meta is what a member tells everybody about itself by gossip: enough to reach
// it, and hints. Nothing in it is agreed upon.
type Meta struct {
	Member      MemberID
	Incarnation uint64
	Boot        uint64 // starts within the incarnation, see [Member]
	Peer        string // host:port, as all addresses
	RESP        string
	HTTP        string
	Zone        string
	// Version is the version of the program, at most MaxVersionBytes long.
	Version string
	// StateVersion is the version of the control state that the member has
	// applied. Whoever sees a greater one than its own is behind.
	StateVersion uint64
	Flags        Flags
}

const metaFormat = 1

// encode returns the binary form, or an error when it has more than
// [MaxMetaBytes] or would be refused by those who receive it.
func (m *Meta) encode() ([]byte, error) {
	e := &encoder{}
	e.byte(metaFormat)
	putMemberID(e, &m.Member)
	e.uint(m.Incarnation)
	e.uint(m.Boot)
	e.string(m.Peer)
	e.string(m.RESP)
	e.string(m.HTTP)
	e.string(m.Zone)
	e.string(m.Version)
	e.uint(m.StateVersion)
	e.uint(uint64(m.Flags))
	if len(e.b) > MaxMetaBytes {
		return nil, fmt.Errorf("cluster: the description of member %q has %d bytes, gossip carries %d: use shorter names and addresses", m.Member, len(e.b), MaxMetaBytes)
	}
	if _, err := decodeMeta(e.b); err != nil {
		return nil, fmt.Errorf("cluster: the description of member %q cannot be sent: %w", m.Member, err)
	}
	return e.b, nil
}

// decodeMeta reads what encode wrote and keeps no reference to b. Bytes after
// the known fields are left alone, so that later versions can add some.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) > MaxMetaBytes {
		return Meta{}, &CorruptError{What: "description of a member", Err: fmt.Errorf("%d bytes", len(b))}
	}
	d := &decoder{b: b}
	if f := d.byte(); d.err == nil && f != metaFormat {
		d.fail(fmt.Errorf("format %d is unknown", f))
	}
	m := Meta{
		Member:       memberID(d),
		Incarnation:  d.uint(noLimit),
		Boot:         d.uint(noLimit),
		Peer:         d.string(MaxAddressBytes),
		RESP:         d.string(MaxAddressBytes),
		HTTP:         d.string(MaxAddressBytes),
		Zone:         d.string(MaxZoneBytes),
		Version:      d.string(MaxVersionBytes),
		StateVersion: d.uint(noLimit),
		Flags:        Flags(d.uint(uint64(^Flags(0)))),
	}
	if d.err == nil {
		d.err = CheckMemberID(m.Member)
	}
	if d.err != nil {
		return Meta{}, &CorruptError{What: "description of a member", Err: d.err}
	}
	return m, nil
}
